"""What cannot be bound is refused at bind; what cannot be sent is refused before any request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from snakepit_bridge.dspy_integration.targets.generation import PARAMETERS, REFUSED
from snakepit_bridge.exceptions import VariableNotFoundError
from tests.dspy.support.programs import Pair, agent, as_agent
from tests.support.recording_lm import RecordingLM


@pytest.fixture
def nothing_sent(lm: RecordingLM) -> Iterator[RecordingLM]:
    yield lm
    assert lm.requests == []


@pytest.mark.parametrize(
    ("path", "closest"),
    [
        ("temprature", "temperature"),
        ("polihs.temperature", "polish"),
        ("polish.predict.max_token", "max_tokens"),
        ("lm.top_kk", "top_k"),
    ],
)
def test_an_unknown_path_is_refused_with_the_closest(path: str, closest: str, session: BlockingContext) -> None:
    with pytest.raises(sb.BindingError) as refused:
        sb.bind(Pair(), {path: "t"}, session=session)
    assert closest in refused.value.facts["closest"].split(",")


@pytest.mark.parametrize(
    "path",
    ["", ".", "a..b", "draft.", "steps[", "draft[0].k", "1k", "k k", "draft.forward", "draft.lm", "draft.signature",
     "polish.config", "draft", "polish.predict", "history", "_compiled", "question"],
)  # fmt: skip
def test_what_is_no_bindable_path_is_refused(path: str, session: BlockingContext) -> None:
    with pytest.raises(sb.BindingError):
        sb.bind(Pair(), {path: "t"}, session=session)


def test_a_module_that_dspy_does_not_find_is_refused(session: BlockingContext) -> None:
    class Box:
        ask = dspy.Predict("question -> answer")

    program = Pair()
    program.box = Box()
    with pytest.raises(sb.BindingError):
        sb.bind(program, {"box.ask.temperature": "t"}, session=session)
    sb.bind(program.box.ask, {"temperature": "t"}, session=session)


@pytest.mark.parametrize("name", sorted(REFUSED))
@pytest.mark.parametrize("form", ["{}", "lm.{}", "draft.{}", "polish.lm.{}"])
def test_addresses_and_credentials_are_never_bound(form: str, name: str, session: BlockingContext) -> None:
    with pytest.raises(sb.BindingError):
        sb.bind(Pair(), {form.format(name): "model"}, session=session)


def test_no_bindable_parameter_is_one_that_routes_or_authenticates() -> None:
    litellm = pytest.importorskip("litellm.types.utils")
    routing = set(litellm.all_litellm_params) | REFUSED
    assert routing & set(PARAMETERS) <= {"cache", "response_format", "max_tokens"}


def test_an_attribute_named_like_a_credential_is_not_bound_either(session: BlockingContext) -> None:
    program = Pair()
    program.api_key = "mine"
    for path in ("api_key", "self.api_key"):
        with pytest.raises(sb.BindingError):
            sb.bind(program, {path: "prompt"}, session=session)


@pytest.mark.parametrize(
    ("path", "kind", "value"),
    [
        ("max_tokens", "string", "100"),
        ("max_tokens", "float", 100.0),
        ("temperature", "boolean", True),
        ("temperature", "string", "0.5"),
        ("instructions", "integer", 1),
        ("model", "float", 1.0),
        ("draft.demos", "string", "[]"),
        ("k", "string", "3"),
        ("k", "boolean", True),
    ],
)
def test_a_variable_whose_type_cannot_fit_is_refused_at_bind(
    path: str, kind: str, value: Any, session: BlockingContext, nothing_sent: RecordingLM
) -> None:
    session.register_variable("x", kind, value)
    program = Pair()
    with pytest.raises(sb.BindingError) as refused:
        sb.bind(program, {"temperature": "t", path: "x"} if path != "temperature" else {path: "x"}, session=session)
    assert refused.value.facts["type"] == kind
    assert type(program) is Pair, "nothing is bound if anything is refused"


@pytest.mark.parametrize(
    ("path", "kind", "value"),
    [
        ("temperature", "float", 1e30),
        ("temperature", "float", -1.0),
        ("max_tokens", "integer", 0),
        ("top_p", "float", 1.5),
        ("n", "integer", 0),
        ("presence_penalty", "float", 3.0),
        ("stop", "list", [1]),
        ("reasoning_effort", "string", ""),
        ("draft.demos", "list", [{"question": "no output"}]),
        ("draft.demos", "list", ["text"]),
    ],
)
def test_a_value_out_of_range_is_refused_at_bind_and_at_the_next_forward(
    path: str, kind: str, value: Any, session: BlockingContext, nothing_sent: RecordingLM
) -> None:
    good = {"temperature": 0.5, "max_tokens": 5, "top_p": 0.5, "n": 1, "presence_penalty": 1.0, "stop": ["."],
            "reasoning_effort": "low", "draft.demos": [{"question": "q", "draft": "d"}]}[path]  # fmt: skip
    session.register_variable("bad", kind, value)
    with pytest.raises(sb.BindingError):
        sb.bind(Pair(), {path: "bad"}, session=session)
    session.register_variable("good", kind, good)
    program = sb.bind(Pair(), {path: "good"}, session=session)
    session.set_variable("good", value)
    with pytest.raises(sb.BindingError) as refused:
        program(question="why?")
    assert refused.value.facts["path"] == path
    assert refused.value.facts["variable"] == "good"


def test_a_choice_is_checked_by_its_value(session: BlockingContext, nothing_sent: RecordingLM) -> None:
    session.register_variable("mixed", "choice", 100, constraints={"choices": [100, "100", True]})
    program = sb.bind(dspy.Predict("question -> answer"), {"max_tokens": "mixed"}, session=session)
    for value in ("100", True):
        session.set_variable("mixed", value)
        with pytest.raises(sb.BindingError):
            program(question="why?")


def test_an_agent_does_not_swallow_a_refused_value(session: BlockingContext, nothing_sent: RecordingLM) -> None:
    nothing_sent.reply(as_agent)
    program = sb.bind(agent(), {"react.max_tokens": "tokens"}, session=session)
    session.set_variable("tokens", -1)
    with pytest.raises(sb.BindingError):
        program(question="how many?")


def test_a_missing_variable_is_refused_at_bind_unless_there_is_a_default(
    lm: RecordingLM, session: BlockingContext
) -> None:
    with pytest.raises(VariableNotFoundError) as missing:
        sb.bind(Pair(), {"temperature": "tt", "max_tokens": sb.Var("m", 5)}, session=session)
    assert missing.value.variable == "tt"
    program = sb.bind(Pair(), {"max_tokens": sb.Var("m", default=5)}, session=session)
    program(question="why?")
    session.register_variable("m", "integer", 6)
    program(question="why?")
    session.delete_variable("m")
    program(question="why?")
    assert [body["max_completion_tokens"] for body in lm.requests] == [5, 5, 6, 6, 5, 5]
    with pytest.raises(sb.BindingError):
        sb.bind(Pair(), {"max_tokens": sb.Var("none", default="5")}, session=session)


def test_a_variable_deleted_later_is_an_error_that_names_path_and_variable(
    session: BlockingContext, nothing_sent: RecordingLM
) -> None:
    program = sb.bind(Pair(), {"polish.temperature": "t"}, session=session)
    session.delete_variable("t")
    with pytest.raises(VariableNotFoundError) as gone:
        program(question="why?")
    assert (gone.value.facts["path"], gone.value.variable) == ("polish.temperature", "t")


def test_a_generation_name_with_two_meanings_has_to_be_said(lm: RecordingLM, session: BlockingContext) -> None:
    class Own(Pair):
        def __init__(self) -> None:
            super().__init__()
            self.temperature = 36.6

    session.register_variable("body", "float", 40.0)
    with pytest.raises(sb.BindingError):
        sb.bind(Own(), {"temperature": "t"}, session=session)
    program = sb.bind(Own(), {"lm.temperature": "t"}, session=session)
    program(question="why?")
    assert program.temperature == 36.6
    assert sb.bindings(program) == {"lm.temperature": "t"}
    sb.bind(program, {"self.temperature": "body"}, session=session)
    assert program.temperature == 40.0
    program(question="why?")
    assert {body["temperature"] for body in lm.requests} == {0.25}
    assert set(sb.effective(program)) == {"lm.temperature", "self.temperature"}
    sb.unbind(program, "lm.temperature")
    assert sb.bindings(program) == {"self.temperature": "body"}


@pytest.mark.filterwarnings("ignore:ProgramOfThought:DeprecationWarning")
def test_instructions_that_dspy_writes_around_the_task_are_not_overwritten(session: BlockingContext) -> None:
    program = dspy.ProgramOfThought("question -> answer")
    with pytest.raises(sb.BindingError):
        sb.bind(program, {"instructions": "prompt"}, session=session)
    sb.bind(program, {"generate_output.instructions": "prompt"}, session=session)


def test_what_is_no_program_session_or_variable_is_refused(session: BlockingContext) -> None:
    with pytest.raises(sb.BindingError):
        sb.bind(print, {"temperature": "t"}, session=session)
    with pytest.raises(sb.BindingError):
        sb.bind(Pair(), {"temperature": "t"})
    with pytest.raises(TypeError):
        sb.bind(Pair(), {"temperature": "t"}, session="session")
    with pytest.raises(sb.BindingError):
        sb.bind(Pair(), {"temperature": 0.5}, session=session)  # type: ignore[dict-item]
    with pytest.raises(sb.BindingError):
        sb.bind(Pair(), {"temperature": "t"}, session=session, refresh="often")  # type: ignore[arg-type]
    with pytest.raises(sb.BindingError):
        sb.bind(Pair(), {"temperature": "t"}, session=session, models={})
    with pytest.raises(sb.BindingError):
        sb.unbind(Pair(), "temperature")
