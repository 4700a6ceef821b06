"""One call, one state: two variables that flip together are never seen apart, however the program is run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext, SessionContext
from tests.dspy.programs import Pair, prompt_of
from tests.recording_lm import RecordingLM

QUESTIONS = [f"question {number}" for number in range(12)]
STATES = {(0.25, "state one", 1), (0.75, "state two", 2)}


def one_by_one(program: Any) -> list[Any]:
    return [program(question=question) for question in QUESTIONS]


def awaited(program: Any) -> list[Any]:
    async def run() -> list[Any]:
        return [await program.acall(question=question) for question in QUESTIONS]

    return asyncio.run(run())


def gathered(program: Any) -> list[Any]:
    async def run() -> list[Any]:
        return await asyncio.gather(*(program.acall(question=question) for question in QUESTIONS))

    return asyncio.run(run())


def in_threads(program: Any) -> list[Any]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda question: program(question=question), QUESTIONS))


def in_parallel(program: Any) -> list[Any]:
    pairs = [(program, {"question": question}) for question in QUESTIONS]
    found: list[Any] = dspy.Parallel(num_threads=4, disable_progress_bar=True)(pairs)
    return found


def in_a_batch(program: Any) -> list[Any]:
    examples = [dspy.Example(question=question).with_inputs("question") for question in QUESTIONS]
    found: list[Any] = program.batch(examples, num_threads=4, disable_progress_bar=True)
    return found


def asyncified(program: Any) -> list[Any]:
    async def run() -> list[Any]:
        return await asyncio.gather(*(dspy.asyncify(program)(question=question) for question in QUESTIONS))

    return asyncio.run(run())


WAYS = [one_by_one, awaited, gathered, in_threads, in_parallel, in_a_batch, asyncified]


@pytest.fixture
def flipping(other: BlockingContext) -> Iterator[None]:
    """Another client that flips all three variables together, as fast as the server takes it."""
    done = threading.Event()

    def flip() -> None:
        while not done.is_set():
            for t, prompt, k in sorted(STATES):
                other.set_variables({"t": t, "prompt": prompt, "k": k})

    thread = threading.Thread(target=flip)
    thread.start()
    yield
    done.set()
    thread.join()


@pytest.mark.parametrize("freshness", ["latest", "streamed"])
@pytest.mark.parametrize("run", WAYS, ids=lambda run: run.__name__)
def test_no_call_ever_mixes_two_states(
    run: Callable[[Any], list[Any]], freshness: Any, lm: RecordingLM, other: BlockingContext, request: Any
) -> None:
    with SessionContext.connect(other.address, session_id=other.session_id, freshness=freshness) as session:
        session.register_variable("t", "float", 0.25)
        session.register_variable("prompt", "string", "state one")
        session.register_variable("k", "integer", 1)
        program = sb.bind(Pair(), {"temperature": "t", "instructions": "prompt", "k": "k"}, session=session)
        request.getfixturevalue("flipping")
        answers = [answer for _ in range(2) for answer in run(program)]
    assert len(answers) == 2 * len(QUESTIONS)
    calls: dict[str, set[Any]] = {}
    # The first predictor's answer, "draft N", is in the question to the second: that ties a call's requests together.
    asked = {f"draft {number}": body for number, body in enumerate(lm.requests, 1) if "draft" not in _question(body)}
    for number, body in enumerate(lm.requests, 1):
        draft = next((text for text in asked if f"\n{text}\n" in _question(body) + "\n"), None)
        calls.setdefault(draft or f"draft {number}", set()).add((body["temperature"], _state_in(body)))
    assert len(calls) == len(answers)
    seen = {state[:2] for state in STATES}
    assert all(len(states) == 1 and states <= seen for states in calls.values())
    # And the attribute read at the end of the call is of the same state as its last request.
    by_answer = {f"answer {number}": body for number, body in enumerate(lm.requests, 1)}
    for answer in answers:
        body = by_answer[answer.answer]
        assert (body["temperature"], _state_in(body), answer.k) in STATES


def _question(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"]).partition("Respond with")[0]


def _state_in(body: dict[str, Any]) -> str:
    found = [state[1] for state in STATES if state[1] in prompt_of(body)]
    return " and ".join(found)
