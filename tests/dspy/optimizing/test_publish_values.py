"""What of an optimizer's result variables carry, and what is refused because they do not."""

from __future__ import annotations

import datetime
import decimal
import random
import secrets
from collections.abc import Callable
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from tests.dspy.support.optimized import BINDINGS, DEMO, FOUND, describe, improve, instruct, values
from tests.dspy.support.programs import Pair, agent, as_agent
from tests.support.recording_lm import RecordingLM


@pytest.fixture
def session(session: BlockingContext) -> BlockingContext:
    """The session with demos."""
    session.register_variable("demos", "list", [DEMO])
    return session


@pytest.fixture
def program(lm: RecordingLM, session: BlockingContext) -> Any:
    """A live program."""
    return sb.bind(Pair(), BINDINGS, session=session)


def add_demo(optimized: Any) -> None:
    optimized.polish.predict.demos = [dspy.Example(question="q", draft="d", answer="a")]


def assign(name: str, value: Any) -> Callable[[Any], None]:
    return lambda optimized: setattr(optimized, name, value)


CHANGES: dict[str, Callable[[Any], None]] = {
    "polish.predict.demos": add_demo,
    "polish.predict.instructions": lambda optimized: instruct(optimized.polish.predict, "Polish it."),
    "polish.predict.top_p": lambda optimized: optimized.polish.predict.update_config(top_p=0.5),
    "draft.fields['draft'].desc": describe,
    "draft.model": lambda optimized: setattr(optimized.draft, "lm", dspy.settings.lm.copy(model="openai/tuned")),
    "limit": assign("limit", 4),
    "demos": assign("demos", []),
}


class Limited(Pair):
    """A program with more attributes, one with a name that DSPy uses elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.limit = 3
        self.demos = ["not for a predictor"]
        self.retriever = object()


@pytest.mark.parametrize("path", CHANGES)
def test_half_a_result_is_refused_unless_asked_for(path: str, lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.bind(Limited(), BINDINGS, session=session)
    optimized = sb.freeze(program)
    instruct(optimized.draft, "Answer like a poet.")
    CHANGES[path](optimized)
    with pytest.raises(sb.BindingError) as caught:
        sb.publish(program, optimized)
    assert caught.value.facts["unbound"] == path
    assert session.get_variable("prompt") == "Answer like a pirate."
    published = sb.publish(program, optimized, partial=True)
    assert published.unbound == (path,)
    assert published.written == {"draft.instructions": "prompt"}
    assert session.get_variable("prompt") == "Answer like a poet."


def test_what_was_refused_can_be_bound_by_the_path_that_was_named(
    lm: RecordingLM, session: BlockingContext, other: BlockingContext
) -> None:
    session.register_variable(
        "strategy", "module", "ChainOfThought", constraints={"modules": ["Predict", "ChainOfThought"]}
    )
    program = sb.VariableModule("strategy", "question -> answer", session=session)
    optimized = sb.freeze(program)
    instruct(optimized.candidates["ChainOfThought"].predict, "Think like a poet.")
    with pytest.raises(sb.BindingError) as caught:
        sb.publish(program, optimized)
    plain = "Given the fields `question`, produce the fields `answer`."
    session.register_variable("thought", "string", plain)
    sb.bind(program, {caught.value.facts["unbound"]: "thought"}, session=session)
    sb.publish(program, optimized)
    program(question="why?")
    assert "Think like a poet." in str(lm.requests[0])


def test_what_no_adapter_sends_is_reported_and_not_refused(program: Any, session: BlockingContext) -> None:
    optimized = sb.freeze(program)
    optimized.draft.signature = optimized.draft.signature.with_updated_fields("draft", prefix="The draft:")
    assert sb.publish(program, optimized).unbound == ("draft.fields['draft'].prefix",)


def test_loose_ends_of_an_optimizer_do_not_count(program: Any, session: BlockingContext) -> None:
    optimized = sb.freeze(program)
    optimized(question="why?")
    optimized._compiled = True
    optimized.candidate_programs = [{"score": 1.0, "program": sb.freeze(program)}]
    optimized.trial_logs = {1: "x"}
    optimized.draft.traces, optimized.draft.train = [1], [2]
    optimized.draft.stage = secrets.token_hex(8)
    optimized.draft.lm = dspy.settings.lm.copy(rollout_id=3)
    published = sb.publish(program, optimized)
    assert (published.written, published.unbound) == ({}, ())


def test_an_lm_that_a_reset_took_away_is_no_result(program: Any, session: BlockingContext) -> None:
    optimized = sb.freeze(program).reset_copy()
    assert optimized.polish.predict.lm is None
    published = sb.publish(program, optimized)
    assert published.written == {"draft.demos": "demos"}
    assert session.get_variable("demos") == []


def test_two_values_for_one_variable_are_refused(program: Any, session: BlockingContext) -> None:
    optimized = sb.freeze(program)
    optimized.draft.config = {"temperature": 0.75}
    with pytest.raises(sb.BindingError) as caught:
        sb.publish(program, optimized, partial=True)
    assert caught.value.facts == {"variable": "t", "paths": "draft.temperature,polish.predict.temperature"}
    session.register_variable("t2", "float", 0.25)
    sb.bind(program, {"polish.temperature": "t2"}, session=session)
    assert sb.publish(program, optimized).written == {"temperature": "t"}
    assert (session.get_variable("t"), session.get_variable("t2")) == (0.75, 0.25)


def test_no_message_shows_a_secret(lm: RecordingLM, session: BlockingContext) -> None:
    session.register_variable("hidden", "string", "the old secret", secret=True)
    program = sb.bind(Pair(), {"instructions": "hidden"}, session=session)
    optimized = sb.freeze(program)
    assert optimized.draft.signature.instructions == "the old secret"
    instruct(optimized.draft, "the new secret")
    with pytest.raises(sb.BindingError) as caught:
        sb.publish(program, optimized)
    assert "secret" not in f"{caught.value}{caught.value.facts}"
    instruct(optimized.polish.predict, "the new secret")
    published = sb.publish(program, optimized)
    assert published.written == {"instructions": "hidden"}
    assert "secret" not in f"{published}{published!r}"
    assert session.get_variable("hidden") == "the new secret"


def test_the_task_of_an_agent_is_published_without_what_dspy_wrote_around_it(
    lm: RecordingLM, session: BlockingContext
) -> None:
    lm.reply(as_agent)
    program = sb.bind(agent(), {"instructions": "prompt"}, session=session)
    optimized = sb.freeze(program)
    prompt = optimized.react.signature.instructions
    instruct(optimized.react, prompt.replace("Answer like a pirate.", "Look twice."))
    instruct(optimized.extract.predict, "Look twice.")
    assert sb.publish(program, optimized).written == {"instructions": "prompt"}
    assert session.get_variable("prompt") == "Look twice."
    program(question="how many?")
    assert "Look twice.\n\nYou are an Agent." in "".join(
        line.removeprefix("        ")
        for line in str(lm.requests[0]["messages"][0]["content"]).splitlines(keepends=True)
    )


def test_a_prompt_that_an_optimizer_wrote_anew_is_no_task(lm: RecordingLM, session: BlockingContext) -> None:
    program = sb.bind(agent(), {"instructions": "prompt"}, session=session)
    optimized = sb.freeze(program)
    instruct(optimized.react, "Just guess.")
    with pytest.raises(sb.BindingError) as caught:
        sb.publish(program, optimized)
    assert caught.value.facts["unbound"] == "react.instructions"
    session.register_variable("whole", "string", "anything")
    session.set_variable("whole", sb.freeze(program).react.signature.instructions)
    sb.bind(program, {"react.instructions": "whole"}, session=session)
    assert sb.publish(program, optimized).written == {"react.instructions": "whole"}
    assert session.get_variable("whole") == "Just guess."


def test_demos_that_dspy_would_not_send_are_not_published(
    program: Any, lm: RecordingLM, session: BlockingContext
) -> None:
    optimized = sb.freeze(program)
    optimized.draft.demos = [dspy.Example(**FOUND), dspy.Example(question="no draft"), {"draft": "no question"}]
    sb.publish(program, optimized)
    assert session.get_variable("demos") == [FOUND]
    program(question="why?")
    assert "3+3?" in str(lm.requests[0])


def test_a_demo_that_no_variable_can_hold_is_refused(program: Any, session: BlockingContext) -> None:
    optimized = improve(sb.freeze(program))
    optimized.draft.demos = [dspy.Example(question=dspy.Tool(agent), draft="new year")]
    before = values(session)
    with pytest.raises(sb.EnvelopeError):
        sb.publish(program, optimized)
    assert values(session) == before


def test_a_demo_of_other_than_plain_values_is_what_it_was_at_the_next_call(
    program: Any, lm: RecordingLM, session: BlockingContext
) -> None:
    optimized = improve(sb.freeze(program))
    found = dspy.Example(question=datetime.date(2026, 1, 1), draft=decimal.Decimal("1.50"))
    optimized.draft.demos = [found]
    sb.publish(program, optimized)
    program(question="why?")
    demos = [message["content"] for message in lm.requests[0]["messages"]]
    assert "2026-01-01" in str(demos)
    assert "1.50" in str(demos)
    with sb.snapshot(session):
        assert program.draft.demos == [found]
    assert session.get_variable("demos")[0]["draft"] == {"$dspy": "Decimal", "value": "1.50"}


def test_demos_of_several_predictors_go_into_their_one_map(lm: RecordingLM, session: BlockingContext) -> None:
    kept = {"question": "q", "draft": "d", "reasoning": "r", "answer": "a"}
    session.register_variable("all", "map", {"polish.predict": [kept]})
    program = sb.bind(Pair(), {"demos": "all", "temperature": "t"}, session=session)
    optimized = sb.freeze(program)
    optimized.draft.demos = [dspy.Example(**FOUND).with_inputs("question")]
    published = sb.publish(program, optimized)
    assert published.written == {"demos": "all"}
    assert session.get_variable("all") == {"polish.predict": [kept], "draft": [FOUND]}


def test_descriptions_are_published_and_tools_and_adapters_stay(
    lm: RecordingLM, session: BlockingContext, caplog: pytest.LogCaptureFixture
) -> None:
    session.register_variable("d", "string", "in one word")
    session.register_variable("toolset", "list", ["population"])
    session.register_variable("how", "string", "json")
    wanted = {"extract.predict.fields['answer'].desc": "d", "tools": "toolset", "adapter": "how"}
    program = sb.bind(agent(), wanted, session=session, tools=[secrets.token_hex])
    frozen = sb.freeze(program)
    assert "JSONAdapter" in caplog.text
    assert set(frozen.tools) == {"population", "finish"}
    inner = frozen.extract.predict
    assert inner.signature.fields["answer"].json_schema_extra["desc"] == "in one word"
    inner.signature = inner.signature.with_updated_fields("answer", desc="in two words")
    published = sb.publish(program, frozen)
    assert published.written == {"extract.predict.fields['answer'].desc": "d"}
    assert session.get_variable("d") == "in two words"


@pytest.mark.parametrize(("was", "becomes"), [("gpt-4o", "gpt-4.1"), ("openai/gpt-4o", "openai/gpt-4.1")])
def test_a_model_is_written_as_it_was_written(
    was: str, becomes: str, lm: RecordingLM, session: BlockingContext
) -> None:
    session.set_variable("model", was)
    program = sb.bind(Pair(), {"model": "model"}, session=session)
    optimized = sb.freeze(program)
    optimized.set_lm(optimized.get_lm().copy(model="openai/gpt-4.1"))
    sb.publish(program, optimized)
    assert session.get_variable("model") == becomes


@pytest.mark.parametrize("other_lm", [{"model": "anthropic/claude-3"}, {"temperature": 0.5}])
def test_an_lm_that_no_value_gives_is_not_carried_by_a_model(
    other_lm: dict[str, Any], lm: RecordingLM, session: BlockingContext
) -> None:
    program = sb.bind(dspy.Predict("question -> answer"), {"model": "model"}, session=session)
    optimized = sb.freeze(program)
    optimized.set_lm(optimized.get_lm().copy(**other_lm))
    with pytest.raises(sb.BindingError) as caught:
        sb.publish(program, optimized)
    assert caught.value.facts["unbound"] == "model"


def test_an_lm_out_of_a_table_is_written_by_its_name(lm: RecordingLM, session: BlockingContext) -> None:
    session.set_variable("model", "fast")
    table = {"fast": lm.lm("openai/small"), "good": lm.lm("openai/large", api_key="good-key")}
    program = sb.bind(Pair(), {"model": "model"}, session=session, models=table)
    optimized = sb.freeze(program)
    optimized.set_lm(table["good"].copy(rollout_id=2))
    optimized = optimized.deepcopy()
    assert sb.publish(program, optimized).written == {"model": "model"}
    assert session.get_variable("model") == "good"
    optimized.set_lm(lm.lm("openai/huge"))
    with pytest.raises(sb.BindingError) as caught:
        sb.publish(program, optimized)
    assert caught.value.facts["unbound"] == "draft.model,polish.predict.model"


def test_demos_of_many_kinds_come_back_as_they_were_found(
    program: Any, lm: RecordingLM, session: BlockingContext
) -> None:
    found: list[dict[str, Any]] = [
        {"question": ["a", "b"], "draft": {"deep": [1, 2.5, None, True]}, "count": 2**53 + 1},
        {"question": "ü", "draft": "\n", "blob": random.randbytes(8)},
    ]
    optimized = sb.freeze(program)
    optimized.draft.demos = [dspy.Example(**demo) for demo in found]
    sb.publish(program, optimized)
    again = sb.freeze(program)
    assert [dict(demo.items()) for demo in again.draft.demos] == found
    assert sb.publish(program, again).written == {}
