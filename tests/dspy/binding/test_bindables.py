"""Everything that can be bound, seen in the requests: alone and inside a module, sync and async, before and after."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable, Iterator
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from snakepit_bridge.dspy_integration.targets.generation import COMMON, OTHERS
from tests.dspy.support.programs import Pair, agent, as_agent, prompt_of
from tests.support.recording_lm import RecordingLM

Call = Callable[[Any], Any]

SPECIAL: dict[str, tuple[str, Any, Any]] = {
    "stop": ("list", ["END"], ["STOP", "."]),
    "logit_bias": ("map", {"50": 1}, {"50": -1}),
    "reasoning_effort": ("string", "low", "high"),
    "verbosity": ("string", "low", "high"),
    "seed": ("integer", 2**60, 7),
    "max_tokens": ("integer", 111, 222),
    "max_completion_tokens": ("integer", 111, 222),
}
AS_SENT = {"max_tokens": "max_completion_tokens"}
# LiteLLM sends these to models that reason only.
OF_REASONERS = {"reasoning_effort", "verbosity"}
# What DSPy's client for OpenAI keeps to itself, answers by more requests, or does not send to this provider.
NOT_ON_THIS_WIRE = {"n", "rollout_id", "cache", "parallel_tool_calls", "response_format", "thinking", "top_k"}


def values_of(name: str) -> tuple[str, Any, Any]:
    if name in SPECIAL:
        return SPECIAL[name]
    fit = {**COMMON, **OTHERS}[name]
    if "float" in fit.types:
        return "float", 0.25, 0.75
    if "integer" in fit.types:
        return "integer", 1, 2
    if "boolean" in fit.types:
        return "boolean", True, False
    return ("map", {"a": 1}, {"a": 2}) if fit.types == {"map"} else ("string", "one", "two")


@pytest.fixture(params=["call", "acall"])
def call(request: pytest.FixtureRequest) -> Call:
    if request.param == "call":
        return lambda program: program(question="why?")
    return lambda program: asyncio.run(program.acall(question="why?"))


# DSPy's own client for OpenAI knows all of the common ones but this.
BY_LITELLM = {"top_logprobs"}


@pytest.mark.parametrize("name", sorted(set(COMMON) - NOT_ON_THIS_WIRE - BY_LITELLM))
def test_every_generation_parameter_follows_its_variable_onto_the_wire(
    name: str, call: Call, lm: RecordingLM, blocking: BlockingContext
) -> None:
    check_on_the_wire(name, name, call, lm, blocking)


@pytest.fixture
def litellm_left_behind() -> Iterator[None]:
    """LiteLLM, which DSPy asks where parameters are unusual, leaves event loops open: they are to go here."""
    yield
    gc.collect()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("litellm_left_behind")
def test_the_parameters_of_particular_providers_follow_too(
    call: Call, lm: RecordingLM, blocking: BlockingContext
) -> None:
    for name in sorted({*OTHERS, *BY_LITELLM} - NOT_ON_THIS_WIRE):
        check_on_the_wire(name, f"lm.{name}", call, lm, blocking)


def check_on_the_wire(name: str, said: str, call: Call, lm: RecordingLM, blocking: BlockingContext) -> None:
    kind, before, after = values_of(name)
    blocking.register_variable(name, kind, before)
    alone = sb.bind(dspy.Predict("question -> answer"), {said: name}, session=blocking)
    inside = sb.bind(Pair(), {f"polish.{said}": name}, session=blocking)
    if name in OF_REASONERS:
        alone.set_lm(lm.lm("openai/gpt-5-mini"))
        inside.set_lm(lm.lm("openai/gpt-5-mini"))
    start = len(lm.requests)
    for value in (before, after):
        blocking.set_variable(name, value)
        call(alone)
        call(inside)
    sent = [json.dumps(body.get(AS_SENT.get(name, name))) for body in lm.requests[start:]]
    one, two, nothing = json.dumps(before), json.dumps(after), json.dumps(None)
    if name == "logprobs":
        # A false asks for nothing, and DSPy's own client does not send it.
        sent = [nothing if value == two else value for value in sent]
        two = nothing
    assert sent == [one, nothing, one, two, nothing, two], name


def test_n_follows_its_variable_as_the_number_of_completions(lm: RecordingLM, blocking: BlockingContext) -> None:
    blocking.register_variable("n", "integer", 3)
    program = sb.bind(dspy.Predict("question -> answer"), {"n": "n"}, session=blocking)
    assert len(program(question="why?").completions) == 3
    blocking.set_variable("n", 1)
    assert len(program(question="why?").completions) == 1


def test_a_changed_rollout_id_asks_again_where_the_cache_would_answer(
    lm: RecordingLM, blocking: BlockingContext
) -> None:
    blocking.register_variable("r", "integer", 1)
    program = dspy.Predict("question -> answer")
    program.set_lm(lm.lm(cache=True, temperature=1.0))
    sb.bind(program, {"rollout_id": "r"}, session=blocking)
    answers = []
    for rollout in (1, 1, 2, 1):
        blocking.set_variable("r", rollout)
        answers.append(program(question=f"why in {blocking.session_id}?").answer)
    assert answers == ["answer 1", "answer 1", "answer 2", "answer 1"]


@pytest.mark.parametrize("path", ["lm", "model"])
def test_an_lm_is_chosen_by_its_name(path: str, call: Call, lm: RecordingLM, blocking: BlockingContext) -> None:
    blocking.register_variable("which", "string", "fast")
    models = {"fast": lm.lm("openai/gpt-4o-mini"), "good": lm.lm("openai/gpt-4.1", temperature=0.5)}
    alone = sb.bind(dspy.Predict("question -> answer"), {path: "which"}, session=blocking, models=models)
    inside = sb.bind(Pair(), {path: "which"}, session=blocking, models=models)
    call(alone)
    blocking.set_variable("which", "good")
    call(alone)
    call(inside)
    assert [body["model"] for body in lm.requests] == ["gpt-4o-mini", "gpt-4.1", "gpt-4.1", "gpt-4.1"]
    assert [body.get("temperature") for body in lm.requests] == [None, 0.5, 0.5, 0.5]
    blocking.set_variable("which", "best")
    with pytest.raises(sb.ModelNotAllowedError):
        call(alone)


def test_an_attribute_that_holds_an_lm_follows_a_name(lm: RecordingLM, blocking: BlockingContext) -> None:
    class Own(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.judge = lm.lm("openai/gpt-4o")
            self.ask = dspy.Predict("question -> answer")

        def forward(self, question: str) -> Any:
            return self.ask(question=question, lm=self.judge)

    blocking.register_variable("which", "string", "good")
    program = sb.bind(Own(), {"judge": "which"}, session=blocking, models={"good": lm.lm("openai/gpt-4.1")})
    program(question="why?")
    assert lm.requests[0]["model"] == "gpt-4.1"
    with pytest.raises(sb.BindingError):
        sb.bind(Own(), {"judge": "which"}, session=blocking)


@pytest.mark.parametrize("where", ["", "polish."])
def test_a_field_description_follows_its_variable(
    where: str, call: Call, lm: RecordingLM, blocking: BlockingContext
) -> None:
    blocking.register_variable("d", "string", "in one word")
    program = Pair() if where else dspy.ChainOfThought("question -> answer")
    sb.bind(program, {f"{where}fields['answer'].desc": "d"}, session=blocking)
    call(program)
    blocking.set_variable("d", "in ten words")
    call(program)
    texts = [prompt_of(body) for body in lm.requests if "`answer`" in prompt_of(body)]
    assert ["in one word" in text for text in texts] == [True, False]
    assert ["in ten words" in text for text in texts] == [False, True]
    assert sb.bindings(program) == {f"{where}fields['answer'].desc": "d"}


def test_a_field_is_described_wherever_it_is_and_together_with_instructions(
    lm: RecordingLM, session: BlockingContext
) -> None:
    session.register_variable("d", "string", "a question of children")
    program = sb.bind(Pair(), {"fields['question'].desc": "d", "instructions": "prompt"}, session=session)
    program(question="why?")
    for body in lm.requests:
        assert "a question of children" in prompt_of(body)
        assert "Answer like a pirate." in prompt_of(body)
    assert program.draft.signature.fields["question"].json_schema_extra["desc"] == "${question}"
    program.draft.signature = program.draft.signature.with_updated_fields("question", desc="assigned")
    program(question="why?")
    assert "assigned" in prompt_of(lm.requests[2])
    assert "a question of children" in prompt_of(lm.requests[3])


@pytest.mark.parametrize("path", ["fields['anwser'].desc", "fields['answer'].prefix", "draft.fields['answer'].desc"])
def test_a_field_that_is_not_there_is_refused(path: str, session: BlockingContext) -> None:
    with pytest.raises(sb.BindingError):
        sb.bind(Pair(), {path: "prompt"}, session=session)


def test_an_adapter_follows_its_name(call: Call, lm: RecordingLM, session: BlockingContext) -> None:
    session.register_variable("how", "string", "json", nullable=True)
    program = sb.bind(Pair(), {"adapter": "how"}, session=session)
    for name in ("json", "ChatAdapter", None, "XML"):
        session.set_variable("how", name)
        if name == "XML":
            lm.reply("<draft>d</draft><reasoning>r</reasoning><answer>a</answer>")
        call(program)
    asked = [str(body["messages"][-1]["content"]) for body in lm.requests]
    assert ["JSON object" in text for text in asked] == [True] * 2 + [False] * 6
    assert ["[[ ## " in text for text in asked] == [True, True] + [True] * 4 + [False] * 2
    session.set_variable("how", "yaml")
    with pytest.raises(sb.BindingError):
        call(program)
    with pytest.raises(sb.BindingError):
        program.adapter = dspy.JSONAdapter()


def test_a_nearer_adapter_wins_and_one_may_be_given(lm: RecordingLM, session: BlockingContext) -> None:
    class Loud(dspy.ChatAdapter):
        def format_task_description(self, signature: Any) -> str:
            return "LOUD"

    session.register_variable("outer", "string", "json")
    session.register_variable("inner", "string", "loud")
    program = sb.bind(
        Pair(), {"adapter": "outer", "draft.adapter": "inner"}, session=session,
        adapters={"json": dspy.JSONAdapter(), "loud": Loud()},
    )  # fmt: skip
    program(question="why?")
    assert ["LOUD" in prompt_of(body) for body in lm.requests] == [True, False]
    assert ["JSON object" in str(body["messages"][-1]["content"]) for body in lm.requests] == [False, True]
    with pytest.raises(sb.BindingError):
        sb.bind(Pair(), {"adapter": "outer"}, session=session, adapters={"json": "json"})


def test_an_adapter_inside_refine_has_to_stand_on_it(lm: RecordingLM, session: BlockingContext) -> None:
    session.register_variable("how", "string", "json")
    refine = dspy.Refine(dspy.Predict("question -> answer"), N=2, reward_fn=lambda *_: 1.0, threshold=1.0)
    with pytest.raises(sb.BindingError):
        sb.bind(refine, {"module.adapter": "how"}, session=session)
    sb.bind(refine, {"adapter": "how"}, session=session)(question="why?")
    assert "JSON object" in str(lm.requests[0]["messages"][-1]["content"])


def test_demos_of_several_predictors_come_from_one_map(call: Call, lm: RecordingLM, session: BlockingContext) -> None:
    session.register_variable("demos", "map", {"draft": [{"question": "two?", "draft": "TWO"}]})
    program = sb.bind(Pair(), {"demos": "demos"}, session=session)
    call(program)
    session.set_variable("demos", {
        "draft": [], "polish.predict": [{"question": "q", "draft": "d", "reasoning": "r", "answer": "FOUR"}]
    })  # fmt: skip
    call(program)
    texts = [json.dumps(body["messages"]) for body in lm.requests]
    assert ["TWO" in text for text in texts] == [True, False, False, False]
    assert ["FOUR" in text for text in texts] == [False, False, False, True]
    refused: list[Any] = [{"polish": []}, {"draft": [{"question": "no output"}]}, {"draft": "text"}]
    for bad in refused:
        session.set_variable("demos", bad)
        with pytest.raises(sb.BindingError):
            call(program)
    assert len(lm.requests) == 4


@pytest.mark.parametrize("path", ["max_iters", "max_iterations"])
def test_an_agents_number_of_steps_follows_under_either_name(
    path: str, call: Call, lm: RecordingLM, session: BlockingContext
) -> None:
    lm.reply(as_agent)
    session.register_variable("steps", "integer", 1)
    program = sb.bind(agent(), {path: "steps"}, session=session)
    call(program)
    assert len(lm.requests) == 2
    session.set_variable("steps", 5)
    call(program)
    assert len(lm.requests) == 2 + 3
    session.set_variable("steps", 0)
    with pytest.raises(sb.BindingError):
        call(program)


@pytest.mark.parametrize("cls", [dspy.BestOfN, dspy.Refine])
def test_the_number_of_attempts_and_the_threshold_follow(
    cls: Any, call: Call, lm: RecordingLM, session: BlockingContext
) -> None:
    lm.reply(lambda body: {"answer": "a", "discussion": "d", "advice": {"self": "none"}})
    session.register_variable("attempts", "integer", 3)
    session.register_variable("enough", "float", 2.0)
    program = cls(dspy.Predict("question -> answer"), N=9, reward_fn=lambda *_: 1.0, threshold=0.0)
    sb.bind(program, {"N": "attempts", "threshold": "enough", "top_p": "t"}, session=session)
    call(program)
    attempts = [body for body in lm.requests if "advice" not in str(body)]
    assert len(attempts) == 3
    assert {body["top_p"] for body in attempts} == {0.25}
    assert {body["temperature"] for body in attempts} == {1.0}
    session.set_variable("enough", 1.0)
    call(program)
    assert len([body for body in lm.requests if "advice" not in str(body)]) == 4


@pytest.mark.parametrize("field", ["config", "lm", "demos"])
def test_an_input_that_dspy_takes_for_itself_is_refused(field: str, session: BlockingContext) -> None:
    with pytest.raises(sb.BindingError) as refused:
        sb.bind(dspy.ChainOfThought(f"question, {field} -> answer"), {"temperature": "t"}, session=session)
    assert refused.value.facts["field"] == field
    with pytest.raises(sb.BindingError):
        sb.VariableAwarePredict(f"{field} -> answer", session_context=session)


def test_a_table_that_nothing_chooses_from_is_a_mistake(session: BlockingContext) -> None:
    tables: list[sb.Tables] = [{"models": {}}, {"tools": []}, {"adapters": {}}]
    for table in tables:
        with pytest.raises(sb.BindingError):
            sb.bind(Pair(), {"temperature": "t"}, session=session, **table)
    with pytest.raises(TypeError):
        sb.bind(Pair(), {"temperature": "t"}, session=session, modules={})  # type: ignore[call-arg]
    with pytest.raises(sb.BindingError):
        sb.bind(Pair(), {"lm": "model"}, session=session)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_attempts_of_a_comparison_cannot_change_after_it_is_made(session: BlockingContext) -> None:
    with pytest.raises(sb.BindingError):
        sb.bind(dspy.MultiChainComparison("question -> answer", M=2), {"M": "tokens"}, session=session)
