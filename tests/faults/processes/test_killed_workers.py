"""Calls end exactly once, and run at most as often as they may, while workers are killed.

`--calls 10000` (or `make killing`) makes as many as that; the terminal summary says what came of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from snakepit_bridge import LocalServer, SessionContext
from tests.faults.processes.killing import call_while_killing, problems, summary


def test_every_call_ends_once_and_runs_as_often_as_it_may_while_workers_are_killed(
    server: LocalServer,
    session_id: str,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    record_property: Callable[[str, object], None],
) -> None:
    ledger = tmp_path / "ledger"
    with SessionContext.connect(server.address, session_id=session_id) as ctx:
        calls = pytestconfig.getoption("--calls")
        seen = call_while_killing(server.address, session_id, ledger, calls=calls)
        assert problems(seen, ledger, ctx) == []
    assert seen.kills > 0
    record_property("killed workers", summary(seen, ledger))
