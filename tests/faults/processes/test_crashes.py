"""Nothing acknowledged is lost, nothing applied twice, no watch misses or repeats, however often the server is killed.

`--crashes 1000` (or `make crashing`) kills it as often as that; the terminal summary says what came of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from snakepit_bridge import LocalServer
from tests.faults.processes.crashing import problems, summary, write_while_crashing


def test_what_was_acknowledged_outlives_every_crash_and_watches_go_on(
    start_server: Callable[..., LocalServer],
    tmp_path: Path,
    pytestconfig: pytest.Config,
    record_property: Callable[[str, object], None],
) -> None:
    seen = write_while_crashing(start_server, tmp_path, crashes=pytestconfig.getoption("--crashes"))
    assert problems(seen)[:20] == []
    record_property("crashes", summary(seen))
