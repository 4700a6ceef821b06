"""Who is told of a change, when, and when no longer."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from tests.dspy.support.programs import Pair
from tests.support.recording_lm import RecordingLM


@pytest.fixture
def told() -> list[tuple[str, Any, Any]]:
    return []


@pytest.fixture
def program(lm: RecordingLM, session: BlockingContext, told: list[tuple[str, Any, Any]]) -> Any:
    program = sb.bind(Pair(), {"temperature": "t", "k": "tokens"}, session=session)
    sb.on_change(program, "temperature", lambda path, old, new: told.append((path, old, new)))
    return program


def test_a_callback_hears_each_observed_change_of_its_binding_once(
    program: Any, told: list[Any], other: BlockingContext
) -> None:
    program(question="why?")
    other.set_variable("tokens", 5)
    program(question="why?")
    assert told == []
    other.set_variable("t", 0.5)
    other.set_variable("t", 0.75)
    program(question="why?")
    program(question="why?")
    other.set_variable("t", 1.0)
    asyncio.run(program.acall(question="why?"))
    assert told == [("temperature", 0.25, 0.75), ("temperature", 0.75, 1.0)]


def test_a_callback_runs_before_the_forward_on_its_thread(
    program: Any, lm: RecordingLM, other: BlockingContext
) -> None:
    seen: list[Any] = []
    sb.on_change(program, "k", lambda *_: seen.append((threading.current_thread(), len(lm.requests))))
    other.set_variable("tokens", 5)
    program(question="why?")
    assert seen == [(threading.current_thread(), 0)]


def test_a_callback_is_never_called_after_unbind(program: Any, told: list[Any], other: BlockingContext) -> None:
    sb.unbind(program, "temperature")
    other.set_variable("t", 0.5)
    program(question="why?")
    assert told == []


def test_a_callback_that_unbinds_the_next_one_silences_it(
    program: Any, told: list[Any], other: BlockingContext
) -> None:
    sb.unbind(program, "temperature")
    sb.on_change(program, "k", lambda *_: sb.unbind(program, "k"))
    sb.on_change(program, "k", lambda *change: told.append(change))
    other.set_variable("tokens", 5)
    program(question="why?")
    assert told == []


def test_a_failing_callback_is_logged_and_the_forward_goes_on(
    program: Any, told: list[Any], other: BlockingContext, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no")

    sb.on_change(program, "k", fail)
    other.set_variables({"tokens": 5, "t": 0.5})
    with caplog.at_level(logging.ERROR):
        assert program(question="why?").k == 5
    assert len(told) == 1
    assert any(record.exc_info for record in caplog.records)


def test_callbacks_never_go_back_under_concurrency(program: Any, told: list[Any], other: BlockingContext) -> None:
    def write() -> None:
        for number in range(40):
            other.set_variable("t", number / 64)

    with ThreadPoolExecutor(5) as pool:
        writer = pool.submit(write)
        while not writer.done():
            list(pool.map(lambda _: program(question="why?"), range(3)))
    program(question="why?")
    values = [new for _, _, new in told]
    assert values == sorted(set(values))
    assert values[-1] == 39 / 64
    assert [old for _, old, _ in told[1:]] == values[:-1]


def test_a_copy_does_not_call_its_originals_callbacks(program: Any, told: list[Any], other: BlockingContext) -> None:
    twin = program.deepcopy()
    other.set_variable("t", 0.5)
    twin(question="why?")
    assert told == []


def test_a_coroutine_function_cannot_be_a_callback(program: Any) -> None:
    async def later(*_: Any) -> None: ...

    with pytest.raises(sb.BindingError):
        sb.on_change(program, "k", later)
    with pytest.raises(sb.BindingError):
        sb.on_change(program, "draft.max_tokens", print)


def test_a_program_called_by_a_callback_does_not_loop(program: Any, other: BlockingContext) -> None:
    inner = dspy.Predict("question -> answer")
    sb.on_change(program, "k", lambda *_: (inner(question="inside"), program(question="again")))
    other.set_variable("tokens", 5)
    assert program(question="why?").k == 5
