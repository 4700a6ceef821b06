"""Variable-aware classes, the resolver, and the module that follows a variable."""

from __future__ import annotations

import pickle
from typing import Any

import cloudpickle
import dspy
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext, SessionContext
from snakepit_bridge.exceptions import VariableNotFoundError
from tests.dspy.support.interpreters import INTERPRETER
from tests.dspy.support.programs import as_agent, population
from tests.support.recording_lm import RecordingLM


@pytest.fixture
async def live(ctx: SessionContext, session: BlockingContext) -> SessionContext:
    session.register_variable(
        "strategy", "module", "Predict", constraints={"modules": ["Predict", "ChainOfThought", "ReAct"]}
    )
    return ctx


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (sb.VariableAwarePredict, {}),
        (sb.VariableAwareChainOfThought, {}),
        (sb.VariableAwareReAct, {"tools": [population]}),
    ],
)
async def test_a_variable_aware_module_syncs_before_each_way_to_call_it(
    cls: Any, arguments: dict[str, Any], live: SessionContext, other: BlockingContext, lm: RecordingLM
) -> None:
    lm.reply(as_agent)
    module = cls("question -> answer", session_context=live, **arguments)
    assert type(module) is cls
    told: list[Any] = []
    await module.bind_to_variable("temperature", "t", lambda *change: told.append(change))
    module.bind_to_variable_sync("max_tokens", "tokens")
    assert type(module) is cls
    for value, call in ((0.5, module.acall), (0.75, module.forward_async)):
        other.set_variable("t", value)
        await call(question="why?")
        assert lm.requests[-1]["temperature"] == value
    other.set_variable("t", 1.0)
    module(question="why?")
    assert (lm.requests[-1]["temperature"], lm.requests[-1]["max_completion_tokens"]) == (1.0, 111)
    assert [new for _, _, new in told] == [0.5, 0.75, 1.0]
    assert module.get_bindings() == {"temperature": "t", "max_tokens": "tokens"}
    assert module.get_bound_variable("temperature") == "t"
    assert module.get_bound_variable("top_p") is None
    module.unbind_variable("temperature")
    module(question="why?")
    assert "temperature" not in lm.requests[-1]
    plain = pickle.loads(cloudpickle.dumps(module))
    assert type(plain) is cls
    assert plain.session_context is None
    assert plain.get_bindings() == {}


async def test_sync_variables_tells_what_changed_since_the_last_call(
    live: SessionContext, other: BlockingContext, lm: RecordingLM
) -> None:
    module = sb.VariableAwarePredict("question -> answer", session_context=live, auto_sync=False)
    await module.bind_to_variable("temperature", "t")
    assert await module.sync_variables() == {}
    other.set_variable("t", 0.5)
    await module.acall(question="why?")
    assert await module.sync_variables() == {"temperature": (0.25, 0.5)}
    await module.acall(question="why?")
    other.set_variable("t", 0.75)
    assert module.sync_variables_sync() == {"temperature": (0.5, 0.75)}
    assert await module.sync_variables() == {}
    assert [body["temperature"] for body in lm.requests] == [0.25, 0.5]


async def test_changes_count_from_what_the_last_bind_was_told(live: SessionContext, other: BlockingContext) -> None:
    module = sb.VariableAwarePredict("question -> answer", session_context=live)
    await module.bind_to_variable("temperature", "t")
    assert await module.sync_variables() == {}
    module.unbind_variable("temperature")
    other.set_variable("t", 1.0)
    await module.bind_to_variable("temperature", "t")
    other.set_variable("t", 0.2)
    assert await module.sync_variables() == {"temperature": (1.0, 0.2)}


async def test_own_modules_may_forget_their_parents_init(live: SessionContext, lm: RecordingLM) -> None:
    class Mine(sb.VariableAwareMixin, dspy.Module):
        def __init__(self) -> None:
            self.ask = dspy.Predict("question -> answer")
            self.k = 1

        def forward(self, question: str) -> Any:
            return dspy.Prediction(answer=self.ask(question=question).answer, k=self.k)

    module, untouched = Mine(), Mine()
    with pytest.raises(sb.BindingError):
        await module.bind_to_variable("ask.temperature", "t")
    module.session_context = live
    await module.bind_to_variable("ask.temperature", "t")
    await module.bind_to_variable("k", "tokens")
    assert (await module.acall(question="why?")).k == 111
    assert lm.requests[0]["temperature"] == 0.25
    assert type(module) is Mine
    assert untouched.k == 1
    untouched.k = 2
    assert (untouched(question="why?").k, module.k) == (2, 111)
    with pytest.raises(sb.BindingError):
        module.session_context = SessionContext.connect(live.address)


async def test_an_own_predictor_with_the_mixin_is_bound(live: SessionContext, lm: RecordingLM) -> None:
    class Loud(sb.VariableAwareMixin, dspy.Predict):
        pass

    module = Loud("question -> answer", session_context=live)
    await module.bind_to_variable("temperature", "t")
    await module.acall(question="why?")
    assert lm.requests[0]["temperature"] == 0.25
    assert isinstance(module, Loud)


@pytest.mark.filterwarnings("ignore:ProgramOfThought:DeprecationWarning")
def test_the_variable_aware_program_of_thought_runs_its_code(session: BlockingContext, lm: RecordingLM) -> None:
    lm.reply(
        lambda body: (
            {"reasoning": "r", "generated_code": "SUBMIT({'answer': '2'})"}
            if "generated_code" in str(body["messages"][-1]["content"]).rpartition("Respond with")[2]
            and "final_generated_code" not in str(body["messages"][-1]["content"])
            else {"reasoning": "r", "answer": "2"}
        )
    )
    module = sb.VariableAwareProgramOfThought(  # type: ignore[attr-defined, unused-ignore]
        "question -> answer", session_context=session, **INTERPRETER
    )
    module.bind_to_variable_sync("temperature", "t")
    assert module(question="1+1?").answer == "2"
    assert {body["temperature"] for body in lm.requests} == {0.25}
    assert len(lm.requests) == 2


async def test_the_resolver_follows_a_changed_variable_in_any_case(
    live: SessionContext, other: BlockingContext
) -> None:
    other.register_variable("name", "string", "Predict")
    resolver = sb.ModuleVariableResolver(live)
    for value, cls in (
        ("Predict", dspy.Predict),
        ("chainofthought", dspy.ChainOfThought),
        ("COT", dspy.ChainOfThought),
        ("chain_of_thought", dspy.ChainOfThought),
        ("REACT", dspy.ReAct),
    ):
        other.set_variable("name", value)
        assert await resolver.resolve_module("name") is cls
    other.set_variable("name", "ChainOfThougt")
    with pytest.raises(sb.UnknownModuleError):
        await resolver.resolve_module("name")
    with pytest.raises(VariableNotFoundError):
        await resolver.resolve_module("nobody")


async def test_the_resolver_makes_modules_of_its_own_names(live: SessionContext, other: BlockingContext) -> None:
    class Mine(dspy.Predict):
        pass

    resolver = sb.ModuleVariableResolver(live)
    other.set_variable("strategy", "ReAct")
    made = await resolver.create_module("strategy", "question -> answer", tools=[population])
    assert type(made) is sb.VariableAwareReAct
    assert "population" in made.tools
    assert made.session_context is live
    plain = await resolver.create_module("strategy", "question -> answer", tools=[population], use_variable_aware=False)
    assert type(plain) is dspy.ReAct
    resolver.register_module("mine", Mine)
    other.register_variable("name", "string", "MINE")
    assert type(await resolver.create_module("name", "question -> answer")) is Mine
    assert "mine" in resolver.get_available_modules()
    assert "mine" not in sb.MODULE_REGISTRY


async def test_a_variable_module_is_another_module_at_the_next_call(
    live: SessionContext, other: BlockingContext, lm: RecordingLM
) -> None:
    lm.reply(as_agent)
    module = sb.VariableModule(
        "strategy",
        "question -> answer",
        session=live,
        modules={"ReAct": lambda signature: dspy.ReAct(signature, tools=[population])},
    )
    names = [name for name, _ in module.named_predictors()]
    assert "reasoning" not in await module.acall(question="why?")
    other.set_variable("strategy", "ChainOfThought")
    assert "reasoning" in await module.acall(question="why?")
    other.set_variable("strategy", "ReAct")
    assert module(question="how many?").trajectory["observation_0"] == "Rome: 42"
    assert [name for name, _ in module.named_predictors()] == names
    assert len(names) == 4
    sb.bind(module, {"temperature": "t"}, session=live)
    twin = module.deepcopy()
    other.set_variable("strategy", "Predict")
    assert "reasoning" not in twin(question="why?")
    assert lm.requests[-1]["temperature"] == 0.25


async def test_a_variable_module_refuses_what_it_does_not_have(
    live: SessionContext, other: BlockingContext, lm: RecordingLM
) -> None:
    with pytest.raises(sb.BindingError):
        sb.VariableModule("strategy", "question -> answer", session=live)
    other.register_variable("name", "string", "cot")
    module = sb.VariableModule("name", "question -> answer", session=live)
    assert "reasoning" in module(question="why?")
    other.set_variable("name", "ReAct")
    with pytest.raises(sb.UnknownModuleError):
        module(question="why?")
    with pytest.raises(sb.UnknownModuleError):
        sb.VariableModule("name", "question -> answer", session=live)
    with pytest.raises(VariableNotFoundError):
        sb.VariableModule("nobody", "question -> answer", session=live)
    assert len(lm.requests) == 1


@pytest.mark.parametrize("module", ["cot", "ChainOfThought", dspy.ChainOfThought, sb.VariableAwareChainOfThought])
async def test_a_variable_aware_module_is_created_bound(module: Any, live: SessionContext, lm: RecordingLM) -> None:
    made = await sb.create_variable_aware_module(
        live, module, "question -> answer", variable_bindings={"temperature": "t"}
    )
    await made.acall(question="why?")
    assert type(made) is sb.VariableAwareChainOfThought
    assert lm.requests[0]["temperature"] == 0.25
    with pytest.raises(sb.UnknownModuleError):
        await sb.create_variable_aware_module(live, "Nothing", "question -> answer")
