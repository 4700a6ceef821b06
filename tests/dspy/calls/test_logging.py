"""What is logged, by which logger, and that no secret ever is."""

from __future__ import annotations

import logging
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from snakepit_bridge.exceptions import UnknownModuleError
from tests.dspy.support.programs import Pair
from tests.support.recording_lm import RecordingLM

PACKAGE = "snakepit_bridge.dspy_integration"
SECRET = "hunter2 is the word"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Any:
    """What our loggers say from now on: (logger below the package, level, text)."""
    caplog.set_level(logging.DEBUG, "snakepit_bridge")

    def taken() -> list[tuple[str, str, str]]:
        ours = [record for record in caplog.records if record.name.startswith("snakepit_bridge")]
        caplog.clear()
        return [(record.name.removeprefix(PACKAGE + "."), record.levelname, record.getMessage()) for record in ours]

    return taken


def test_a_call_that_finds_changes_says_them_on_one_line(
    said: Any, lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    session.register_variable("key", "string", SECRET, secret=True)
    paths = {"temperature": "t", "k": "tokens", "draft.instructions": "key"}
    program = sb.bind(Pair(), paths, session=session)
    program(question="why?")
    program(question="why?")
    said()
    written = other.set_variables({"t": 0.5, "tokens": 5, "key": SECRET + "!"})
    program(question="why?")
    program(question="why?")
    revision = written[0].revision
    changes = "temperature 0.25 -> 0.5, k 111 -> 5, draft.instructions (secret) -> (secret)"
    assert said() == [("program", "DEBUG", f"session {session.session_id!r} at revision {revision}: {changes}")]


def test_a_revision_that_changes_nothing_bound_says_nothing(
    said: Any, lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    program = sb.bind(Pair(), {"temperature": "t"}, session=session)
    program(question="why?")
    said()
    other.set_variable("tokens", 5)
    program(question="why?")
    assert said() == []


def test_nothing_is_written_down_while_nobody_listens(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "snakepit_bridge")
    program = sb.bind(Pair(), {"temperature": "t"}, session=session)
    other.set_variable("t", 0.5)
    program(question="why?")
    sb.unbind(program)
    assert caplog.records == []


def test_binding_and_unbinding_are_said(said: Any, session: BlockingContext) -> None:
    program = sb.bind(Pair(), {"temperature": "t", "k": "tokens"}, session=session)
    sb.unbind(program, "k")
    sb.unbind(program)
    sb.unbind(program)
    assert [(logger, level) for logger, level, _ in said()] == [("binder", "INFO")] * 3


def test_detaching_and_a_failing_callback_are_said_by_who_noticed(
    said: Any, lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no")

    program: Any = sb.bind(Pair(), {"temperature": "t", "k": "tokens"}, session=session)
    sb.on_change(program, "temperature", fail)
    other.set_variable("t", 0.5)
    program(question="why?")
    program.k = 1
    loud = [(logger, level) for logger, level, _ in said() if level not in {"DEBUG", "INFO"}]
    assert loud == [("program", "ERROR"), ("overlay", "WARNING")]


def test_no_error_tells_a_secret(session: BlockingContext, lm: RecordingLM) -> None:
    session.register_variable("key", "string", SECRET, secret=True)
    session.register_variable("strategy", "module", "Predict", secret=True)
    switch = sb.VariableModule("strategy", "question -> answer", session=session)
    session.set_variable("strategy", SECRET)
    session.register_variable("number", "float", 12345.678, secret=True)
    session.register_variable("shown", "string", SECRET)
    follower = sb.bind(dspy.Predict("question -> answer"), {"model": "model"}, session=session)
    session.register_variable("model", "string", SECRET, secret=True, replace=True)
    failures = []
    for failing in (
        lambda: sb.bind(Pair(), {"model": "key"}, session=session),
        lambda: sb.bind(Pair(), {"model": "key"}, session=session, models={"fast": lm.lm()}),
        lambda: sb.bind(Pair(), {"temperature": "number"}, session=session),
        lambda: follower(question="why?"),
        lambda: switch(question="why?"),
        lambda: sb.VariableModule("strategy", "question -> answer", session=session),
    ):
        with pytest.raises((sb.BindingError, sb.ModelNotAllowedError, UnknownModuleError)) as caught:
            failing()
        failures.append(caught.value)
    told = "".join(f"{error} {error!r} {error.facts}" for error in failures)
    assert SECRET not in told
    assert "12345" not in told
    with pytest.raises(sb.ModelNotAllowedError) as plain:
        sb.bind(Pair(), {"model": "shown"}, session=session)
    assert plain.value.facts["model"] == SECRET
