"""Binding and unbinding while calls run: a call goes on with the bindings that it began with."""

from __future__ import annotations

import asyncio
import itertools
import re
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext, SessionContext
from tests.dspy.support.programs import Pair, prompt_of
from tests.support.instant_lm import InstantLM
from tests.support.recording_lm import RecordingLM
from tests.support.waiting import PATIENCE

ENTRIES: list[Callable[..., Any]] = [
    lambda program, **inputs: program(**inputs),
    lambda program, **inputs: program.forward(**inputs),
    lambda program, **inputs: asyncio.run(program.acall(**inputs)),
    lambda program, **inputs: asyncio.run(program.aforward(**inputs)),
]

ONE = {"temperature": "t_1", "k": "k_1", "instructions": "prompt_1", "model": "model_1"}
TWO = {"temperature": "t_2", "k": "k_2", "instructions": "prompt_2", "model": "model_2"}


@pytest.fixture
def both(blocking: BlockingContext) -> BlockingContext:
    """A session with two variables for everything."""
    for n in (1, 2):
        blocking.register_variable(f"t_{n}", "float", n / 4)
        blocking.register_variable(f"k_{n}", "integer", n)
        blocking.register_variable(f"prompt_{n}", "string", f"state {n}.")
        blocking.register_variable(f"model_{n}", "string", f"gpt-{n}")
    return blocking


def state_of(body: dict[str, Any]) -> tuple[int, ...]:
    """The states that a request shows, one for each thing that is bound."""
    prompts = re.findall(r"state (\d)\.", prompt_of(body)) or [0]
    return (
        int(body.get("temperature", 0) * 4),
        int(body["model"].rpartition("-")[2].replace("mini", "0")),
        *map(int, prompts),
    )


class Silent(dspy.Module):
    """Asks no LM."""

    def __init__(self, *, inner: bool = True) -> None:
        super().__init__()
        self.k = 0
        if inner:
            self.silent = Silent(inner=False)

    def forward(self) -> Any:
        return dspy.Prediction(k=self.k)


def unbind_and_bind(program: Any, session: Any) -> None:
    sb.unbind(program)
    sb.bind(program, TWO, session=session)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    ("change", "after"),
    [
        (lambda program, session: sb.bind(program, TWO, session=session), 2),
        (lambda program, _: sb.unbind(program), 0),
        (unbind_and_bind, 2),
    ],
    ids=["bind", "unbind", "both"],
)
def test_a_call_goes_on_with_the_bindings_it_began_with(
    change: Callable[[Any, Any], Any], after: int, entry: Any, instant_lm: InstantLM, both: BlockingContext
) -> None:
    program = Pair()
    program.k = 0
    sb.bind(program, ONE, session=both)
    changes = iter([lambda: change(program, both)])

    def reply(_: Any) -> dict[str, Any]:
        next(changes, lambda: None)()
        return {"reasoning": "r", "draft": "d", "answer": "a"}

    instant_lm.reply(reply)
    answers = [entry(program, question="why?") for _ in range(2)]
    assert [answer.k for answer in answers] == [1, after]
    assert [set(state_of(body)) for body in instant_lm.requests] == [{1}, {1}, {after}, {after}]


@pytest.mark.parametrize("freshness", ["latest", "streamed"])
def test_calls_in_threads_see_one_binding_or_the_other_while_a_program_is_rebound(
    freshness: Any, instant_lm: InstantLM, both: BlockingContext, often_switching: None
) -> None:
    with SessionContext.connect(both.address, session_id=both.session_id, freshness=freshness) as session:
        program = Pair()
        program.k = 0
        sb.bind(program, ONE, session=session)
        found: dict[str, int] = {}
        with _calling(program, found):
            for turn in range(1000):
                sb.bind(program, TWO, session=session)
                sb.bind(program, ONE, session=session)
                if turn >= 40 and {*found.values()} == {1, 2}:
                    break
    states: dict[str, set[int]] = {question: {k} for question, k in found.items()}
    for body in instant_lm.requests:
        states[_question_of(body)] |= set(state_of(body))
    assert {*found.values()} == {1, 2}
    assert all(len(seen) == 1 for seen in states.values())


def test_calls_in_threads_see_a_whole_binding_or_none_while_a_program_is_unbound(
    instant_lm: InstantLM, both: BlockingContext, often_switching: None
) -> None:
    program = Pair()
    program.k = 0
    found: dict[str, int] = {}
    with _calling(program, found):
        for _ in range(40):
            sb.bind(program, ONE, session=both)
            sb.unbind(program)
            sb.bind(program, TWO, session=both)
            sb.bind(program, ONE, session=both)
            sb.unbind(program)
    assert set(found.values()) <= {0, 1, 2}
    assert {len(set(state_of(body))) for body in instant_lm.requests} == {1}
    # Of a call that is over, nothing may hold on to what it ran with.
    sb.bind(program, ONE, session=both)
    sb.unbind(program)
    assert type(program) is Pair
    assert type(program.draft) is dspy.Predict


def test_a_thread_may_outlive_the_call_that_started_it(
    session: BlockingContext, other: BlockingContext, often_switching: None
) -> None:
    class Starts(Silent):
        def forward(self) -> Any:
            thread = threading.Thread(target=sb.carry(self.read))
            threads.append(thread)
            thread.start()

        def read(self) -> None:
            try:
                for _ in range(100):
                    found.add((self.k, self.silent().k))
            except BaseException as error:
                found.add((type(error), str(error)))

    threads: list[threading.Thread] = []
    found: set[Any] = set()
    program = sb.bind(Starts(), {"k": "tokens", "silent.k": "tokens"}, session=session)
    for number in range(60):
        other.set_variable("tokens", number)
        program()
    for thread in threads:
        thread.join()
    # Each went on with the snapshot of its call.
    assert found == {(number, number) for number in range(60)}


def test_a_callback_may_unbind_while_another_thread_does(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    program = sb.bind(Pair(), {"k": "tokens", "temperature": "t"}, session=session)
    elsewhere = threading.Thread(target=lambda: sb.unbind(program, "temperature"), daemon=True)
    ended = threading.Event()

    def unbind(*_: Any) -> None:
        elsewhere.start()
        while "temperature" in sb.bindings(program):
            ended.wait(0.001)
        sb.unbind(program, "k")
        ended.set()

    sb.on_change(program, "k", unbind)
    other.set_variable("tokens", 5)
    calling = threading.Thread(target=lambda: program(question="why?"), daemon=True)
    calling.start()
    for thread in (calling, elsewhere):
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert ended.is_set()
    assert sb.bindings(program) == {}


def test_unbind_returns_only_when_no_callback_of_the_path_runs(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    program = sb.bind(Pair(), {"k": "tokens"}, session=session)
    entered, leave, log = threading.Event(), threading.Event(), []

    def callback(*_: Any) -> None:
        entered.set()
        leave.wait(PATIENCE)
        log.append("callback ended")

    def unbind() -> None:
        sb.unbind(program, "k")
        log.append("unbind returned")

    sb.on_change(program, "k", callback)
    other.set_variable("tokens", 5)
    calling = threading.Thread(target=lambda: program(question="why?"))
    calling.start()
    entered.wait(PATIENCE)
    unbinding = threading.Thread(target=unbind)
    unbinding.start()
    while sb.bindings(program):
        entered.wait(0)
    leave.set()
    calling.join()
    unbinding.join()
    assert log == ["callback ended", "unbind returned"]


@pytest.fixture
def often_switching() -> Iterator[None]:
    """Threads take turns fifty times as often as usual."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(usual / 50)
    yield
    sys.setswitchinterval(usual)


class _calling:  # noqa: N801
    """Three threads that call a program through all entries meanwhile; what they raise is raised."""

    def __init__(self, program: Any, found: dict[str, int]) -> None:
        self._program, self._found = program, found
        self._done = threading.Event()
        self._raised: list[BaseException] = []
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(3)]

    def _call(self, number: int) -> None:
        for turn in itertools.count():
            if self._done.is_set():
                return
            question = f"question-{number}-{turn}"
            try:
                self._found[question] = ENTRIES[turn % len(ENTRIES)](self._program, question=question).k
            except BaseException as error:
                self._raised.append(error)
                return

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()
        if self._raised:
            raise self._raised[0]


def _question_of(body: dict[str, Any]) -> str:
    return str(re.findall(r"question-\d+-\d+", str(body["messages"][-1]["content"]))[0])
