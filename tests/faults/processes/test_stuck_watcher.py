"""A watcher that does not read costs the server nothing to speak of, holds nobody up, and is told what it missed.

`make stuck-watcher` makes a million changes on the optimised server; the terminal summary says what came of this run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.processes.stuck import run_stuck_watcher


def test_a_stuck_watcher_neither_grows_the_server_nor_loses_anyone_a_change(
    server_binary: Path, tmp_path: Path, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    # A server built for development, on a busy machine, serves fewer watchers; the pace falls where it has to.
    options = ("--seconds", str(pytestconfig.getoption("--stuck-seconds")), "--live", "20", "--connections", "4")
    said, facts = run_stuck_watcher(server_binary, tmp_path, *options)
    record_property("a stuck watcher", said)
    assert facts["compacted"], said
    assert facts["deliveries"] >= 20 * facts["changes"], said
