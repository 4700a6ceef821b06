"""DSPy's own callbacks see a bound program as they see any other: once, in order, with the object itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import dspy
import pytest
from dspy.utils.callback import BaseCallback

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from snakepit_bridge.exceptions import VariableNotFoundError
from tests.dspy.support.programs import KINDS, ForwardOnly, Kind, Pair
from tests.support.recording_lm import RecordingLM

ASKED = {
    "call": lambda program: program(question="why?"),
    "acall": lambda program: asyncio.run(program.acall(question="why?")),
}
every_way = pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)


class Noting(BaseCallback):
    """Notes what starts and ends, and that each end belongs to the last start."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.open: list[tuple[str, Any]] = []

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._start("module", call_id, instance)

    def on_module_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self._end("module", call_id, exception)

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._start("lm", call_id, instance)

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self._end("lm", call_id, exception)

    def _start(self, kind: str, call_id: str, instance: Any) -> None:
        self.open.append((call_id, instance))
        self.events.append((f"{kind} starts", instance))

    def _end(self, kind: str, call_id: str, exception: BaseException | None) -> None:
        started, instance = self.open.pop()
        assert started == call_id
        self.events.append((f"{kind} fails" if exception else f"{kind} ends", instance))


def events_of(ask: Callable[[Any], Any], program: Any) -> list[tuple[str, Any]]:
    noting = Noting()
    with dspy.context(callbacks=[noting]):
        ask(program)
    assert noting.open == []
    return noting.events


def names_of(events: list[tuple[str, Any]]) -> list[tuple[str, str]]:
    return [(event, type(instance).__name__) for event, instance in events]


@every_way
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_bound_program_has_the_callbacks_of_the_plain_one(
    ask: Callable[[Any], Any], kind: Kind, lm: RecordingLM, session: BlockingContext
) -> None:
    program = kind.bound(session)
    bound = events_of(ask, program)
    sb.unbind(program, "temperature")
    assert names_of(bound) == names_of(events_of(ask, program))
    assert bound[0] == ("module starts", program)
    assert bound[-1] == ("module ends", program)
    assert [event for event, _ in bound].count("lm starts") == len(lm.requests) // 2


@every_way
def test_each_is_told_once_with_the_very_object(
    ask: Callable[[Any], Any], lm: RecordingLM, session: BlockingContext
) -> None:
    program: Any = sb.bind(Pair(), {"temperature": "t", "k": "tokens"}, session=session)
    events, base = events_of(ask, program), dspy.settings.lm
    inner = [(program.draft, base), (program.polish, None), (program.polish.predict, base)]
    assert [(event, instance) for event, instance in events if event.endswith("starts")] == [
        ("module starts", program),
        *(
            (f"{kind} starts", found)
            for module, lm_used in inner
            for kind, found in (("module", module), ("lm", lm_used))
            if found is not None
        ),
    ]
    assert len(events) == 2 * 6


@every_way
def test_a_module_without_aforward_and_a_bound_model_are_told_once_too(
    ask: Callable[[Any], Any], lm: RecordingLM, session: BlockingContext
) -> None:
    program: Any = sb.bind(ForwardOnly(), {"model": "model"}, session=session)
    assert names_of(events_of(ask, program)) == [
        ("module starts", "ForwardOnly"),
        ("module starts", "Predict"),
        ("lm starts", "LM"),
        ("lm ends", "LM"),
        ("module ends", "Predict"),
        ("module ends", "ForwardOnly"),
    ]
    assert lm.requests[0]["model"] == "gpt-4o"


@every_way
def test_callbacks_of_the_module_and_of_the_lm_stay_with_them(
    ask: Callable[[Any], Any], lm: RecordingLM, session: BlockingContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_module, of_lm = Noting(), Noting()
    program = dspy.Predict("question -> answer", callbacks=[of_module])
    monkeypatch.setattr(dspy.settings.lm, "callbacks", [of_lm])
    sb.bind(program, {"model": "model", "temperature": "t"}, session=session)
    ask(program)
    assert names_of(of_module.events) == [("module starts", "Predict"), ("module ends", "Predict")]
    assert names_of(of_lm.events) == [("lm starts", "LM"), ("lm ends", "LM")]


@every_way
def test_a_change_is_told_before_dspy_tells_of_the_call(
    ask: Callable[[Any], Any], lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    noting = Noting()
    program = sb.bind(Pair(), {"temperature": "t"}, session=session)
    sb.on_change(program, "temperature", lambda *change: noting.events.append(("change", change)))
    ask(program)
    other.set_variable("t", 0.5)
    with dspy.context(callbacks=[noting]):
        ask(program)
    assert noting.events[:2] == [("change", ("temperature", 0.25, 0.5)), ("module starts", program)]


@every_way
def test_a_callback_sees_the_values_of_the_call(
    ask: Callable[[Any], Any], lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    class Reading(BaseCallback):
        def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            seen.append(instance.config["temperature"])

        def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
            other.set_variable("t", 0.75)

        def on_module_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
            seen.append(sb.effective(program)["temperature"].value)

    seen: list[Any] = []
    program = sb.bind(dspy.Predict("question -> answer"), {"temperature": "t"}, session=session)
    other.set_variable("t", 0.5)
    with dspy.context(callbacks=[Reading()]):
        ask(program)
    assert seen == [0.5, 0.5]


@every_way
def test_a_call_refused_for_its_variables_never_began(
    ask: Callable[[Any], Any], lm: RecordingLM, session: BlockingContext
) -> None:
    noting = Noting()
    program = sb.bind(Pair(), {"temperature": "t"}, session=session)
    session.delete_variable("t")
    with dspy.context(callbacks=[noting]), pytest.raises(VariableNotFoundError):
        ask(program)
    assert noting.events == []
    assert lm.requests == []
