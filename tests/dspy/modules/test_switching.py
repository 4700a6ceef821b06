"""A program whose strategy another client switches all the time: no call is lost, none is made by two strategies."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext, SessionContext
from tests.dspy.support.programs import population
from tests.support.instant_lm import InstantLM
from tests.support.recording_lm import asked_fields
from tests.support.waiting import PATIENCE

AT_ONCE = 8
CALLS = 60

REQUESTS = {"Predict": 1, "ChainOfThought": 1, "ReAct": 3}
"""How many requests each strategy makes for a call."""
MODULES: dict[str, Callable[[Any], Any]] = {
    "ReAct": lambda signature: dspy.ReAct(signature, tools=[population], max_iters=4)
}
# Without an interpreter of its own DSPy would run code in Deno.
if hasattr(dspy, "LocalInterpreter"):
    if hasattr(dspy, "ProgramOfThought"):
        REQUESTS["ProgramOfThought"] = 2
        MODULES["ProgramOfThought"] = lambda signature: dspy.ProgramOfThought(
            signature, interpreter_factory=dspy.LocalInterpreter
        )
    if hasattr(dspy, "RLM"):
        REQUESTS["RLM"] = 1
        MODULES["RLM"] = lambda signature: dspy.RLM(signature, max_iters=3, interpreter_factory=dspy.LocalInterpreter)

STRATEGIES = list(REQUESTS)


def strategy_of(body: dict[str, Any]) -> str:
    """Which strategy makes such a request."""
    fields, last = asked_fields(body), str(body["messages"][-1]["content"])
    if "next_tool_name" in fields or "[[ ## trajectory ## ]]" in last:
        return "ReAct"
    if "generated_code" in fields or "[[ ## final_generated_code ## ]]" in last:
        return "ProgramOfThought"
    if "code" in fields:
        return "RLM"
    return "ChainOfThought" if "reasoning" in fields else "Predict"


def reply(body: dict[str, Any]) -> dict[str, Any]:
    """Plays the LM of each strategy; the answer is the strategy's name."""
    strategy = strategy_of(body)
    looked = "observation_0" in str(body["messages"][-1]["content"])
    values: dict[str, Any] = {
        "answer": strategy,
        "reasoning": "it is so",
        "next_thought": "look",
        "next_tool_name": "finish" if looked else "population",
        "next_tool_args": {} if looked else {"city": "Rome"},
        "generated_code": "SUBMIT({'answer': 'computed'})",
        "code": "SUBMIT(answer='RLM')",
    }
    return {field: values[field] for field in asked_fields(body)}


def in_threads(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda question: program(question=question), questions))


def in_a_batch(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    examples = [dspy.Example(question=question).with_inputs("question") for question in questions]
    answers: list[Any] = program.batch(examples, num_threads=AT_ONCE, disable_progress_bar=True)
    return answers


def in_tasks(program: Any, questions: Sequence[str]) -> Iterable[Any]:
    async def run() -> list[Any]:
        limit = asyncio.Semaphore(AT_ONCE)

        async def ask(question: str) -> Any:
            async with limit:
                return await program.acall(question=question)

        return await asyncio.gather(*map(ask, questions))

    return asyncio.run(run())


def variables(number: int) -> dict[str, Any]:
    """What the variables are in a state; each state is one revision further."""
    return {"strategy": STRATEGIES[number % len(STRATEGIES)], "t": (number % 32) / 32}


class _switching:  # noqa: N801
    """Another client that writes state after state meanwhile."""

    def __init__(self, other: BlockingContext) -> None:
        self._other = other
        self._done, self._begun = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._switch)

    def _switch(self) -> None:
        number = 0
        while not self._done.is_set():
            number += 1
            self._other.set_variables(variables(number))
            self._begun.set()

    def __enter__(self) -> None:
        self._thread.start()
        self._begun.wait(PATIENCE)

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


@pytest.fixture
def first_revision(other: BlockingContext) -> int:
    """The variables in state 0; the revision of that."""
    for name, value in variables(0).items():
        kind = {"strategy": "module", "t": "float"}[name]
        constraints = {"modules": STRATEGIES} if kind == "module" else None
        other.register_variable(name, kind, value, constraints=constraints)
    return other.revision


@pytest.fixture
def strategies(instant_lm: InstantLM, other: BlockingContext, first_revision: int) -> Iterator[Callable[..., Any]]:
    """Makes a program that follows the strategy, with all its predictors at one temperature."""
    contexts = []

    def make(**options: Any) -> Any:
        contexts.append(SessionContext.connect(other.address, session_id=other.session_id, **options).blocking)
        # DSPy says so when one is made.
        deprecated = pytest.warns(DeprecationWarning, match="ProgramOfThought")
        with deprecated if "ProgramOfThought" in REQUESTS else contextlib.nullcontext():
            program = sb.VariableModule("strategy", "question -> answer", session=contexts[-1], modules=MODULES)
        return sb.bind(program, {"temperature": "t"}, session=contexts[-1])

    instant_lm.reply(reply)
    yield make
    for context in contexts:
        context.close()


@pytest.mark.parametrize("freshness", ["latest", "streamed"])
@pytest.mark.parametrize("run", [in_threads, in_a_batch, in_tasks])
def test_every_call_is_answered_by_exactly_the_strategy_of_its_snapshot(
    run: Callable[[Any, Sequence[str]], Iterable[Any]],
    freshness: str,
    strategies: Callable[..., Any],
    first_revision: int,
    other: BlockingContext,
    instant_lm: InstantLM,
) -> None:
    program = strategies(freshness=freshness)
    questions = [f"question {number}." for number in range(CALLS)]
    with _switching(other):
        answers = list(run(program, questions))
    made: dict[str, list[tuple[str, float]]] = {question: [] for question in questions}
    for body in instant_lm.requests:
        (question,) = set(re.findall(r"question \d+\.", str(body["messages"][-1]["content"])))
        made[question].append((strategy_of(body), body["temperature"]))
    assert len(answers) == CALLS
    for question, answer in zip(questions, answers, strict=True):
        revision = sb.revision_of(answer)
        assert revision is not None
        state = variables(revision - first_revision)
        strategy = state["strategy"]
        assert answer.answer == strategy
        assert made[question] == [(strategy, state["t"])] * REQUESTS[strategy]
    assert len({answer.answer for answer in answers}) > 1


def test_switching_through_all_strategies_one_after_the_other(
    strategies: Callable[..., Any], other: BlockingContext, instant_lm: InstantLM
) -> None:
    program = strategies()
    for number in range(2 * len(STRATEGIES)):
        other.set_variables(variables(number))
        before = len(instant_lm.requests)
        run = in_threads if number % 2 else in_tasks
        (answer,) = run(program, ["question 1."])
        strategy = STRATEGIES[number % len(STRATEGIES)]
        assert answer.answer == strategy
        assert [strategy_of(body) for body in instant_lm.requests[before:]] == [strategy] * REQUESTS[strategy]
