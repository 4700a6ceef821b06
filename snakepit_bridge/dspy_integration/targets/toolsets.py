"""Which tools an agent has: those that a variable names, in its order, of the ones that the binding knows.

DSPy writes an agent's tools into its prompt when it is made, and for `ReAct` into the type of `next_tool_name`. So a
tool set gives both: the tools that a call finds, and the signature that says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal

import dspy

from snakepit_bridge.dspy_integration._dspy_internals import AGENTS, NEXT_TOOL, Agent, CodeAct, Tools, validate_tools
from snakepit_bridge.dspy_integration.targets.generation import Fit
from snakepit_bridge.exceptions import BindingError


def agent_of(module: Any) -> Agent | None:
    """How a module keeps its tools; None if it is no agent whose tools can change."""
    if CodeAct is not None and isinstance(module, CodeAct):
        # It ships the source of its tools into its sandbox, and is a ReAct by inheritance only.
        return None
    return next((agent for agent in AGENTS if isinstance(module, agent.cls)), None)


class ToolSet:
    """The tools of an agent at one value of a variable. Immutable.

    Attributes:
        tools: what the agent finds, by name: the chosen ones, then those it adds itself.
        attribute: where the agent looks for them.
    """

    __slots__ = ("_agent", "_before", "attribute", "tools")

    def __init__(self, agent: Agent, before: Tools, chosen: Tools) -> None:
        self._agent = agent
        self._before = before
        self.attribute = agent.attribute
        self.tools = dict(chosen)

    def __repr__(self) -> str:
        return repr([name for name in self.tools if name not in self._agent.fixed])

    def rewrite(self, signature: Any) -> Any:
        """The signature of the agent's predictor, with these tools in place of the ones it was made with."""
        return _rewritten(signature, self._agent.text(self._before), self._agent.text(self.tools), tuple(self.tools))


@lru_cache(maxsize=64)
def _rewritten(signature: Any, before: str, after: str, names: tuple[str, ...]) -> Any:
    text: str = signature.instructions
    if before and before in text:
        text = text.replace(before, after, 1)
    elif after and after not in text:
        # An optimizer wrote this prompt: it may say anything of the tools, so these come last.
        text = f"{text.rstrip()}\n{after.lstrip()}"
    if NEXT_TOOL in signature.output_fields:
        signature = signature.with_updated_fields(NEXT_TOOL, type_=Literal[names])
    return signature if signature.instructions == text else signature.with_instructions(text)


def tools_fit(agent: Agent, module: Any, table: Iterable[Any] | Tools | None, path: str) -> Fit:
    """What the tools of an agent may follow: a list of names of the tools it was made with, and of those in `table`.

    Raises:
        BindingError: something in the table is no tool, or its name is taken or not one that the agent takes.
    """
    before: Tools = dict(vars(module)[agent.attribute])
    known = {name: tool for name, tool in before.items() if name not in agent.fixed}
    for name, tool in _tools_in(table, path).items():
        if name in agent.fixed:
            raise BindingError(f"tools= of {path!r}: {name!r} is the agent's own; give the tool another name")
        known[name] = tool
    try:
        validate_tools(module, known)
    except ValueError as error:
        raise BindingError(f"tools= of {path!r}: {error}", {"path": path}) from None
    fixed = {name: tool for name, tool in before.items() if name in agent.fixed}

    def coerce(value: Any) -> ToolSet:
        if not isinstance(value, list) or len(set(map(str, value))) != len(value):
            raise ValueError(value)
        if not all(isinstance(name, str) and name in known for name in value):
            raise ValueError(value)
        return ToolSet(agent, before, {name: known[name] for name in value} | fixed)

    return Fit(frozenset({"list"}), f"a list of different names out of {', '.join(known) or 'none'}", coerce)


def _tools_in(table: Iterable[Any] | Tools | None, path: str) -> dict[str, Any]:
    if table is None:
        return {}
    found: dict[str, Any] = {}
    named = table.items() if isinstance(table, Mapping) else ((None, tool) for tool in table)
    for name, given in named:
        if not isinstance(given, dspy.Tool) and not callable(given):
            raise BindingError(f"tools= of {path!r}: {given!r} is neither a function nor a dspy.Tool", {"path": path})
        if isinstance(given, dspy.Tool):
            tool = given if name in {None, given.name} else given.model_copy(update={"name": name})
        else:
            tool = dspy.Tool(given, name=name)
        if tool.name in found:
            raise BindingError(f"tools= of {path!r}: there are two tools named {tool.name!r}", {"path": path})
        found[tool.name] = tool
    return found
