"""Tools that run in other processes, as DSPy's own: `sb.remote_tools(ctx)`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import dspy
from pydantic import PrivateAttr

from snakepit_bridge._tools.models import Tool
from snakepit_bridge.dspy_integration._dspy_internals import CodeAct, with_callbacks
from snakepit_bridge.dspy_integration.agents.errors import for_agents
from snakepit_bridge.dspy_integration.agents.tool_arguments import Arguments
from snakepit_bridge.dspy_integration.serialization.walk import TAG
from snakepit_bridge.exceptions import BindingError, ToolNotFoundError
from snakepit_bridge.session_context import SessionContext, session_of

PROGRAM = "dspy.program"
"""The `kind` that a served program has in its tool's metadata."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A tool, and how to call it."""

    context: SessionContext
    tool: Tool
    arguments: Arguments
    timeout: float | None

    def call(self, given: dict[str, Any], known_as: str) -> Any:
        """Calls it, in this thread. Raises what agents may see; `known_as` is the tool's name there."""
        try:
            calling = self.context.blocking.options(timeout=self.timeout)
            return _for_agents(self.tool, calling.call_tool(self.tool.name, **self.arguments.given(given)))
        except Exception as error:
            raise for_agents(error, known_as) from None

    async def acall(self, given: dict[str, Any], known_as: str) -> Any:
        """Calls it, in the running loop."""
        try:
            calling = self.context.options(timeout=self.timeout)
            return _for_agents(self.tool, await calling.call_tool(self.tool.name, **self.arguments.given(given)))
        except Exception as error:
            raise for_agents(error, known_as) from None


class RemoteTool(dspy.Tool):
    """A tool that some other process offers, for DSPy's agents. Made by `remote_tools`.

    Called as any `dspy.Tool`, with `()` and `acall`, from every thread and event loop; calls of it run at the same
    time. The server checks the arguments; DSPy does not. Arguments that are None where only leaving them out can be
    meant are left out. Of a program that is served as a tool it gives the output fields.

    What it raises is a `BridgeError` and whatever the remote exception was, and tells a language model one sentence,
    without a traceback.

    Copies share the session. It cannot be pickled. `tool.name = "other"` is how an agent will know it.
    """

    _remote: Remote = PrivateAttr()

    def __init__(self, remote: Remote) -> None:
        tool, arguments = remote.tool, remote.arguments
        description = " ".join(part for part in (tool.description, arguments.hint) if part)
        super().__init__(
            _function(remote, description),
            name=tool.name,
            desc=description,
            args=arguments.schemas,
            arg_types=arguments.types,
            arg_desc=arguments.descriptions,
        )
        self._remote = remote

    # DSPy's decorator has parameters of its own, whose names are thus taken; an argument may have any name.

    def __call__(self, /, **kwargs: Any) -> Any:
        """Calls the tool and waits, in this thread."""
        return self._call(kwargs)

    async def acall(self, /, **kwargs: Any) -> Any:
        """Calls the tool; cancelling this cancels the call."""
        return await self._acall(kwargs)

    @with_callbacks  # type: ignore[untyped-decorator]
    def _call(self, kwargs: dict[str, Any]) -> Any:
        return self._remote.call(kwargs, self._known_as)

    @with_callbacks  # type: ignore[untyped-decorator]
    async def _acall(self, kwargs: dict[str, Any]) -> Any:
        return await self._remote.acall(kwargs, self._known_as)

    @property
    def _known_as(self) -> str:
        name: str | None = self.name
        return name or self._remote.tool.name

    def format_as_litellm_function_call(self) -> dict[str, Any]:
        """What native function calling sends: with what is required, which DSPy takes all for that has no default."""
        function = {"name": self.name, "description": self.desc, "parameters": self._remote.arguments.schema}
        return {"type": "function", "function": function}

    def __str__(self) -> str:
        _refuse_code_act(self._known_as)
        text: str = super().__str__()
        return text

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"the remote tool {self._known_as!r} holds a live connection and cannot be pickled; connect where it is "
            "wanted, and take it there with sb.remote_tools(ctx)"
        )


def remote_tools(session: Any, names: Iterable[str] | None = None, *, timeout: float | None = None) -> list[RemoteTool]:
    """The tools of a session, for a DSPy agent: `dspy.ReAct("question -> answer", tools=sb.remote_tools(ctx))`.

    The list is read once, now. A tool offered later is not in it; a tool withdrawn later stays in it, and calling it
    fails. An agent's tools change with a variable: `sb.bind(agent, {"tools": "toolset"}, tools=sb.remote_tools(ctx))`.

    A tool set gives the model names: those with a dot or a hyphen suit neither `dspy.RLM` nor every provider. Give such
    a tool another name by setting its `name`.

    Args:
        session: a SessionContext or its blocking twin.
        names: which tools, in this order; None: all that the session can call, by name.
        timeout: how many seconds a call may take; the tool's own limit still holds.

    Raises:
        ToolNotFoundError: there is no tool of one of the names.
    """
    context = SessionContext(session_of(session))
    return _chosen(context, context.blocking.list_tools(), names, timeout)


async def remote_tools_async(
    session: Any,
    names: Iterable[str] | None = None,
    *,
    timeout: float | None = None,  # noqa: ASYNC109 - of the calls made later
) -> list[RemoteTool]:
    """`remote_tools`, without blocking the running loop."""
    context = SessionContext(session_of(session))
    return _chosen(context, await context.list_tools(), names, timeout)


def _chosen(
    context: SessionContext, listed: Iterable[Tool], names: Iterable[str] | None, timeout: float | None
) -> list[RemoteTool]:
    known = {tool.name: tool for tool in listed}
    wanted = known if names is None else [names] if isinstance(names, str) else dict.fromkeys(names)
    for name in wanted:
        if name not in known:
            offered = f"it has {', '.join(known)}" if known else "it has none"
            raise ToolNotFoundError(f"the session can call no tool {name!r}: {offered}", {"tool": name})
    tools = [known[name] for name in wanted]
    return [RemoteTool(Remote(context, tool, Arguments.of(tool.arguments_schema), timeout)) for tool in tools]


def _function(remote: Remote, description: str) -> Callable[..., Any]:
    """The plain function that DSPy wants a tool to have, with the signature that its interpreters read."""

    def call(**kwargs: Any) -> Any:
        return remote.call(kwargs, remote.tool.name)

    named: Any = call
    named.__name__ = named.__qualname__ = remote.tool.name
    named.__doc__ = description
    named.__signature__ = remote.arguments.signature
    named.__annotations__ = {}
    return call


def _for_agents(tool: Tool, result: Any) -> Any:
    """What a model gets to read of a result: of a program's the declared outputs, not its trajectory and usage."""
    if tool.metadata.get("kind") != PROGRAM or not isinstance(result, dict) or result.get(TAG) != "Prediction":
        return result
    fields = result.get("fields")
    if not isinstance(fields, dict):
        return result
    declared: Any = tool.result_schema
    for key in ("properties", "fields", "properties"):
        declared = declared.get(key) if isinstance(declared, dict) else None
    return {name: value for name, value in fields.items() if name in declared} if declared else fields


def _refuse_code_act(tool: str) -> None:
    """Refuses a CodeAct that writes its prompt: its constructor, which asks no tool anything else."""
    writer = sys._getframe(2).f_locals.get("self")  # noqa: SLF001 - what inspect.currentframe calls
    if CodeAct is not None and isinstance(writer, CodeAct):
        raise BindingError(
            f"CodeAct cannot use the remote tool {tool!r}: it runs a copy of a tool's source in its own sandbox, and "
            "this tool's source is in another process. Use dspy.ReAct or dspy.RLM",
            {"tool": tool},
        )
