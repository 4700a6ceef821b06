"""The context of a call, carried into threads that DSPy knows nothing of."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from tests.support.recording_lm import RecordingLM
from tests.support.waiting import PATIENCE

Wrap = Callable[[Any], Any]
Way = Callable[[Wrap, Any], None]


def _in_a_thread(wrap: Wrap, ask: Any) -> None:
    thread = threading.Thread(target=wrap(lambda: ask(question="why?")))
    thread.start()
    thread.join()


def _in_a_pool(wrap: Wrap, ask: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        list(pool.map(wrap(lambda question: ask(question=question)), ["why?"]))


def _in_an_executor(wrap: Wrap, ask: Any) -> None:
    async def run() -> None:
        await asyncio.get_running_loop().run_in_executor(None, wrap(functools.partial(ask, question="why?")))

    asyncio.run(run())


def _as_the_module_itself(wrap: Wrap, ask: Any) -> None:
    thread = threading.Thread(target=wrap(ask), kwargs={"question": "why?"})
    thread.start()
    thread.join()


def _on_a_loop_of_another_thread(wrap: Wrap, ask: Any) -> None:
    thread = threading.Thread(target=lambda acall: asyncio.run(acall(question="why?")), args=(wrap(ask.acall),))
    thread.start()
    thread.join()


def _as_a_lambda_that_gives_a_coroutine(wrap: Wrap, ask: Any) -> None:
    thread = threading.Thread(target=lambda make: asyncio.run(make()), args=(wrap(lambda: ask.acall(question="w?")),))
    thread.start()
    thread.join()


WAYS = [
    _in_a_thread,
    _in_a_pool,
    _in_an_executor,
    _as_the_module_itself,
    _on_a_loop_of_another_thread,
    _as_a_lambda_that_gives_a_coroutine,
]


class FansOut(dspy.Module):
    """Asks once itself and once elsewhere; a variable changes in between."""

    def __init__(self, change: Callable[[], object], way: Way, wrap: Wrap) -> None:
        super().__init__()
        self.ask = dspy.Predict("question -> answer")
        self.change, self.way, self.wrap = change, way, wrap

    def forward(self, question: str) -> Any:
        self.ask(question=question)
        self.change()
        self.way(self.wrap, self.ask)
        return dspy.Prediction()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("wrap", "then"), [(sb.carry, 0.25), (lambda function: function, 0.5)], ids=["carry", "bare"])
def test_only_what_is_carried_has_the_snapshot_of_the_call_around_it(
    way: Way, wrap: Wrap, then: float, lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    program = sb.bind(FansOut(lambda: other.set_variable("t", 0.5), way, wrap), {"temperature": "t"}, session=session)
    program(question="why?")
    assert [body["temperature"] for body in lm.requests] == [0.25, then]


def test_one_carried_function_runs_in_many_threads_at_once(lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.bind(dspy.Predict("question -> answer"), {"temperature": "t"}, session=session)
    met = threading.Barrier(3, timeout=PATIENCE)

    def ask(question: str) -> Any:
        met.wait()
        return program(question=question)

    with sb.snapshot(session):
        carried = sb.carry(ask)
        session.set_variable("t", 0.5)
    with ThreadPoolExecutor(3) as pool:
        assert len(list(pool.map(carried, "abc"))) == 3
    # Also after the place it was made in is left.
    assert [body["temperature"] for body in lm.requests] == [0.25, 0.25, 0.25]


def test_carried_is_everything_that_dspy_has_in_its_context(recording_lm: RecordingLM) -> None:
    ask = dspy.Predict("question -> answer")
    with dspy.context(lm=recording_lm.lm("openai/gpt-4o"), adapter=dspy.JSONAdapter()):
        carried = sb.carry(ask)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(carried, question="why?").result()
        assert pool.submit(lambda: dspy.settings.lm).result() is None
    assert recording_lm.requests[0]["model"] == "gpt-4o"
    assert "JSON" in str(recording_lm.requests[0]["messages"])


async def test_cancelling_what_awaits_it_cancels_a_carried_coroutine() -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    task = asyncio.create_task(sb.carry(wait)())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left.is_set()


def test_a_carried_function_keeps_its_name_result_and_exceptions() -> None:
    def divide(dividend: int, *, by: int) -> float:
        return dividend / by

    carried = sb.carry(divide)
    assert carried.__name__ == "divide"
    assert carried(6, by=3) == 2
    with pytest.raises(ZeroDivisionError):
        carried(6, by=0)


def test_what_would_run_outside_or_not_at_all_is_refused() -> None:
    def generator() -> Any:
        yield 1

    async def async_generator() -> Any:
        yield 1

    for wrong in (generator, async_generator, 5, None):
        with pytest.raises(TypeError):
            sb.carry(wrong)  # type: ignore[arg-type]
