"""Copying bound programs: what a copy has of its own, what it shares, and when names are let go."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
from collections.abc import Callable
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from snakepit_bridge.exceptions import VariableNotFoundError
from snakepit_bridge.session_context import session_of
from tests.dspy.support.programs import KINDS, Aliased, Kind, Pair, agent, as_agent
from tests.support.recording_lm import RecordingLM

DEEP: dict[str, Callable[[Any], Any]] = {
    "copy.deepcopy": copy.deepcopy,
    "Module.deepcopy": lambda program: program.deepcopy(),
    "reset_copy": lambda program: program.reset_copy(),
}
COPIED = {**DEEP, "copy.copy": copy.copy}


every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
every_way = pytest.mark.parametrize("copied", COPIED.values(), ids=COPIED)
every_deep_way = pytest.mark.parametrize("copied", DEEP.values(), ids=DEEP)


@every_way
@every_kind
def test_a_copy_follows_the_same_variables(
    kind: Kind, copied: Any, lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    program = kind.bound(session)
    twin = copied(program)
    assert twin is not program
    assert type(twin) is type(program)
    assert sb.bindings(twin) == sb.bindings(program)
    other.set_variable("t", 0.5)
    twin(question="why?")
    asyncio.run(twin.acall(question="why?"))
    program(question="why?")
    assert {body["temperature"] for body in lm.requests} == {0.5}
    assert [found.detached or found.uncovered for found in sb.effective(twin).values()] == [()] * len(sb.bindings(twin))


@every_way
def test_a_predictor_under_two_names_stays_one(
    copied: Any, lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    program = sb.bind(Aliased(), {"one.temperature": "t"}, session=session)
    twin = copied(program)
    other.set_variable("t", 0.5)
    twin(question="why?")
    assert lm.requests[0]["temperature"] == 0.5
    assert twin.one is twin.same
    twin.same.config = {"temperature": 0.75}
    twin(question="why?")
    assert lm.requests[1]["temperature"] == 0.75
    assert sb.effective(twin)["one.temperature"].detached


@every_deep_way
@every_kind
@pytest.mark.parametrize("end", ["unbound", "collected"])
def test_a_copy_and_its_original_outlive_each_other(
    kind: Kind, copied: Any, end: str, lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    for kept, gone in ((0, 1), (1, 0)):
        program = kind.bound(session)
        pair = [program, copied(program)]
        del program
        if end == "unbound":
            sb.unbind(pair[gone])
        pair[gone] = None
        gc.collect()
        value = other.increment("t", 0.125)
        start = len(lm.requests)
        pair[kept](question="why?")
        assert {body["temperature"] for body in lm.requests[start:]} == {value}
        other.set_variable("t", 0.25)


@every_deep_way
def test_a_deep_copy_is_independent(copied: Any, lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.bind(Pair(), {"temperature": "t", "k": "tokens"}, session=session)
    twin = copied(program)
    sb.unbind(program)
    twin.k = 1
    assert twin(question="why?").k == 1
    assert program(question="why?").k == 3
    assert [body.get("temperature") for body in lm.requests] == [0.25, 0.25, None, None]
    assert type(program) is Pair
    assert type(program.draft) is dspy.Predict


def test_a_part_of_a_program_can_be_copied_and_called_alone(lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.bind(Pair(), {"temperature": "t"}, session=session)
    copy.deepcopy(program.polish)(question="why?", draft="d")
    assert lm.requests[0]["temperature"] == 0.25


def test_reset_copy_resets_plain_values_and_keeps_bindings(lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.bind(dspy.Predict("question -> answer"), {"temperature": "t"}, session=session)
    program.demos = [dspy.Example(question="2+2?", answer="four")]
    twin = program.reset_copy()
    assert (len(program.demos), len(twin.demos)) == (1, 0)
    twin(question="why?")
    assert "four" not in str(lm.requests[0]["messages"])
    assert lm.requests[0]["temperature"] == 0.25


def test_what_is_assigned_to_a_shallow_copy_stays_there(lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.bind(Pair(), {"temperature": "t", "k": "tokens"}, session=session)
    twin = copy.copy(program)
    twin.k = 1
    assert (twin(question="why?").k, program(question="why?").k) == (1, 111)
    assert [sb.effective(each)["k"].detached for each in (twin, program)] == [True, False]
    predictor = sb.bind(dspy.Predict("question -> answer"), {"temperature": "t"}, session=session)
    shallow = copy.copy(predictor)
    shallow.config = {"temperature": 0.75}
    assert [sb.effective(each)["temperature"].detached for each in (shallow, predictor)] == [True, False]
    lm.requests.clear()
    predictor(question="why?")
    shallow(question="why?")
    assert [body["temperature"] for body in lm.requests] == [0.25, 0.75]


def test_a_shallow_copy_shares_its_predictors_and_both_say_so(lm: RecordingLM, session: BlockingContext) -> None:
    program: Any = sb.bind(Pair(), {"temperature": "t", "k": "tokens"}, session=session)
    twin = copy.copy(program)
    twin.temperature = 0.75
    assert [sb.effective(each)["temperature"].detached for each in (program, twin)] == [True, True]
    assert [sb.effective(each)["k"].detached for each in (program, twin)] == [False, False]
    program(question="why?")
    assert {body["temperature"] for body in lm.requests} == {0.75}
    sb.unbind(program)
    assert (program.k, twin(question="why?").k) == (3, 111)
    assert (sb.bindings(program), set(sb.bindings(twin))) == ({}, {"temperature", "k"})


def test_a_shallow_copy_of_an_agent_keeps_what_it_says_of_tools(lm: RecordingLM, session: BlockingContext) -> None:
    lm.reply(as_agent)
    twin = copy.copy(sb.bind(agent(), {"instructions": "prompt"}, session=session))
    twin.instructions = "Answer like a poet."
    twin(question="why?")
    assert "poet" in str(lm.requests[0]["messages"])
    assert "population" in str(lm.requests[0]["messages"])


def test_a_copy_method_of_a_users_class_is_called(session: BlockingContext) -> None:
    class Own(Pair):
        def __copy__(self) -> Any:
            twin = type(self).__new__(type(self))
            twin.__dict__.update(self.__dict__, copied=True)
            return twin

    program = sb.bind(Own(), {"k": "tokens"}, session=session)
    twin: Any = copy.copy(program)
    assert twin.copied
    twin.k = 1
    assert [sb.effective(each)["k"].detached for each in (program, twin)] == [False, True]


def test_a_variable_that_nobody_reads_any_more_may_go(lm: RecordingLM, session: BlockingContext) -> None:
    program: Any = sb.bind(Pair(), {"temperature": "t", "k": "tokens"}, session=session)
    twin = copy.copy(program)
    twin.temperature, program.k = 0.75, 5
    session.delete_variable("t")
    assert program(question="why?").k == 5
    session.delete_variable("tokens")
    program(question="why?")
    with pytest.raises(VariableNotFoundError):
        twin(question="why?")


class Quiet(Pair):
    """Makes no request: DSPy's trace, and whatever an LM client keeps of a context, would hold its predictors."""

    def forward(self, question: str) -> Any:
        return dspy.Prediction(k=self.k)


@every_way
def test_names_are_let_go_with_the_last_copy(copied: Any, session: BlockingContext, other: BlockingContext) -> None:
    mirror = session_of(session).mirror
    keeper = sb.bind(Quiet(), {"k": "tokens"}, session=session)
    program = sb.bind(Quiet(), {"temperature": "t", "draft.instructions": "prompt"}, session=session)
    twin = copied(program)
    del program
    gc.collect()
    other.set_variable("tokens", 5)
    keeper(question="why?")
    assert mirror.tracked == {"tokens", "t", "prompt"}
    twin(question="why?")
    del twin
    gc.collect()
    other.set_variable("tokens", 6)
    keeper(question="why?")
    assert mirror.tracked == {"tokens"}


def test_copying_over_and_over_tracks_nothing_twice(session: BlockingContext) -> None:
    program = sb.bind(Quiet(), {"temperature": "t", "k": "tokens"}, session=session)
    for _ in range(50):
        copy.copy(program)
        assert program.deepcopy()(question="why?").k == 111
    del program
    gc.collect()
    # Binding and unbinding let go of what has died.
    sb.unbind(Pair())
    assert session_of(session).mirror.tracked == set()


def test_copying_says_nothing(session: BlockingContext, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for copied in COPIED.values():
            copied(sb.bind(Pair(), {"temperature": "t", "k": "tokens"}, session=session))
    assert caplog.records == []
