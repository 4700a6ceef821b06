"""What the runs under fire came to, in the terminal summary."""

from __future__ import annotations

import pytest

from tests.tools.killing import KILLED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if KILLED in config.stash:
        terminalreporter.section("killed workers")
        terminalreporter.line(config.stash[KILLED])
