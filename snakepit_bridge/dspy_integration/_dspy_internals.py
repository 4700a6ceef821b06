"""The one list of DSPy's private and undocumented names that this package uses: what a DSPy release can break.

`INTERNALS` has an entry for each: what it is, the DSPy versions it was seen in, and what breaks without it.
tests/dspy/test_dspy_internals.py looks for each in the installed DSPy. The other files take these names from here. A
method that they override has to be written there by its name, and is listed here all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from typing import Any

import dspy
from dspy.dsp.utils.settings import thread_local_overrides
from dspy.dsp.utils.utils import dotdict
from dspy.signatures.signature import ensure_signature
from dspy.streaming import StatusMessage, StreamListener, StreamResponse
from dspy.teleprompt import Teleprompter
from dspy.utils.callback import with_callbacks

__all__ = [
    "AGENTS",
    "AGENT_MARKER",
    "ALIASES",
    "CALLBACKS",
    "CALLER_MODULES",
    "COMPLETIONS",
    "CONFIG",
    "COUNTS",
    "DEMOS",
    "EXAMPLE_DEMOS",
    "FIELDS",
    "HISTORY",
    "INPUT_KEYS",
    "INTERNALS",
    "KWARGS",
    "LM",
    "NEXT_TOOL",
    "NOT_SETTINGS",
    "OF_A_CALL",
    "OF_PREDICT",
    "OWN_ATTRIBUTES",
    "PACKAGE",
    "PLACES",
    "READERS",
    "RESERVED",
    "RLM",
    "SCAFFOLDED",
    "SIGNATURE",
    "USAGE",
    "Agent",
    "CodeAct",
    "Flex",
    "Internal",
    "ProgramOfThought",
    "ReActV2",
    "StatusMessage",
    "StreamListener",
    "StreamResponse",
    "Teleprompter",
    "Tools",
    "defined_by_dspy",
    "dotdict",
    "ensure_signature",
    "field_description",
    "field_prefix",
    "find_class",
    "inner_module",
    "inner_predictor",
    "installed",
    "standard_description",
    "thread_local_overrides",
    "validate_tools",
    "with_callbacks",
]

PACKAGE = "dspy"
_ALL = "3.1.3, 3.3.1, 3.4.1"
_FROM_3_3 = "3.3.1, 3.4.1"
_ONLY_3_4 = "3.4.1"


@dataclass(frozen=True, slots=True)
class Internal:
    """A name of DSPy's, or several that belong together.

    Attributes:
        name: where it is.
        what: what it is.
        breaks: what no longer works without it.
        seen: the DSPy versions that it was seen in.
    """

    name: str
    what: str
    breaks: str
    seen: str = _ALL


# Settings and calls ----------------------------------------------------------

CALLER_MODULES = "caller_modules"
"""The setting with the modules around an LM request. Each gets a row in its `history`."""

OF_A_CALL: dict[str, Any] = {
    CALLER_MODULES: None, "caller_predict": None, "send_stream": None, "stream_listeners": [], "usage_tracker": None,
}  # fmt: skip
"""The settings that belong to a call in progress, as they are outside of any."""

_SETTINGS = (
    Internal(
        "dspy.dsp.utils.settings.thread_local_overrides",
        "the ContextVar behind dspy.context, with a dict of settings; DSPy copies it into its threads and tasks",
        "a call's snapshot is not found in threads of dspy.Parallel and asyncify, or not at all",
    ),
    Internal("dspy.dsp.utils.utils.dotdict", "the dict in that ContextVar", "dspy.settings cannot read the overrides"),
    Internal(
        "settings.caller_modules",
        "the modules around an LM request, to whose `history` DSPy appends a row for it",
        "rows of DSPy's histories have no snakepit_revision and snakepit_session",
    ),
    Internal(
        "settings of a call in progress",
        "caller_modules, caller_predict, send_stream, stream_listeners, usage_tracker",
        "a served program takes parts of the call in which it was offered for its own",
    ),
    Internal(
        "settings.track_usage, allow_tool_async_sync_conversion, async_max_workers, trace, max_trace_size",
        "settings that serve_program sets, and that it and the docs rely on",
        "a served program does not report usage, cannot call async tools, or keeps what it traced",
    ),
    Internal(
        "dspy.utils.callback.with_callbacks",
        "the decorator that calls callbacks around a tool's `__call__` and `acall`",
        "callbacks do not see calls of remote tools",
    ),
    Internal(
        "Module.acall",
        "the `acall` that DSPy's modules share, by identity",
        "awaiting a bound module that has no aforward fails, instead of running in a thread",
    ),
)

# Predict and signatures ------------------------------------------------------

SIGNATURE, CONFIG, DEMOS, LM = "signature", "config", "demos", "lm"
"""The keys of `Predict.__dict__` behind its attributes, where the plain values stay."""

HISTORY, CALLBACKS, KWARGS = "history", "callbacks", "kwargs"
"""Keys of `__dict__`: of modules the first two, of LMs all."""

OF_PREDICT = frozenset(["traces", "train", "stage", CONFIG, DEMOS, LM, SIGNATURE])
"""What `Predict` keeps in `__dict__` besides what a subclass adds."""

NOT_SETTINGS = frozenset([CALLBACKS, HISTORY, "fail_count"])
"""What modules keep in `__dict__` that is no setting of the program."""

OWN_ATTRIBUTES = frozenset([SIGNATURE, CONFIG, LM, CALLBACKS, HISTORY, "fields", "train", "traces", "stage", "tools"])
"""Attributes with a meaning to DSPy, which are never bound as a plain attribute."""

RESERVED = (SIGNATURE, DEMOS, CONFIG, LM, "new_signature")
"""Arguments that `Predict` takes for its own, whatever the signature's fields are named."""

COUNTS = frozenset(["max_iters", "max_iterations", "N", "max_llm_calls", "max_output_chars"])
"""Attributes of DSPy's modules that count something: in none of them a fraction or a zero makes sense."""

ALIASES = {"max_iterations": "max_iters", "max_iters": "max_iterations"}
"""What RLM's limit was called before 3.3, and since."""

_PREDICT = (
    Internal(
        "Predict.__dict__: signature, config, demos, lm",
        "where Predict keeps its parameters, and reads them as attributes in each call",
        "bound parameters, instructions, demos and models do not reach the LM request",
    ),
    Internal(
        "Predict.__dict__: traces, train, stage",
        "what else Predict keeps there",
        "publish reports them as changes that it cannot write",
    ),
    Internal(
        "Predict._forward_preprocess",
        "takes the arguments signature, demos, config, lm and new_signature out of a call's",
        "an input field of such a name is refused for nothing, or silently lost",
    ),
    Internal(
        "Predict._forward_postprocess",
        "appends each answer, with its signature, to the trace; overridden in overlay/classes.py",
        "a process keeps a signature class for each text that a variable had",
    ),
    Internal("Module.__dict__: history, callbacks", "what is no part of a program", "comparing programs walks it"),
    Internal(
        "BaseLM.__dict__: history, callbacks, kwargs, model",
        "what copies of an LM share with it, and what it sends",
        "a switched model loses its history or its settings",
    ),
    Internal(
        "dspy.signatures.signature.ensure_signature",
        "makes a signature of a text",
        "serve_program(signature='…') and VariableModule take no text",
    ),
    Internal(
        "field.json_schema_extra: desc, prefix",
        "where a field of a signature has its description; `${name}` if nobody gave one",
        "bound field descriptions are not read, served programs describe no field",
    ),
    Internal(
        "counts: max_iters or max_iterations, N, max_llm_calls, max_output_chars",
        "attributes of DSPy's agents, BestOfN, Refine and RLM that count",
        "such an attribute can follow a variable of 0 or -1",
    ),
)


def field_description(field: Any) -> str | None:
    """The description of a signature's field; None if it has none."""
    found: str | None = (field.json_schema_extra or {}).get("desc")
    return found


def field_prefix(field: Any) -> str | None:
    """The prefix of a signature's field, which no adapter sends."""
    found: str | None = (field.json_schema_extra or {}).get("prefix")
    return found


def standard_description(name: str) -> str:
    """The description that DSPy gives to a field without one."""
    return f"${{{name}}}"


# Classes that not every DSPy has ---------------------------------------------

ReActV2: Any = getattr(dspy, "ReActV2", None)
RLM: Any = getattr(dspy, "RLM", None)
Flex: Any = getattr(dspy, "Flex", None)
CodeAct: Any = getattr(dspy, "CodeAct", None)
ProgramOfThought: Any = getattr(dspy, "ProgramOfThought", None)

READERS: Mapping[str, tuple[Any, ...]] = {
    DEMOS: (dspy.Predict,),
    LM: (dspy.Predict,) if Flex is None else (dspy.Predict, Flex),
}
"""The classes of which DSPy itself reads an attribute of this name."""


def installed(names: Iterable[str]) -> dict[str, Any]:
    """Those of DSPy's names that the installed one has."""
    return {name: getattr(dspy, name) for name in names if hasattr(dspy, name)}


def defined_by_dspy(cls: type) -> bool:
    """Whether DSPy defines a class."""
    return cls.__module__.partition(".")[0] == PACKAGE


_OPTIONAL = (
    Internal("dspy.ReActV2", "an agent with native tool calls", "it cannot be bound or parallel", _FROM_3_3),
    Internal("dspy.RLM", "an agent that writes code", "it cannot be bound by class"),
    Internal("dspy.Flex", "a module that makes its predictors in each call", "it cannot be bound", _FROM_3_3),
    Internal("dspy.CodeAct", "an agent that runs its tools' source; deprecated", "it cannot be bound by class"),
    Internal("dspy.ProgramOfThought", "a module that writes code; deprecated", "it cannot be bound by class"),
)

# Agents ----------------------------------------------------------------------

Tools = Mapping[str, Any]

SCAFFOLDED = tuple(installed(["ReAct", "ReActV2", "RLM", "CodeAct", "ProgramOfThought"]).values())
"""DSPy's modules that write the prompts of their predictors around the task."""

AGENT_MARKER = "\n\nYou are an Agent."
"""Where in such a prompt the task ends."""

NEXT_TOOL = "next_tool_name"
"""The output field of ReAct's predictor, with the names of the tools as its type."""


@dataclass(frozen=True, slots=True)
class Agent:
    """How a class of agents keeps its tools.

    Attributes:
        cls: the class, with its subclasses.
        attribute: where it keeps them, by name.
        predictor: the predictor whose prompt lists them.
        fixed: the tools that it adds itself and cannot do without.
        text: what that prompt says of them.
    """

    cls: type
    attribute: str
    predictor: str
    fixed: frozenset[str]
    text: Callable[[Tools], str]


def _numbered(tools: Tools) -> str:
    return "\n".join(f"({number}) {tool}" for number, tool in enumerate(tools.values(), 1))


def _named(tools: Tools) -> str:
    return f"The available tools are: {', '.join(f'`{name}`' for name in tools)}."


def _documented(tools: Tools) -> str:
    text: str = RLM._format_tool_docs(None, tools)  # noqa: SLF001 - the only place that has it
    return text


AGENTS = [Agent(dspy.ReAct, "tools", "react", frozenset({"finish"}), _numbered)]
if ReActV2 is not None:
    AGENTS.append(Agent(ReActV2, "tools", "react", frozenset({"submit"}), _named))
if RLM is not None:
    AGENTS.append(Agent(RLM, "_user_tools", "generate_action", frozenset(), _documented))


def validate_tools(module: Any, tools: Tools) -> None:
    """Has an agent check names of tools, if it does. Raises ValueError."""
    validate = getattr(module, "_validate_namespace", None) or getattr(module, "_validate_tools", None)
    if validate is not None:
        validate(tools)


def inner_predictor(chain: Any) -> Any:
    """The predictor of a ChainOfThought."""
    return chain.predict


def inner_module(attempts: Any) -> Any:
    """The module that a BestOfN or a Refine tries."""
    return attempts.module


_AGENT_INTERNALS = (
    Internal(
        "ReAct: tools, react, finish, next_tool_name",
        "its tools by name, the predictor that lists them as `(1) …`, and the tool that it adds",
        "bound tools do not reach ReAct, or its prompt lists others",
    ),
    Internal(
        "ReActV2: tools, react, submit",
        "the same of ReActV2, whose prompt names them in one line",
        "bound tools do not reach ReActV2, or its prompt lists others",
        _FROM_3_3,
    ),
    Internal(
        "ReActV2._execute_tool_calls",
        "runs the tool calls of one step; overridden in agents/parallel_agent.py",
        "ParallelReActV2 runs remote tools one after another",
        _FROM_3_3,
    ),
    Internal(
        "ReActV2._aexecute_tool_calls",
        "the same, awaited; overridden there too",
        "an awaited ParallelReActV2 runs remote tools one after another",
        _ONLY_3_4,
    ),
    Internal(
        "RLM._user_tools, generate_action, _format_tool_docs",
        "its tools by name, the predictor that lists them, and the text of the list",
        "bound tools do not reach RLM, or its prompt lists others",
    ),
    Internal(
        "RLM._validate_namespace or _validate_tools",
        "checks the names of tools; the first since 3.3",
        "a tool whose name RLM cannot use is bound, and fails in a call",
    ),
    Internal(
        "the instructions of an agent's predictor",
        "the task, then `You are an Agent.`",
        "bound instructions of an agent replace the prompt that DSPy wrote around the task",
    ),
    Internal(
        "CodeAct.aforward",
        "inherited from ReAct, and unusable",
        "awaiting a CodeAct fails, instead of running in a thread",
    ),
    Internal(
        "CodeAct._build_instructions",
        "where its constructor asks each tool for its text",
        "a CodeAct with a remote tool is made, and fails in a call",
    ),
    Internal(
        "ChainOfThought.predict, BestOfN.module, Refine.module",
        "the module inside",
        "serve_program does not find the fields of such a program",
    ),
    Internal(
        "Tool: args, func, has_kwargs, format_as_litellm_function_call",
        "what a tool is called with, and what native function calling sends",
        "served dspy.Tools have no schema; a model sees optional arguments of remote tools as required",
    ),
)

# Optimizers and streams ------------------------------------------------------

_OPTIMIZERS = (
    Internal(
        "dspy.teleprompt.Teleprompter.compile",
        "the base of optimizers, and the method that each of them has",
        "compiling a live program does not warn",
    ),
    Internal(
        "dspy.streaming: StreamListener, StreamResponse, StatusMessage",
        "what listens for a field while it is written, and what a stream yields",
        "served programs do not stream",
    ),
)

# Classes that envelopes hold -------------------------------------------------

PLACES: Mapping[str, Mapping[str, str]] = {
    "models": {
        "History": "dspy:History",
        "Image": "dspy:Image",
        "Audio": "dspy:Audio",
        "File": "dspy:File",
        "Reasoning": "dspy:Reasoning",
        "Code": "dspy:Code",
        "ToolCall": "dspy:ToolCalls.ToolCall",
        "ToolCalls": "dspy:ToolCalls",
        "ToolCallResult": "dspy:ToolCallResults.ToolCallResult",
        "ToolCallResults": "dspy:ToolCallResults",
        "Citation": "dspy.adapters.types.citation:Citations.Citation",
        "Citations": "dspy.adapters.types.citation:Citations",
        "Document": "dspy.adapters.types.document:Document",
        "Noul": "dspy.adapters.types.decision:Noul",
        "Score": "dspy.adapters.types.decision:Score",
        "Choice": "dspy.adapters.types.decision:Choice",
        "REPLVariable": "dspy.primitives.repl_types:REPLVariable",
        "REPLEntry": "dspy.primitives.repl_types:REPLEntry",
        "REPLHistory": "dspy.primitives.repl_types:REPLHistory",
    },
    "dataclasses": {
        "StreamResponse": "dspy.streaming.messages:StreamResponse",
        "StatusMessage": "dspy.streaming.messages:StatusMessage",
    },
    "mappings": {"AttributeDict": "dspy.clients.call_result:AttributeDict"},
    "records": {
        "Prediction": "dspy:Prediction",
        "Example": "dspy:Example",
        "EvaluationResult": "dspy.evaluate.evaluate:EvaluationResult",
    },
}
"""Where DSPy's classes are that an envelope has a tag for, by how they are written."""

FIELDS, EXAMPLE_DEMOS, INPUT_KEYS = "_store", "_demos", "_input_keys"
"""Keys of `Example.__dict__`, which those of a `Prediction` are too."""

COMPLETIONS, USAGE = "_completions", "_lm_usage"
"""Keys of `Prediction.__dict__`."""


def find_class(place: str) -> Any:
    """The class at a place; None if the installed DSPy has none there."""
    module, _, names = place.partition(":")
    try:
        return attrgetter(names)(import_module(module))
    except (ImportError, AttributeError):
        return None


_ENVELOPES = (
    Internal("Example.__dict__: _store, _demos, _input_keys", "what an Example holds", "dump and load fail on it"),
    Internal("Prediction.__dict__: _completions, _lm_usage", "what a Prediction adds", "dump and load fail on it"),
    Internal(
        "Code.language and classes made by subscription",
        'Code["sql"] and the like are subclasses of one base in the same module',
        "values of such a class are refused as a user's own",
    ),
    *(
        Internal(place, f"the class behind the tag {tag}", f"envelopes with {tag} are refused: upgrade dspy", seen)
        for places in PLACES.values()
        for tag, place in places.items()
        for seen in [
            _FROM_3_3
            if tag.startswith("ToolCallResult")
            else _ONLY_3_4
            if tag in {"Noul", "Score", "Choice", "AttributeDict"}
            else _ALL
        ]
    ),
)

INTERNALS = (*_SETTINGS, *_PREDICT, *_OPTIONAL, *_AGENT_INTERNALS, *_OPTIMIZERS, *_ENVELOPES)
"""All of them."""
