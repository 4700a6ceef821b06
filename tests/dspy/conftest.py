"""An LM that every thread and task finds, and a second client that changes variables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dspy.dsp.utils.settings import main_thread_config

from snakepit_bridge import BlockingContext, SessionContext
from tests.recording_lm import RecordingLM


@pytest.fixture
def lm(recording_lm: RecordingLM, monkeypatch: pytest.MonkeyPatch) -> RecordingLM:
    """The recording LM as everybody's default. `dspy.configure` belongs to one task, tests have one each."""
    monkeypatch.setitem(main_thread_config, "lm", recording_lm.lm())
    return recording_lm


@pytest.fixture
def other(address: str, session_id: str) -> Iterator[BlockingContext]:
    """Another client of the same session, over a connection of its own."""
    with SessionContext.connect(address, session_id=session_id) as context:
        yield context


@pytest.fixture
def session(blocking: BlockingContext) -> BlockingContext:
    """The session with a variable for everything that is usually bound."""
    blocking.register_variable("t", "float", 0.25)
    blocking.register_variable("tokens", "integer", 111)
    blocking.register_variable("prompt", "string", "Answer like a pirate.")
    blocking.register_variable("model", "string", "gpt-4o")
    return blocking
