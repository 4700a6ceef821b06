"""What tests recorded by `record_property`, for the terminal summary.

Unlike what a test leaves in its process, it also arrives from the workers of pytest-xdist.
"""

from __future__ import annotations

from typing import Any

import pytest


def recorded(terminalreporter: pytest.TerminalReporter, name: str) -> list[Any]:
    """All values of that name, whichever tests recorded them."""
    reports = [report for group in terminalreporter.stats.values() for report in group]
    ran = [report for report in reports if isinstance(report, pytest.TestReport) and report.when == "call"]
    return [value for report in ran for key, value in report.user_properties if key == name]
