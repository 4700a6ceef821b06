"""Worker processes for the tests of tools."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snakepit_bridge import SessionContext

ROOT = Path(__file__).parents[2]


StartWorker = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start_worker(address: str, session_id: str) -> Iterator[StartWorker]:
    """Starts processes that serve the tools of a module to the test's session; they end with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(
        *arguments: str, at: str = address, module: str = "tests.tools.support.offering"
    ) -> subprocess.Popen[str]:
        with SessionContext.connect(at, session_id=session_id):
            command = [sys.executable, "-m", module, at, session_id, *arguments]
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            started.append(process)
            assert process.stdout is not None
            assert process.stdout.readline() == "serving\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
