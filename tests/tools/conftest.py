"""What the tests of tools share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from snakepit_bridge import BlockingContext, LocalServer, SessionContext
from tests.recording_lm import RecordingLM


@pytest.fixture
def lm(recording_lm: RecordingLM, monkeypatch: pytest.MonkeyPatch) -> RecordingLM:
    """The recording LM as everybody's default. `dspy.configure` belongs to one task, tests have one each."""
    from dspy.dsp.utils.settings import main_thread_config

    monkeypatch.setitem(main_thread_config, "lm", recording_lm.lm())
    return recording_lm


@pytest.fixture(scope="module")
def offering(server: LocalServer, request: pytest.FixtureRequest) -> Iterator[BlockingContext]:
    """A session in which another process offers the tools of `tests.tools.offering`."""
    session_id = request.node.name.replace("/", "-").removesuffix(".py")
    command = [sys.executable, "-m", "tests.tools.offering", server.address, session_id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "offered\n"
        with SessionContext.connect(server.address, session_id=session_id) as context:
            yield context
        process.communicate()
