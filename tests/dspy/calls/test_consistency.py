"""One call, one state: variables that flip together are never seen apart, however the program is run.

`--forwards 100000` (or `make consistency`) checks as many as that; the terminal summary says how many it were.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext, LocalServer, SessionContext
from tests.dspy.support.consistency import BINDINGS, by_question, problems
from tests.dspy.support.entry_points import ENTRY_POINTS, Whole, called, in_a_thread_pool
from tests.dspy.support.states import register, variables
from tests.support.instant_lm import InstantLM
from tests.support.recording_lm import RecordingLM

Flip = Callable[[str], None]


class Flipper:
    """A process that flips the variables of one session after the other; see `tests.dspy.support.states`."""

    def __init__(self, address: str) -> None:
        command, root = [sys.executable, "-m", "tests.dspy.support.states", address], Path(__file__).parents[3]
        self._process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, session_id: str) -> None:
        """Returns when the first state is written."""
        assert self._say(session_id) == 1

    def stop(self) -> int:
        """Ends the flipping; the number of the last state."""
        return self._say("")

    def _say(self, line: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@pytest.fixture(scope="module")
def flipper(server: LocalServer) -> Iterator[Flipper]:
    running = Flipper(server.address)
    yield running
    running.close()


@pytest.fixture(scope="module")
def forwards(request: pytest.FixtureRequest) -> dict[str, int]:
    """How many forwards each test makes: of all, one in 20 has its requests go through HTTP."""
    each = -(-request.config.getoption("forwards") // (2 * len(ENTRY_POINTS)))
    over_http = -(-each // 20)
    return {"http": over_http, "instant": each - over_http}


@pytest.mark.parametrize("freshness", ["latest", "streamed"])
@pytest.mark.parametrize("way", ["instant", "http"])
@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_no_forward_ever_sees_a_mix_of_states(
    name: str,
    way: str,
    freshness: Any,
    forwards: dict[str, int],
    flipper: Flipper,
    other: BlockingContext,
    record_property: Callable[[str, object], None],
    request: pytest.FixtureRequest,
) -> None:
    run, make = ENTRY_POINTS[name]
    lm: InstantLM | RecordingLM = request.getfixturevalue({"instant": "instant_lm", "http": "lm"}[way])
    first_revision = register(other)
    with SessionContext.connect(other.address, session_id=other.session_id, freshness=freshness) as session:
        program = sb.bind(make(), BINDINGS, session=session)
        questions = [f"question {number} of {way}-{freshness}" for number in range(forwards[way])]
        flipper.start(other.session_id)
        # What a streamed mirror knows is not bounded by what another client knows.
        oldest = other.get_variable("k") if freshness == "latest" else 0
        try:
            answers = list(run(program, questions))
        finally:
            written = flipper.stop()
    requests = by_question(lm.requests)
    assert sorted(answer.question for answer in answers) == sorted(requests) == sorted(questions)
    wrong = {
        answer.question: found
        for answer in answers
        if (found := problems(answer, requests[answer.question], oldest=oldest, first_revision=first_revision))
    }
    checked = {"forwards": len(answers), "requests": len(lm.requests), "mixed": len(wrong)}
    states = {"states": len({answer.read[0] for answer in answers}), "written": written}
    record_property("consistency", {"name": name} | checked | states)
    assert wrong == {}


@pytest.fixture
def moving(instant_lm: InstantLM, other: BlockingContext) -> InstantLM:
    """An LM, while whose every answer another client goes one state further."""
    moved = threading.Lock()

    def reply(body: dict[str, Any]) -> dict[str, Any]:
        with moved:
            other.set_variables(variables(other.get_variable("k") + 1))
        return {"draft": "d", "note": "n", "reasoning": "r", "answer": "a"}

    instant_lm.reply(reply)
    return instant_lm


def checked(program: Any, lm: InstantLM, first_revision: int, run: Any = called) -> list[list[str]]:
    answers = run(program, [f"question {number} of proof" for number in range(4)])
    requests = by_question(lm.requests)
    return [problems(one, requests[one.question], oldest=0, first_revision=first_revision) for one in answers]


@pytest.mark.parametrize("run", [called, in_a_thread_pool])
def test_the_checker_finds_nothing_where_calls_share_their_snapshot(
    run: Any, moving: InstantLM, other: BlockingContext, blocking: BlockingContext
) -> None:
    first_revision = register(other)
    program = sb.bind(Whole(), BINDINGS, session=blocking)
    assert checked(program, moving, first_revision, run) == [[], [], [], []]


@pytest.mark.parametrize("run", [called, in_a_thread_pool])
def test_the_checker_finds_a_mix_where_inner_calls_take_their_own_snapshot(
    run: Any, moving: InstantLM, other: BlockingContext, blocking: BlockingContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No call finds the snapshot of the one around it.
    for where in ("view", "overlay"):
        monkeypatch.setattr(f"snakepit_bridge.dspy_integration.overlay.{where}.find", lambda *_: None)
    first_revision = register(other)
    program = sb.bind(Whole(), BINDINGS, session=blocking)
    assert all(checked(program, moving, first_revision, run))


def test_the_checker_finds_a_mix_in_a_program_that_is_mutated_before_each_forward(
    moving: InstantLM, other: BlockingContext, blocking: BlockingContext
) -> None:
    class Mutated(Whole):
        def forward(self, question: str) -> Any:
            for name, value in ((name, blocking.get_variable(name)) for name in ("t", "tokens", "k", "width")):
                for predictor in self.predictors():
                    predictor.config |= {"t": {"temperature": value}, "tokens": {"max_tokens": value}}.get(name, {})
                if name == "k":
                    self.k = value
                self.part.width = value if name == "width" else self.part.width
                self.note_that_others_run()
            return super().forward(question)

        def note_that_others_run(self) -> None:
            other.set_variables(variables(other.get_variable("k") + 1))

    first_revision = register(other)
    assert all(checked(Mutated(), moving, first_revision))


DOCTORED: dict[str, Callable[[dict[str, Any]], object]] = {
    "temperature": lambda body: body.update(temperature=body["temperature"] + 1 / 32),
    "no temperature": lambda body: body.pop("temperature"),
    "max_tokens": lambda body: body.update(max_tokens=body["max_tokens"] + 1),
    "model": lambda body: body.update(model="openai/state-9"),
    "instructions": lambda body: body["messages"][0].update(content="You are in state 9."),
    "demos": lambda body: body["messages"].insert(1, {"role": "user", "content": "demo of state 9?"}),
    "no demos": lambda body: body.update(messages=[body["messages"][0], body["messages"][-1]]),
}


@pytest.mark.parametrize("doctored", DOCTORED)
def test_the_checker_finds_each_single_thing_of_another_state(
    doctored: str, instant_lm: InstantLM, other: BlockingContext, blocking: BlockingContext
) -> None:
    first_revision = register(other)
    program = sb.bind(Whole(), BINDINGS, session=blocking)
    (answer,) = called(program, ["question 0 of proof"])
    bodies = instant_lm.requests

    def found(answer: Any, bodies: Any, oldest: int = 0, revision: int = first_revision) -> list[str]:
        requests = by_question(bodies)["question 0 of proof"]
        return problems(answer, requests, oldest=oldest, first_revision=revision)

    assert found(answer, bodies) == []
    assert found(answer, bodies[1:])
    assert found(answer, bodies, oldest=1)
    assert found(answer, bodies, revision=first_revision - 1)
    assert found(dspy.Prediction(read=[0, 0, 1, 0, 0]), bodies)
    DOCTORED[doctored](bodies[0])
    assert len(found(answer, bodies)) == 1
