"""Nothing acknowledged is lost, nothing applied twice, however often the power goes, and whatever of the rest survives.

`--cuts 400` (or `make power-cuts`) cuts it as often as that; the terminal summary says what came of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.disk.mounted import Mounted, needs_fuse
from tests.faults.disk.power import Power, summary


def test_what_was_acknowledged_outlives_every_power_cut(
    server_binary: Path, tmp_path: Path, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    needs_fuse()
    seed = pytestconfig.getoption("--disk-seed")
    if seed is None:
        seed = random.SystemRandom().randrange(1_000_000)
    with Mounted(tmp_path / "disk") as disk:
        power = Power(disk, server_binary, tmp_path, seed)
        try:
            power.run(pytestconfig.getoption("--cuts"))
        finally:
            record_property("power cuts", summary(power.seen))
    assert not power.seen.problems, "\n".join(power.seen.problems[:20])
