"""Every answer of a bound program tells the revision that it was made with, whichever way it was asked for."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from tests.dspy.support.programs import KINDS, Kind, Pair, agent, as_agent
from tests.support.recording_lm import RecordingLM

Ask = Callable[[Any], list[Any]]


def parallel(program: Any) -> list[Any]:
    run = dspy.Parallel(num_threads=2, disable_progress_bar=True)
    answers: list[Any] = run([(program, dspy.Example(question="why?").with_inputs("question"))] * 3)
    return answers


def batch(program: Any) -> list[Any]:
    examples = [dspy.Example(question="why?").with_inputs("question")] * 3
    answers: list[Any] = program.batch(examples, num_threads=2, disable_progress_bar=True)
    return answers


def gather(program: Any) -> list[Any]:
    async def both() -> list[Any]:
        return list(await asyncio.gather(*(program.acall(question="why?") for _ in range(2))))

    return asyncio.run(both())


def stream(program: Any) -> list[Any]:
    async def last() -> Any:
        return [each async for each in dspy.streamify(program)(question="why?")][-1]

    return [asyncio.run(last())]


def threads(program: Any) -> list[Any]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda _: program(question="why?"), range(3)))


def asyncified(program: Any) -> list[Any]:
    async def ask() -> Any:
        return await dspy.asyncify(program)(question="why?")

    return [asyncio.run(ask())]


WAYS: dict[str, Ask] = {
    "call": lambda program: [program(question="why?")],
    "acall": lambda program: [asyncio.run(program.acall(question="why?"))],
    "gather": gather,
    "threads": threads,
    "Parallel": parallel,
    "batch": batch,
    "asyncify": asyncified,
    "streamify": stream,
}


@pytest.mark.parametrize("ask", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_an_answer_tells_its_revision(
    ask: Ask, kind: Kind, lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    program = kind.bound(session)
    ask(program)
    written = other.set_variable("t", 0.5)
    answers = ask(program)
    assert {sb.revision_of(answer) for answer in answers} == {written.revision}


@pytest.mark.parametrize("ask", [WAYS["call"], WAYS["acall"], WAYS["streamify"]])
def test_an_agents_answer_tells_its_revision(
    ask: Ask, lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    lm.reply(as_agent)
    program = sb.bind(agent(), {"max_iters": "tokens", "temperature": "t"}, session=session)
    written = other.set_variable("t", 0.5)
    assert [sb.revision_of(answer) for answer in ask(program)] == [written.revision]


@pytest.mark.parametrize("module", ["BestOfN", "Refine"])
@pytest.mark.parametrize("bound", ["the whole", "the part"])
def test_the_chosen_attempt_tells_its_revision(
    module: str, bound: str, lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    inner = dspy.Predict("question -> answer")
    whole: Any = getattr(dspy, module)(inner, N=2, reward_fn=lambda _, answer: len(answer.answer), threshold=1.0)
    if bound == "the whole":
        sb.bind(whole, {"module.top_p": "t", "N": "tokens"}, session=session)
    else:
        sb.bind(inner, {"top_p": "t"}, session=session)
    written = other.set_variable("t", 0.5)
    assert sb.revision_of(whole(question="why?")) == written.revision
    assert lm.requests[0]["top_p"] == 0.5


def test_a_copy_of_an_answer_tells_it_too(lm: RecordingLM, session: BlockingContext) -> None:
    answer = sb.bind(Pair(), {"temperature": "t"}, session=session)(question="why?")
    revision = sb.revision_of(answer)
    assert isinstance(revision, int)
    assert [sb.revision_of(twin) for twin in (copy.copy(answer), copy.deepcopy(answer))] == [revision, revision]
    # A new one from its fields, which knows nothing of completions and usage either.
    assert sb.revision_of(answer.copy()) is None
    assert answer == answer.copy()
    assert "revision" not in str(answer.toDict())


def test_an_answer_given_twice_tells_the_later_revision(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    class Remembering(Pair):
        def forward(self, question: str) -> Any:
            self.kept = vars(self).get("kept") or super().forward(question)
            return self.kept

    program = sb.bind(Remembering(), {"k": "tokens"}, session=session)
    program(question="why?")
    written = other.set_variable("tokens", 5)
    assert sb.revision_of(program(question="why?")) == written.revision
