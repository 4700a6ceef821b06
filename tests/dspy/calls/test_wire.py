"""What is bound reaches the LM request, for every kind of module, sync and async."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from tests.dspy.support.programs import AforwardOnly, ForwardOnly, Pair, agent, as_agent, prompt_of, sent
from tests.support.recording_lm import RecordingLM

EVERYTHING = {"temperature": "t", "max_tokens": "tokens", "instructions": "prompt", "model": "model"}

Call = Callable[[Any], Any]


@pytest.fixture(params=["call", "acall"])
def call(request: pytest.FixtureRequest) -> Call:
    if request.param == "call":
        return lambda program: program(question="why?")
    return lambda program: asyncio.run(program.acall(question="why?"))


@pytest.mark.parametrize(
    ("make", "requests"),
    [
        (lambda: dspy.Predict("question -> answer"), 1),
        (lambda: dspy.ChainOfThought("question -> answer"), 1),
        (agent, 3),
        (Pair, 2),
        (ForwardOnly, 1),
    ],
    ids=["Predict", "ChainOfThought", "ReAct", "two predictors", "forward only"],
)
def test_every_request_of_a_bound_program_carries_the_variables_of_the_moment(
    make: Callable[[], Any],
    requests: int,
    call: Call,
    lm: RecordingLM,
    session: BlockingContext,
) -> None:
    if make is agent:
        lm.reply(as_agent)
    program = sb.bind(make(), EVERYTHING, session=session)
    call(program)
    first = lm.requests[:]
    session.set_variables({"t": 1.5, "tokens": 222, "prompt": "Answer like a judge.", "model": "gpt-4.1"})
    call(program)
    second = lm.requests[len(first) :]
    assert len(first) == len(second) == requests
    for body in first:
        assert sent(body) == {"model": "gpt-4o", "temperature": 0.25, "max_completion_tokens": 111}
        assert "Answer like a pirate." in prompt_of(body)
    for body in second:
        assert sent(body) == {"model": "gpt-4.1", "temperature": 1.5, "max_completion_tokens": 222}
        assert "Answer like a judge." in prompt_of(body)
        assert "pirate" not in prompt_of(body)


async def test_a_module_with_only_aforward_is_bound_too(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    program = sb.bind(AforwardOnly(), {"ask.temperature": "t"}, session=session)
    other.set_variable("t", 0.75)
    await program.acall(question="why?")
    assert lm.requests[0]["temperature"] == 0.75


def test_an_agent_keeps_its_tools_when_its_task_changes(lm: RecordingLM, session: BlockingContext) -> None:
    lm.reply(as_agent)
    program = sb.bind(agent(), {"instructions": "prompt"}, session=session)
    answer = program(question="how many?")
    assert answer.trajectory["observation_0"] == "Rome: 42"
    assert "population" in prompt_of(lm.requests[0])
    assert "You are an Agent." in prompt_of(lm.requests[0])


def test_an_integer_variable_becomes_a_float_temperature(lm: RecordingLM, session: BlockingContext) -> None:
    session.register_variable("whole", "integer", 1)
    sb.bind(program := dspy.Predict("question -> answer"), {"temperature": "whole"}, session=session)
    program(question="why?")
    assert isinstance(lm.requests[0]["temperature"], float)


def test_demos_are_written_into_the_prompt(lm: RecordingLM, session: BlockingContext) -> None:
    session.register_variable("demos", "list", [{"question": "2+2?", "answer": "four"}])
    program = sb.bind(dspy.Predict("question -> answer"), {"demos": "demos"}, session=session)
    program(question="why?")
    assert "four" in str(lm.requests[0]["messages"])
    session.set_variable("demos", [{"question": "3+3?", "answer": "six"}])
    program(question="why?")
    assert "six" in str(lm.requests[1]["messages"])
    assert "four" not in str(lm.requests[1]["messages"])
    assert program.demos == []


def test_a_null_leaves_the_parameter_out_even_of_the_constructors(lm: RecordingLM, session: BlockingContext) -> None:
    session.register_variable("maybe", "float", None, nullable=True)
    program = sb.bind(dspy.Predict("question -> answer", temperature=0.5), {"temperature": "maybe"}, session=session)
    program(question="why?")
    assert "temperature" not in lm.requests[0]


def test_a_call_wins_over_the_variable_and_the_variable_over_the_constructor(
    lm: RecordingLM, session: BlockingContext
) -> None:
    program = sb.bind(
        dspy.Predict("question -> answer", temperature=0.9, max_tokens=9), {"temperature": "t"}, session=session
    )
    program(question="why?")
    program(question="why?", config={"temperature": 0.1})
    assert [(body["temperature"], body["max_completion_tokens"]) for body in lm.requests] == [(0.25, 9), (0.1, 9)]


def test_the_longer_path_wins_until_it_is_unbound(lm: RecordingLM, session: BlockingContext) -> None:
    session.register_variable("cold", "float", 0.0)
    program = sb.bind(Pair(), {"polish.temperature": "cold", "temperature": "t"}, session=session)
    program(question="why?")
    sb.unbind(program, "polish.temperature")
    program(question="why?")
    assert [body["temperature"] for body in lm.requests] == [0.25, 0.0, 0.25, 0.25]


def test_indexed_paths_and_plain_attributes_are_bound(lm: RecordingLM, session: BlockingContext) -> None:
    class Many(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.steps = [dspy.Predict("question -> answer"), dspy.Predict("question -> answer")]
            self.choices = {"x": dspy.Predict("question -> answer")}
            self.k = 0

        def forward(self, question: str) -> Any:
            for step in (*self.steps, *self.choices.values()):
                step(question=question)
            return dspy.Prediction(k=self.k)

    program = sb.bind(
        Many(),
        {"steps[1].temperature": "t", "choices['x'].max_tokens": "tokens", "k": "tokens"},
        session=session,
    )
    answer = program(question="why?")
    assert answer.k == 111
    assert [sent(body) for body in lm.requests] == [
        {"model": "gpt-4o-mini"},
        {"model": "gpt-4o-mini", "temperature": 0.25},
        {"model": "gpt-4o-mini", "max_completion_tokens": 111},
    ]


def test_matching_variables_bind_without_configuration(lm: RecordingLM, session: BlockingContext) -> None:
    session.register_variable("temperature", "float", 0.125)
    session.register_variable("polish.max_tokens", "integer", 77)
    session.register_variable("k", "integer", 9)
    session.register_variable("api_key", "string", "nobody binds this")
    program = sb.bind_matching(Pair(), session=session)
    assert sb.bindings(program) == {name: name for name in ("k", "model", "polish.max_tokens", "temperature")}
    assert program(question="why?").k == 9
    assert sent(lm.requests[0]) == {"model": "gpt-4o", "temperature": 0.125}
    assert sent(lm.requests[1]) == {"model": "gpt-4o", "temperature": 0.125, "max_completion_tokens": 77}


async def test_the_async_twins_bind_alike(lm: RecordingLM, session: BlockingContext) -> None:
    session.register_variable("temperature", "float", 0.5)
    bound = await sb.bind_async(dspy.Predict("question -> answer"), {"max_tokens": "tokens"}, session=session)
    matching = await sb.bind_matching_async(dspy.Predict("question -> answer"), session=session)
    await bound.acall(question="why?")
    await matching.acall(question="why?")
    assert [sent(body) for body in lm.requests] == [
        {"model": "gpt-4o-mini", "max_completion_tokens": 111},
        {"model": "gpt-4o", "temperature": 0.5},
    ]


def test_an_answer_knows_the_revision_it_was_made_with(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    program = sb.bind(Pair(), {"temperature": "t"}, session=session)
    written = other.set_variable("t", 0.5)
    first, again = program(question="why?"), program(question="why?")
    assert sb.revision_of(first) == sb.revision_of(again) == written.revision
    assert sb.revision_of(dspy.Prediction(answer="made by hand")) is None
    assert sb.revision_of(dspy.Predict("question -> answer")(question="unbound")) is None


def test_a_long_agent_follows_within_a_call_if_told_so(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        other.increment("t", 0.25)
        return as_agent(body)

    lm.reply(answer)
    sb.bind(program := agent(), {"temperature": "t"}, session=session, refresh="step")
    program(question="how many?")
    assert [body["temperature"] for body in lm.requests] == [0.25, 0.5, 0.75]
    sb.bind(program, {"temperature": "t"}, session=session)
    program(question="how many?")
    assert [body["temperature"] for body in lm.requests[3:]] == [1.0, 1.0, 1.0]


def test_one_snapshot_may_hold_for_several_programs(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    one = sb.bind(dspy.Predict("question -> answer"), {"temperature": "t"}, session=session)
    two = sb.bind(dspy.Predict("question -> answer"), {"temperature": "t"}, session=session, refresh="step")
    with sb.snapshot(session):
        one(question="why?")
        other.set_variable("t", 0.5)
        two(question="why?")
    two(question="why?")
    assert [body["temperature"] for body in lm.requests] == [0.25, 0.25, 0.5]
