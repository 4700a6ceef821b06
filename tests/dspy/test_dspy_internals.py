"""What this package uses of DSPy without DSPy having promised it: each is there, and nothing else is used.

A test that fails here says what a new DSPy breaks. `snakepit_bridge/dspy_integration/_dspy_internals.py` is the list.
"""

from __future__ import annotations

import ast
import contextvars
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM

import snakepit_bridge.dspy_integration
from snakepit_bridge.dspy_integration import _dspy_internals as internals
from snakepit_bridge.dspy_integration._dspy_internals import INTERNALS, PLACES, Internal

PACKAGE = Path(snakepit_bridge.dspy_integration.__file__).parent
BY_NAME = {internal.name: internal for internal in INTERNALS}
QA = "question -> answer"


def tool(place: str) -> str:
    """Looks something up."""
    return place


def rows_of(module: Any) -> list[Any]:
    class Owner:
        history: list[Any] = []  # noqa: RUF012 - one owner

    owner = Owner()
    with dspy.context(caller_modules=[owner], lm=DummyLM([{"answer": "x"}])):
        module(question="why?")
    return owner.history


def overrides_reach_threads() -> bool:
    seen: list[Any] = []

    class Looks(dspy.Module):
        def forward(self, question: str) -> Any:
            seen.append(internals.thread_local_overrides.get().get("_snakepit_test"))
            return dspy.Prediction(answer=question)

    token = internals.thread_local_overrides.set(internals.dotdict(_snakepit_test="here"))
    try:
        dspy.Parallel(num_threads=2, disable_progress_bar=True)(
            [(Looks(), dspy.Example(question=str(n)).with_inputs("question")) for n in range(2)]
        )
    finally:
        internals.thread_local_overrides.reset(token)
    return isinstance(internals.thread_local_overrides, contextvars.ContextVar) and seen == ["here", "here"]


def settings_have(*names: str) -> bool:
    return all(name in dspy.settings.config for name in names)


def source_has(function: Any, *parts: str) -> bool:
    source = inspect.getsource(function)
    return all(part in source for part in parts)


def keys_of(module: Any, *names: str) -> bool:
    return bool(vars(module).keys() >= set(names))


def callbacks_of_tools() -> bool:
    return hasattr(internals.with_callbacks(lambda self: self), "__wrapped__")


def keeps_tools(agent: Any, kept: internals.Agent) -> bool:
    inner = vars(agent)[kept.predictor]
    tools = vars(agent)[kept.attribute]
    return tools.keys() == {"tool", *kept.fixed} and kept.text(tools) in inner.signature.instructions


def agent_of(name: str) -> internals.Agent:
    return next(agent for agent in internals.AGENTS if agent.cls.__name__ == name)


def react() -> bool:
    agent = dspy.ReAct(QA, tools=[tool])
    return keeps_tools(agent, agent_of("ReAct")) and internals.NEXT_TOOL in agent.react.signature.output_fields


def takes_calls(method: str) -> bool:
    return list(inspect.signature(getattr(internals.ReActV2, method)).parameters) == ["self", "tool_calls"]


def validates_names() -> bool:
    agent = internals.RLM(QA)
    try:
        internals.validate_tools(agent, {"print": dspy.Tool(tool), "llm_query": dspy.Tool(tool)})
    except ValueError:
        return True
    return False


def marked(agent: Any, predictor: str) -> bool:
    task = dspy.Signature(QA, "Say why.").instructions
    return str(vars(agent)[predictor].signature.instructions).startswith(task + internals.AGENT_MARKER)


def unusable_aforward() -> bool:
    return inspect.unwrap(internals.CodeAct.aforward) is dspy.ReAct.aforward


def described() -> bool:
    signature = dspy.Signature(QA)
    named = signature.with_updated_fields("answer", desc="short")
    fields = named.fields
    standard = internals.field_description(fields["question"]) == internals.standard_description("question")
    prefixed = internals.field_prefix(fields["question"]) == "Question:"
    return standard and prefixed and internals.field_description(fields["answer"]) == "short"


def count_names() -> bool:
    reward: Callable[..., float] = lambda _args, _prediction: 1.0  # noqa: E731
    attempts = dspy.BestOfN(dspy.Predict(QA), N=2, reward_fn=reward, threshold=1.0)
    agent = dspy.ReAct(QA, tools=[tool])
    counted = {name for module in (attempts, agent) for name in vars(module) if name in internals.COUNTS}
    if internals.RLM is not None:
        counted |= {name for name in vars(internals.RLM(QA)) if name in internals.COUNTS}
        return counted | {"max_iterations"} == internals.COUNTS
    return counted == {"N", "max_iters"}


def inner_modules() -> bool:
    chain = dspy.ChainOfThought(QA)
    reward: Callable[..., float] = lambda _args, _prediction: 1.0  # noqa: E731
    made = [cls(chain, N=2, reward_fn=reward, threshold=1.0) for cls in (dspy.BestOfN, dspy.Refine)]
    inside = all(isinstance(internals.inner_module(attempts), dspy.ChainOfThought) for attempts in made)
    return inside and isinstance(internals.inner_predictor(chain), dspy.Predict)


def tool_parts() -> bool:
    made = dspy.Tool(tool)
    sent = made.format_as_litellm_function_call()
    return made.func is tool and list(made.args) == ["place"] and made.has_kwargs is False and "function" in sent


def subscribed() -> bool:
    made: Any = dspy.Code["sql"]
    return bool(made.__bases__ == (dspy.Code,) and made.__module__ == dspy.Code.__module__ and made.language == "sql")


def lm_keys() -> bool:
    lm = dspy.LM("openai/none", temperature=0.5)
    copied = lm.copy(model="openai/other")
    kept = keys_of(lm, internals.HISTORY, internals.CALLBACKS, internals.KWARGS, "model")
    return (
        kept and copied.model == "openai/other" and copied.kwargs is not lm.kwargs and lm.kwargs["temperature"] == 0.5
    )


def if_there(cls: Any, check: Callable[[], bool]) -> Callable[[], bool]:
    """The check, of a class that not every DSPy has."""
    return lambda: cls is None or check()


CHECKS: dict[str, Callable[[], bool]] = {
    "dspy.dsp.utils.settings.thread_local_overrides": overrides_reach_threads,
    "dspy.dsp.utils.utils.dotdict": lambda: internals.dotdict(lm=1).lm == 1,
    "settings.caller_modules": lambda: len(rows_of(dspy.Predict(QA))) == 1,
    "settings of a call in progress": lambda: settings_have(*internals.OF_A_CALL),
    "settings.track_usage, allow_tool_async_sync_conversion, async_max_workers, trace, max_trace_size": lambda: (
        settings_have("track_usage", "allow_tool_async_sync_conversion", "async_max_workers", "trace", "max_trace_size")
    ),
    "dspy.utils.callback.with_callbacks": callbacks_of_tools,
    "Module.acall": lambda: dspy.ReAct.acall is dspy.Module.acall,
    "Predict.__dict__: signature, config, demos, lm": lambda: keys_of(
        dspy.Predict(QA), internals.SIGNATURE, internals.CONFIG, internals.DEMOS, internals.LM
    ),
    "Predict.__dict__: traces, train, stage": lambda: keys_of(dspy.Predict(QA), *internals.OF_PREDICT),
    "Predict._forward_preprocess": lambda: source_has(
        dspy.Predict._forward_preprocess, *(f'"{name}"' for name in internals.RESERVED)
    ),
    "Predict._forward_postprocess": lambda: (
        list(inspect.signature(dspy.Predict._forward_postprocess).parameters)
        == ["self", "completions", "signature", "kwargs"]
    ),
    "Module.__dict__: history, callbacks": lambda: keys_of(dspy.Predict(QA), internals.HISTORY, internals.CALLBACKS),
    "BaseLM.__dict__: history, callbacks, kwargs, model": lm_keys,
    "dspy.signatures.signature.ensure_signature": lambda: (
        list(internals.ensure_signature(QA).fields) == ["question", "answer"]
    ),
    "field.json_schema_extra: desc, prefix": described,
    "counts: max_iters or max_iterations, N, max_llm_calls, max_output_chars": count_names,
    "dspy.ReActV2": if_there(internals.ReActV2, lambda: issubclass(internals.ReActV2, dspy.Module)),
    "dspy.RLM": if_there(internals.RLM, lambda: issubclass(internals.RLM, dspy.Module)),
    "dspy.Flex": if_there(internals.Flex, lambda: issubclass(internals.Flex, dspy.Module)),
    "dspy.CodeAct": if_there(internals.CodeAct, lambda: issubclass(internals.CodeAct, dspy.ReAct)),
    "dspy.ProgramOfThought": if_there(
        internals.ProgramOfThought, lambda: issubclass(internals.ProgramOfThought, dspy.Module)
    ),
    "ReAct: tools, react, finish, next_tool_name": react,
    "ReActV2: tools, react, submit": if_there(
        internals.ReActV2, lambda: keeps_tools(internals.ReActV2(QA, tools=[tool]), agent_of("ReActV2"))
    ),
    "ReActV2._execute_tool_calls": if_there(internals.ReActV2, lambda: takes_calls("_execute_tool_calls")),
    "ReActV2._aexecute_tool_calls": if_there(internals.ReActV2, lambda: takes_calls("_aexecute_tool_calls")),
    "RLM._user_tools, generate_action, _format_tool_docs": if_there(
        internals.RLM, lambda: keeps_tools(internals.RLM(QA, tools=[tool]), agent_of("RLM"))
    ),
    "RLM._validate_namespace or _validate_tools": if_there(internals.RLM, validates_names),
    "the instructions of an agent's predictor": lambda: marked(
        dspy.ReAct(dspy.Signature(QA, "Say why."), tools=[tool]), "react"
    ),
    "CodeAct.aforward": if_there(internals.CodeAct, unusable_aforward),
    "CodeAct._build_instructions": if_there(
        internals.CodeAct, lambda: source_has(internals.CodeAct._build_instructions, "{tool}")
    ),
    "ChainOfThought.predict, BestOfN.module, Refine.module": inner_modules,
    "Tool: args, func, has_kwargs, format_as_litellm_function_call": tool_parts,
    "dspy.teleprompt.Teleprompter.compile": lambda: (
        issubclass(dspy.LabeledFewShot, internals.Teleprompter) and callable(internals.Teleprompter.compile)
    ),
    "dspy.streaming: StreamListener, StreamResponse, StatusMessage": lambda: (
        internals.StreamListener("answer").signature_field_name == "answer"
        and internals.StreamResponse("p", "answer", "text", is_last_chunk=False).chunk == "text"
        and internals.StatusMessage("busy").message == "busy"
    ),
    "Example.__dict__: _store, _demos, _input_keys": lambda: keys_of(
        dspy.Example(), internals.FIELDS, internals.EXAMPLE_DEMOS, internals.INPUT_KEYS
    ),
    "Prediction.__dict__: _completions, _lm_usage": lambda: keys_of(
        dspy.Prediction(), internals.FIELDS, internals.COMPLETIONS, internals.USAGE
    ),
    "Code.language and classes made by subscription": subscribed,
}


def is_older_than(internal: Internal) -> bool:
    """Whether the installed DSPy is older than the first one that has it."""
    installed, first = (
        tuple(map(int, text.split(".")[:2])) for text in (dspy.__version__, internal.seen.split(", ")[0])
    )
    return installed < first


def message(internal: Internal) -> str:
    return (
        f"dspy {dspy.__version__} no longer has {internal.name} as it was in {internal.seen} ({internal.what}): "
        f"{internal.breaks}"
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*deprecated")
@pytest.mark.parametrize("name", CHECKS)
def test_it_is_still_there(name: str) -> None:
    internal = BY_NAME[name]
    try:
        found = is_older_than(internal) or CHECKS[name]()
    except Exception as error:
        error.add_note(message(internal))
        raise
    assert found, message(internal)


@pytest.mark.parametrize("place", [place for places in PLACES.values() for place in places.values()])
def test_the_class_of_an_envelope_is_still_there(place: str) -> None:
    internal = BY_NAME[place]
    assert is_older_than(internal) or internals.find_class(place) is not None, message(internal)


def test_every_entry_is_looked_for() -> None:
    places = {place for places in PLACES.values() for place in places.values()}
    assert BY_NAME.keys() == CHECKS.keys() | places


def nodes() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name != "_dspy_internals.py":
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                yield str(path.relative_to(PACKAGE)), node


def test_no_other_file_imports_from_inside_dspy_or_looks_for_what_it_has() -> None:
    found = []
    for where, node in nodes():
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "dspy":
            found.append(f"{where}: from {node.module}")
        if isinstance(node, ast.Import) and any(alias.name.startswith("dspy.") for alias in node.names):
            found.append(f"{where}: import dspy.…")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"getattr", "hasattr"}:
            asked = node.args[0]
            if isinstance(asked, ast.Name) and asked.id == "dspy":
                found.append(f"{where}: {node.func.id}(dspy, …)")
    assert found == []


OVERRIDDEN = {"_forward_postprocess", "_execute_tool_calls", "_aexecute_tool_calls"}
"""Methods of DSPy's that other files define and call, each listed."""


def test_no_other_file_names_a_private_method_or_key_of_dspy() -> None:
    private = {"_store", "_demos", "_input_keys", "_completions", "_lm_usage", "_user_tools", "_format_tool_docs"}
    private |= {"_validate_namespace", "_validate_tools", "_forward_preprocess"}
    found = set()
    for where, node in nodes():
        named = node.attr if isinstance(node, ast.Attribute) else node.value if isinstance(node, ast.Constant) else None
        if isinstance(named, str) and named in private:
            found.add(f"{where}: {named}")
    assert found == set()
    listed = " ".join(BY_NAME)
    assert all(name in listed for name in OVERRIDDEN)
