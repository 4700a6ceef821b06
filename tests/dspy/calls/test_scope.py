"""Whose snapshot a call runs with."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext, SessionContext
from snakepit_bridge.session_context import session_of
from tests.dspy.support.programs import Pair
from tests.support.instant_lm import InstantLM
from tests.support.recording_lm import RecordingLM


async def test_a_program_bound_inside_a_snapshot_finds_its_variables(
    ctx: SessionContext, session: BlockingContext, lm: RecordingLM
) -> None:
    async with sb.snapshot(ctx):
        program = await sb.bind_async(dspy.Predict("question -> answer"), {"temperature": "t"}, session=ctx)
        await program.acall(question="why?")
    assert lm.requests[0]["temperature"] == 0.25


def test_a_program_may_be_bound_to_two_sessions(
    address: str, session: BlockingContext, other: BlockingContext, lm: RecordingLM
) -> None:
    with SessionContext.connect(address) as second:
        second.register_variable("t", "float", 1.5)
        program = sb.bind(Pair(), {"draft.temperature": "t", "k": "tokens"}, session=session)
        sb.bind(program, {"polish.temperature": "t"}, session=second)
        other.set_variable("t", 0.5)
        assert program(question="why?").k == 111
    assert [body["temperature"] for body in lm.requests] == [0.5, 1.5]


def test_a_program_inside_another_runs_with_the_outer_ones_snapshot(
    session: BlockingContext, other: BlockingContext, lm: RecordingLM
) -> None:
    inner = sb.bind(dspy.Predict("question -> answer"), {"temperature": "t"}, session=session)

    class Outer(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.k = 0

        def forward(self, question: str) -> Any:
            other.set_variables({"t": 1.0, "tokens": 1})
            inner(question=question)
            return dspy.Prediction(k=self.k)

    outer = sb.bind(Outer(), {"k": "tokens"}, session=session)
    assert outer(question="why?").k == 111
    inner(question="why?")
    assert [body["temperature"] for body in lm.requests] == [0.25, 1.0]


def test_an_own_write_inside_a_call_is_seen_by_the_next_call(session: BlockingContext, lm: RecordingLM) -> None:
    class Writer(Pair):
        def forward(self, question: str) -> Any:
            session.increment("t", 0.25)
            return super().forward(question)

    program = sb.bind(Writer(), {"temperature": "t"}, session=session)
    program(question="why?")
    program(question="why?")
    assert [body["temperature"] for body in lm.requests] == [0.25, 0.25, 0.5, 0.5]


def test_a_part_called_alone_takes_a_snapshot_for_all_of_itself(
    session: BlockingContext, other: BlockingContext, lm: RecordingLM
) -> None:
    class Whole(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = Pair()

        def forward(self, question: str) -> Any:
            return self.part(question=question)

    def flip(_: dict[str, Any]) -> dict[str, Any]:
        other.increment("t", 0.25)
        return {"draft": "d"} if len(lm.requests) % 2 else {"reasoning": "r", "answer": "a"}

    lm.reply(flip)
    program = sb.bind(Whole(), {"temperature": "t"}, session=session)
    program.part(question="why?")
    assert [body["temperature"] for body in lm.requests] == [0.25, 0.25]


def test_the_names_of_a_program_that_is_gone_leave_the_mirror(session: BlockingContext) -> None:
    program = sb.bind(Pair(), {"temperature": "t"}, session=session)
    twin = program.deepcopy()
    del program
    gc.collect()
    sb.bind(Pair(), {"k": "tokens"}, session=session)
    assert "t" in session_of(session).mirror.tracked
    del twin
    gc.collect()
    kept = sb.bind(Pair(), {"draft.max_tokens": "tokens"}, session=session)
    assert session_of(session).mirror.tracked == {"tokens"}
    del kept


def test_binding_and_unbinding_while_it_runs_breaks_no_call(session: BlockingContext, instant_lm: InstantLM) -> None:
    program = sb.bind(Pair(), {"k": "tokens"}, session=session)
    failed: list[BaseException] = []
    done = threading.Event()

    def call() -> None:
        while not done.is_set():
            try:
                program(question="why?")
            except BaseException as error:
                failed.append(error)
                return

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    rebound = 0
    while not failed and (rebound < 60 or len(instant_lm.requests) < 120):
        sb.bind(program, {"temperature": "t", "polish.instructions": "prompt"}, session=session)
        sb.unbind(program)
        rebound += 1
    done.set()
    for caller in callers:
        caller.join()
    assert failed == []


def test_a_kept_exception_keeps_nothing_that_is_bound_after_it(session: BlockingContext, lm: RecordingLM) -> None:
    program = sb.bind(Pair(), {"max_tokens": "tokens"}, session=session)
    session.set_variable("tokens", -1)
    kept = []
    calls: list[Callable[[], Any]] = [
        lambda: program(question="why?"),
        lambda: asyncio.run(program.acall(question="why?")),
    ]
    for call in calls:
        with pytest.raises(sb.BindingError) as refused:
            call()
        kept.append(refused)
    other = sb.bind(Pair(), {"temperature": "t"}, session=session)
    sb.unbind(other)
    assert type(other) is Pair, "no call is in progress, whatever its frames are kept for"
    assert len(kept) == 2
