"""Every way into a bound program runs with one snapshot, and says which."""

from __future__ import annotations

import asyncio
import inspect
import logging
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext, SessionContext
from tests.dspy.support.programs import Pair, agent, as_agent
from tests.support.instant_lm import InstantLM
from tests.support.recording_lm import RecordingLM
from tests.support.wire_proxy import WireProxy

# It reads what crosses the wire, which TLS would hide.
pytestmark = pytest.mark.transport("tokens")


class Aware(sb.VariableAwareMixin, Pair):
    """Binds by itself, with the entries of its parent."""


class OwnEntries(sb.VariableAwareMixin, dspy.Module):
    """Binds by itself, with entries of its own."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pair = Pair()
        self.k = 3

    def forward(self, question: str) -> Any:
        before = self.k
        answer = self.pair(question=question).answer
        return dspy.Prediction(answer=answer, k=before if before == self.k else None)

    async def aforward(self, question: str) -> Any:
        before = self.k
        answer = (await self.pair.acall(question=question)).answer
        return dspy.Prediction(answer=answer, k=before if before == self.k else None)


ENTRIES: dict[str, Callable[[Any], Any]] = {
    "call": lambda program: program(question="why?"),
    "acall": lambda program: asyncio.run(program.acall(question="why?")),
    "forward": lambda program: program.forward(question="why?"),
    "aforward": lambda program: asyncio.run(program.aforward(question="why?")),
}


@pytest.fixture
def moving(lm: RecordingLM, other: BlockingContext) -> RecordingLM:
    """The LM, while another client changes every variable before each of its answers."""

    def answer(_: dict[str, Any]) -> dict[str, Any]:
        other.set_variables({"t": len(lm.requests) / 8, "tokens": 200 + len(lm.requests)})
        return {"reasoning": "r", "draft": "d", "answer": "a"}

    lm.reply(answer)
    return lm


@pytest.mark.parametrize("make", [Pair, Aware, OwnEntries])
@pytest.mark.parametrize("entry", ENTRIES)
def test_whatever_is_entered_first_takes_one_snapshot_for_all_inside(
    entry: str, make: Callable[[], Any], moving: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    program = sb.bind(make(), {"temperature": "t", "k": "tokens"}, session=session)
    first = ENTRIES[entry](program)
    now = other.revision
    second = ENTRIES[entry](program)
    assert [body["temperature"] for body in moving.requests] == [0.25, 0.25, 0.25, 0.25]
    assert (first.k, second.k) == (111, 202)
    assert sb.revision_of(second) == now
    moving.reply({"reasoning": "r", "draft": "d", "answer": "a"})
    ENTRIES[entry](program)
    assert moving.requests[-1]["temperature"] == 0.5


async def test_forward_async_is_an_entry_too(moving: RecordingLM, session: BlockingContext) -> None:
    program = Aware(session_context=session)
    await program.bind_to_variable("temperature", "t")
    await program.forward_async(question="why?")
    assert [body["temperature"] for body in moving.requests] == [0.25, 0.25]


def test_a_forward_called_inside_a_call_has_the_calls_snapshot(
    moving: RecordingLM, session: BlockingContext, caplog: pytest.LogCaptureFixture
) -> None:
    class Outer(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair()

        def forward(self, question: str) -> Any:
            self.pair(question=question)
            return self.pair.forward(question=question)

    program = sb.bind(Outer(), {"temperature": "t", "pair.k": "tokens"}, session=session)
    assert program(question="why?").k == 111
    assert [body["temperature"] for body in moving.requests] == [0.25] * 4


@pytest.mark.parametrize("make", [Pair, Aware])
def test_dspy_warns_of_a_direct_forward_as_ever(
    make: Callable[[], Any], lm: RecordingLM, session: BlockingContext, caplog: pytest.LogCaptureFixture
) -> None:
    def warnings_of(entry: str, program: Any) -> int:
        caplog.clear()
        # DSPy's loggers do not propagate.
        logger = logging.getLogger("dspy")
        logger.addHandler(caplog.handler)
        try:
            ENTRIES[entry](program)
        finally:
            logger.removeHandler(caplog.handler)
        return len(caplog.records)

    plain = {entry: warnings_of(entry, Pair()) for entry in ENTRIES}
    program = sb.bind(make(), {"temperature": "t"}, session=session)
    assert {entry: warnings_of(entry, program) for entry in ENTRIES} == plain
    assert plain == {"call": 0, "acall": 0, "forward": 1, "aforward": 0}


@pytest.mark.parametrize("name", ["__call__", "acall", "forward", "aforward"])
def test_entries_keep_their_signatures_and_kinds(name: str, session: BlockingContext) -> None:
    plain = getattr(Pair(), name)
    bound = getattr(sb.bind(Pair(), {"temperature": "t"}, session=session), name)
    assert inspect.signature(bound) == inspect.signature(plain)
    assert inspect.iscoroutinefunction(bound) == inspect.iscoroutinefunction(plain)
    assert inspect.unwrap(bound.__func__) is inspect.unwrap(plain.__func__)
    assert (bound.__name__, bound.__qualname__, bound.__module__) == (
        plain.__name__,
        plain.__qualname__,
        plain.__module__,
    )


def test_a_forward_patched_on_the_class_is_what_runs(session: BlockingContext, monkeypatch: pytest.MonkeyPatch) -> None:
    program = sb.bind(Pair(), {"k": "tokens"}, session=session)
    monkeypatch.setattr(Pair, "forward", lambda self, question: dspy.Prediction(patched=self.k))
    assert program(question="why?").patched == 111
    assert program.forward(question="why?").patched == 111


def test_a_forward_patched_on_the_instance_runs_with_one_snapshot_and_can_be_put_back(
    moving: RecordingLM, session: BlockingContext, tmp_path: Path
) -> None:
    program: Any = sb.bind(Pair(), {"temperature": "t", "k": "tokens"}, session=session)
    # As GEPA does it to get at the traces.
    original = program.forward
    program.forward = types.MethodType(lambda self, **kwargs: (original(**kwargs), self.k), program)
    answer, k = program(question="why?")
    assert (answer.k, k) == (111, 111)
    program.forward = original
    assert program(question="why?").k == 202
    assert [body["temperature"] for body in moving.requests] == [0.25] * 4
    # And what was put back does not take this package into a pickle.
    path = tmp_path / "program.pkl"
    cloudpickle.register_pickle_by_value(sys.modules[Pair.__module__])
    try:
        path.write_bytes(cloudpickle.dumps(program))
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[Pair.__module__])
    code = (
        "import sys, pickle; sys.modules['snakepit_bridge'] = None\n"
        f"program = pickle.load(open({str(path)!r}, 'rb')); print(type(program).__name__, program.k)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Pair", "3"]


def test_an_entry_read_before_unbind_still_runs(lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.bind(Pair(), {"temperature": "t", "k": "tokens"}, session=session)
    entries = [program.__call__, program.forward]
    sb.unbind(program)
    assert [entry(question="why?").k for entry in entries] == [3, 3]
    assert all("temperature" not in body for body in lm.requests)


@pytest.mark.parametrize("entry", ["call", "forward"])
def test_a_step_takes_one_snapshot_however_deep_its_entries_nest(
    entry: str, lm: RecordingLM, proxy: WireProxy, session: BlockingContext
) -> None:
    lm.reply(as_agent)
    with SessionContext.connect(proxy.address, session_id=session.session_id) as through:
        program = sb.bind(agent(), {"temperature": "t"}, session=through, refresh="step")
        start = proxy.count()
        ENTRIES[entry](program)
        # One of the call, and one of each of its three predictor calls.
        assert proxy.rpcs()[start:] == ["SyncVariables"] * 4


async def test_an_acall_of_ones_own_is_called(lm: RecordingLM, session: BlockingContext) -> None:
    class OwnAcall(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ask = dspy.Predict("question -> answer")
            self.k = 3

        async def acall(self, question: str) -> Any:
            await self.ask.acall(question=question)
            return self.k

    program = sb.bind(OwnAcall(), {"temperature": "t", "k": "tokens"}, session=session)
    assert await program.acall(question="why?") == 111
    assert lm.requests[0]["temperature"] == 0.25


async def test_a_forward_that_is_a_coroutine_function_runs_inside_its_snapshot(
    moving: RecordingLM, session: BlockingContext
) -> None:
    class AsyncForward(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair()
            self.k = 3

        async def forward(self, question: str) -> Any:
            await self.pair.acall(question=question)
            await self.pair.acall(question=question)
            return self.k

    program = sb.bind(AsyncForward(), {"temperature": "t", "k": "tokens"}, session=session)
    assert await program(question="why?") == 111
    assert [body["temperature"] for body in moving.requests] == [0.25] * 4


@pytest.mark.parametrize("entry", ["acall", "aforward"])
async def test_a_cancelled_call_leaves_no_snapshot_behind(
    entry: str, instant_lm: InstantLM, session: BlockingContext, other: BlockingContext
) -> None:
    program = sb.bind(Pair(), {"temperature": "t"}, session=session)

    def reply(body: dict[str, Any]) -> dict[str, Any]:
        if len(instant_lm.requests) == 1:
            other.set_variable("t", 0.5)
            deadline.reschedule(asyncio.get_running_loop().time())
        return {"reasoning": "r", "draft": "d", "answer": "a"}

    instant_lm.reply(reply)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as deadline:
            await getattr(program, entry)(question="why?")
    assert len(instant_lm.requests) == 1
    # In the same task, whose context the cancelled call had changed.
    await getattr(program, entry)(question="why?")
    assert [body["temperature"] for body in instant_lm.requests] == [0.25, 0.5, 0.5]


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_failed_call_leaves_no_snapshot_behind(
    entry: str, instant_lm: InstantLM, session: BlockingContext, other: BlockingContext
) -> None:
    program = sb.bind(Pair(), {"temperature": "t"}, session=session)

    def fail(_: dict[str, Any]) -> dict[str, Any]:
        other.set_variable("t", 0.5)
        raise LookupError

    instant_lm.reply(fail)
    with pytest.raises(LookupError):
        ENTRIES[entry](program)
    instant_lm.reply(lambda _: {"reasoning": "r", "draft": "d", "answer": "a"})
    ENTRIES[entry](program)
    assert [body["temperature"] for body in instant_lm.requests][-2:] == [0.5, 0.5]
