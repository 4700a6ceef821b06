"""Each of DSPy's modules is bound, by `bind` and by its variable-aware class, and each of its requests shows it."""

from __future__ import annotations

import asyncio
import pickle
import warnings
from typing import Any

import cloudpickle
import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext
from snakepit_bridge.dspy_integration.modules.modules import AWARE
from tests.dspy.support.interpreters import INTERPRETER
from tests.dspy.support.programs import population, prompt_of
from tests.support.recording_lm import RecordingLM, asked_fields

SIGNATURE = "question -> answer"


def good(*_: Any) -> float:
    """A reward."""
    return 1.0


# The arguments of each class, and how many requests a call of it makes.
MODULES: dict[str, tuple[tuple[Any, ...], dict[str, Any], int]] = {
    "Predict": ((SIGNATURE,), {}, 1),
    "ChainOfThought": ((SIGNATURE,), {}, 1),
    "ReAct": ((SIGNATURE,), {"tools": [population]}, 2),
    "ReActV2": ((SIGNATURE,), {"tools": [population]}, 1),
    "RLM": ((SIGNATURE,), INTERPRETER, 1),
    "Flex": ((SIGNATURE,), INTERPRETER, 1),
    "ProgramOfThought": ((SIGNATURE,), INTERPRETER, 2),
    "CodeAct": ((SIGNATURE,), {"tools": [population], **INTERPRETER}, 2),
    "MultiChainComparison": ((SIGNATURE,), {"M": 1}, 1),
    "BestOfN": ((dspy.Predict(SIGNATURE),), {"N": 2, "reward_fn": good, "threshold": 2.0}, 2),
    "Refine": ((dspy.Predict(SIGNATURE),), {"N": 1, "reward_fn": good, "threshold": 2.0}, 1),
}


def answer_as_any(body: dict[str, Any]) -> dict[str, Any]:
    fields = asked_fields(body)
    if "next_tool_name" in fields:
        return {"next_thought": "t", "next_tool_name": "finish", "next_tool_args": {}}
    if "tool_calls" in fields:
        return {"next_thought": "t", "tool_calls": {"tool_calls": [{"name": "submit", "args": {"answer": "a"}}]}}
    code = "SUBMIT(answer='a')" if "code" in fields else "SUBMIT({'answer': 'a'})"
    given = {"generated_code": code, "code": code, "finished": True, "answer": "a"}
    return {name: given.get(name, "r") for name in fields}


def made(cls: Any, name: str, **options: Any) -> Any:
    args, kwargs, _ = MODULES[name]
    with warnings.catch_warnings():
        # Of the modules that DSPy is about to drop.
        warnings.simplefilter("ignore", DeprecationWarning)
        return cls(*args, **kwargs, **options)


def called(module: Any, name: str, how: str) -> Any:
    inputs: dict[str, Any] = {"question": "why?"}
    if name == "MultiChainComparison":
        inputs["completions"] = [{"reasoning": "r", "answer": "a"}]
    return module(**inputs) if how == "call" else asyncio.run(module.acall(**inputs))


# What DSPy warns of is its own Flex.
FLEX = pytest.mark.filterwarnings("ignore:Passing OpenAI-style message:DeprecationWarning")


@FLEX
@pytest.mark.parametrize("how", ["call", "acall"])
@pytest.mark.parametrize("name", list(AWARE))
def test_every_request_of_every_module_follows_its_variables(
    name: str, how: str, lm: RecordingLM, session: BlockingContext
) -> None:
    lm.reply(answer_as_any)
    requests = MODULES[name][2]
    bound = sb.bind(made(getattr(dspy, name), name), {"top_p": "t", "model": "model"}, session=session)
    aware = made(AWARE[name], name, session_context=session)
    aware.bind_to_variable_sync("top_p", "t")
    aware.bind_to_variable_sync("model", "model")
    for module in (bound, aware):
        for top_p, model in ((0.25, "gpt-4o"), (0.75, "gpt-4.1")):
            session.set_variables({"t": top_p, "model": model})
            start = len(lm.requests)
            answer = called(module, name, how)
            assert [(body["top_p"], body["model"]) for body in lm.requests[start:]] == [(top_p, model)] * requests
            assert answer.answer == "a"
            assert sb.revision_of(answer) == session.revision


@pytest.mark.parametrize("name", list(AWARE))
def test_a_variable_aware_module_is_its_own_class_and_pickles_as_it(name: str, session: BlockingContext) -> None:
    module = made(AWARE[name], name, session_context=session)
    module.bind_to_variable_sync("top_p", "t")
    assert type(module) is AWARE[name] is getattr(sb, f"VariableAware{name}")
    assert isinstance(module, getattr(dspy, name))
    twin = module.deepcopy()
    assert twin.get_bindings() == {"top_p": "t"}
    plain: Any = pickle.loads(cloudpickle.dumps(module))
    assert plain.get_bindings() == {}
    assert type(plain) is AWARE[name]


@pytest.mark.parametrize("name", [name for name in AWARE if name in {"ReAct", "ReActV2", "RLM", "CodeAct"}])
def test_an_agents_task_changes_and_what_dspy_wrote_around_it_stays(
    name: str, lm: RecordingLM, session: BlockingContext
) -> None:
    lm.reply(answer_as_any)
    module = made(getattr(dspy, name), name)
    called(module, name, "call")
    task = module.signature.instructions
    before = [prompt_of(body) for body in lm.requests]
    assert task in before[0]
    sb.bind(module, {"instructions": "prompt"}, session=session)
    called(module, name, "call")
    lines = [line.strip() for line in "Answer like a pirate.".splitlines()]
    after = [prompt_of(body) for body in lm.requests[len(before) :]]
    assert after == [text.replace(task, "\n".join(lines)) for text in before]


@pytest.mark.skipif("ProgramOfThought" not in AWARE, reason="this DSPy has none")
def test_a_task_that_dspy_did_not_write_into_the_prompt_is_refused(session: BlockingContext) -> None:
    module = made(dspy.ProgramOfThought, "ProgramOfThought")
    with pytest.raises(sb.BindingError):
        sb.bind(module, {"instructions": "prompt"}, session=session)
    sb.bind(module, {"generate_output.instructions": "prompt"}, session=session)


@FLEX
@pytest.mark.skipif("Flex" not in AWARE, reason="this DSPy has none")
def test_a_flex_follows_an_lm_by_name_and_refuses_what_needs_predictors(
    lm: RecordingLM, session: BlockingContext
) -> None:
    lm.reply(answer_as_any)
    session.register_variable("which", "string", "good")
    models = {"good": lm.lm("openai/gpt-4.1"), "fast": lm.lm("openai/gpt-4o-mini")}
    program = sb.bind(made(dspy.Flex, "Flex"), {"lm": "which", "temperature": "t"}, session=session, models=models)
    program(question="why?")
    session.set_variables({"which": "fast", "t": 0.75})
    program(question="why?")
    assert [(body["model"], body["temperature"]) for body in lm.requests] == [("gpt-4.1", 0.25), ("gpt-4o-mini", 0.75)]
    assert program.lm is None, "outside a call it is as it was"
    assert len(models["fast"].history) == 1
    for path in ("instructions", "demos", "fields['answer'].desc"):
        with pytest.raises(sb.BindingError):
            sb.bind(made(dspy.Flex, "Flex"), {path: "prompt"}, session=session)


@pytest.mark.skipif("CodeAct" not in AWARE, reason="this DSPy has none")
async def test_a_variable_module_awaits_a_candidate_that_only_looks_as_if_it_could_be(
    lm: RecordingLM, session: BlockingContext
) -> None:
    lm.reply(answer_as_any)
    session.register_variable("strategy", "string", "CodeAct")
    module = sb.VariableModule(
        "strategy", SIGNATURE, session=session, modules={"CodeAct": lambda _: made(dspy.CodeAct, "CodeAct")}
    )
    assert (await module.acall(question="why?")).answer == "a"


@pytest.mark.skipif("RLM" not in AWARE, reason="this DSPy has none")
@pytest.mark.parametrize("name", ["max_iters", "max_llm_calls", "max_output_chars"])
def test_the_limits_of_an_rlm_follow(name: str, lm: RecordingLM, session: BlockingContext) -> None:
    seen: list[int] = []

    class Watched(dspy.RLM):
        def forward(self, **kwargs: Any) -> Any:
            # What DSPy 3.1 calls max_iterations is bound by either name.
            seen.append(getattr(self, name if name in vars(self) else "max_iterations"))
            return super().forward(**kwargs)

    lm.reply(answer_as_any)
    session.register_variable("limit", "integer", 2)
    module = sb.bind(made(Watched, "RLM"), {name: "limit"}, session=session)
    module(question="why?")
    session.set_variable("limit", 3)
    module(question="why?")
    assert seen == [2, 3]


@pytest.mark.skipif("RLM" not in AWARE, reason="this DSPy has none")
def test_the_sub_lm_of_an_rlm_follows_a_name(lm: RecordingLM, session: BlockingContext) -> None:
    code = "SUBMIT(answer=llm_query('what?'))"
    lm.reply(lambda body: {"reasoning": "r", "code": code} if "code" in asked_fields(body) else "plain text")
    session.register_variable("which", "string", "good")
    module = made(dspy.RLM, "RLM")
    sb.bind(module, {"sub_lm": "which"}, session=session, models={"good": lm.lm("openai/gpt-4.1")})
    assert module(question="why?").answer == "plain text"
    assert [body["model"] for body in lm.requests] == ["gpt-4o-mini", "gpt-4.1"]


def test_every_module_that_dspy_exports_has_a_variable_aware_class() -> None:
    assert set(AWARE) == set(sb.MODULE_REGISTRY)
    # Predictors of no signature, tools of optimizers, and the base class itself need none.
    others = {"Module", "Parallel", "KNN", "VariableModule"}
    exported = {
        name
        for name in dir(dspy)
        if isinstance(getattr(dspy, name), type) and issubclass(getattr(dspy, name), dspy.Module)
    }
    assert exported - others == set(AWARE)
