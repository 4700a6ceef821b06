"""A program as a tool: any process calls it by name, and gets the envelope of its Prediction."""

from __future__ import annotations

import contextvars
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import dspy

from snakepit_bridge._client.current_call import current_call
from snakepit_bridge._client.transport import ASYNCIO, in_thread
from snakepit_bridge._tools.models import Tool, ToolResult
from snakepit_bridge._variables.values import MAX_DEPTH
from snakepit_bridge.dspy_integration._dspy_internals import OF_A_CALL, RLM, thread_local_overrides
from snakepit_bridge.dspy_integration.agents.remote_tool import PROGRAM, RemoteTool
from snakepit_bridge.dspy_integration.overlay.call_context import KEY
from snakepit_bridge.dspy_integration.overlay.entry_points import has_aforward
from snakepit_bridge.dspy_integration.programs.arguments import ProgramArguments, result_schema
from snakepit_bridge.dspy_integration.programs.fields import fields_of
from snakepit_bridge.dspy_integration.programs.streaming import Listeners, Streaming, listeners_of
from snakepit_bridge.dspy_integration.serialization import dump
from snakepit_bridge.dspy_integration.targets.toolsets import agent_of
from snakepit_bridge.exceptions import InvalidRequestError
from snakepit_bridge.session_context import SessionContext, session_of

# The second is for tools that a variable brings in: those known before decide how a program is called.
_TRACKED = {"track_usage": True, "allow_tool_async_sync_conversion": True}


@dataclass(frozen=True, slots=True)
class Served:
    """A program, and what it takes to run it as a tool.

    Attributes:
        settings: DSPy's, as they are where the program is served: an LM, an adapter, callbacks.
        streaming: what of its output is streamed; None: nothing.
        in_thread: whether it runs in a thread of its own, as it cannot be awaited, or would block the event loop.
    """

    name: str
    program: Any
    arguments: ProgramArguments
    settings: Mapping[str, Any]
    streaming: Streaming | None
    in_thread: bool

    async def call(self, **arguments: Any) -> Any:
        """Runs the program. What it is run with are the arguments alone, whatever their names."""
        values = self.arguments.read(arguments)
        with dspy.context(**self.settings, trace=[]):
            return self._dumped(await (self._in_thread(values) if self.in_thread else self.program.acall(**values)))

    async def _in_thread(self, values: dict[str, Any]) -> Any:
        # One of its own, as dspy.asyncify has but eight for the whole process.
        context = contextvars.copy_context()
        run = functools.partial(context.run, self.program, **values)
        return await ASYNCIO.result(in_thread(run, "snakepit-program"), None)

    async def stream(self, **arguments: Any) -> AsyncGenerator[Any, None]:
        """Runs the program and yields what it says meanwhile, if the caller wants that; the result comes last."""
        running = current_call()
        if self.streaming is None or (running is not None and not running.wants_chunks):
            yield ToolResult(await self.call(**arguments))
            return
        values = self.arguments.read(arguments)
        settings = {**self.settings, "trace": []}
        async with aclosing(self.streaming.run(self.program, values, settings, in_thread=self.in_thread)) as said:
            async for item in said:
                yield ToolResult(self._dumped(item)) if isinstance(item, dspy.Prediction) else dump(item)

    def _dumped(self, result: Any) -> Any:
        dumped = dump(result)
        if _depth(dumped) > MAX_DEPTH:
            parts = dumped["fields"] if isinstance(dumped, dict) and isinstance(dumped.get("fields"), dict) else {}
            where = max(parts, key=lambda name: _depth(parts[name]), default="")
            field = f", in its {where}" if where else ""
            raise InvalidRequestError(
                f"the answer of {self.name!r} nests {_depth(dumped)} levels deep{field}, and no more than {MAX_DEPTH} "
                "can be sent: flatten it, or give it as text",
                {"field": where, "tool": self.name},
            )
        return dumped


def _blocks(program: Any) -> bool:
    """Whether awaiting a program keeps its event loop from everything else, or is not possible.

    An RLM runs its code that way, and an agent its plain functions; unless others of its tools can only be awaited.
    """
    modules = [module for _, module in program.named_sub_modules(type_=dspy.Module)]
    if not has_aforward(program) or any(RLM is not None and isinstance(one, RLM) for one in modules):
        return True
    agents = [(module, agent_of(module)) for module in modules]
    tools = [
        tool
        for module, agent in agents
        if agent is not None
        for name, tool in vars(module)[agent.attribute].items()
        if name not in agent.fixed
    ]
    awaited = any(_is_async(tool.func) for tool in tools)
    return not awaited and any(not isinstance(tool, RemoteTool) for tool in tools)


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _depth(value: Any) -> int:
    """How deep lists and dicts nest."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


@dataclass(frozen=True, slots=True)
class Offer:
    """What to give to `ctx.offer`."""

    function: Callable[..., Any]
    options: dict[str, Any]


def offer_of(
    name: str,
    program: Any,
    *,
    description: str | None = None,
    signature: Any = None,
    concurrency: int | None = None,
    timeout: float | None = 300.0,
    stream: Listeners | None = None,
    everywhere: bool = False,
    idempotent: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> Offer:
    """A program as something to offer; arguments and errors as of `serve_program`."""
    fields = fields_of(program, signature)
    arguments = ProgramArguments(fields)
    settings = {**thread_local_overrides.get(), KEY: None, **OF_A_CALL, **_TRACKED}
    # Each call has its own: what was traced would be kept for as long as this process serves.
    settings.pop("trace", None)
    served = Served(
        name=name,
        program=program,
        arguments=arguments,
        settings=settings,
        streaming=listeners_of(program, stream, fields) if stream else None,
        in_thread=_blocks(program),
    )
    options = {
        "name": name,
        "description": fields.description if description is None else description,
        "arguments_schema": arguments.schema,
        "result_schema": result_schema(fields),
        "max_concurrency": concurrency,
        "timeout": timeout,
        "everywhere": everywhere,
        "idempotent": idempotent,
        "metadata": {**(metadata or {}), "kind": PROGRAM},
    }
    return Offer(served.call if served.streaming is None else served.stream, options)


def offer_of_tool(tool: Any) -> Offer:
    """A `dspy.Tool` as something to offer: DSPy converts and checks its arguments as ever."""

    async def acall(**arguments: Any) -> Any:
        return await tool.acall(**arguments)

    def call(**arguments: Any) -> Any:
        return tool(**arguments)

    schema = {
        "type": "object",
        "properties": tool.args,
        "required": [name for name, said in tool.args.items() if "default" not in said],
        "additionalProperties": tool.has_kwargs,
    }
    options = {"name": tool.name, "description": tool.desc or "", "arguments_schema": schema}
    return Offer(acall if _is_async(tool.func) else call, options)


class Options(TypedDict, total=False):
    """What may be said about a program that is served; `serve_program` says what each is."""

    description: str | None
    signature: Any
    concurrency: int | None
    timeout: float | None
    stream: Listeners | None
    everywhere: bool
    idempotent: bool
    metadata: Mapping[str, str] | None


def serve_program(session: Any, name: str, program: Any, **options: Unpack[Options]) -> Tool:
    """Offers a program as a tool, and serves it in the background until the context is closed or it is withdrawn.

    Its arguments are the program's input fields; what they have to be the server checks. Its result is what `sb.dump`
    gives of the Prediction: fields, completions, usage, revision, and with an agent the trajectory. In Python
    `sb.load(await ctx.call_tool(name, question="..."))` is the Prediction again.

    Calls run at the same time, each with one snapshot if the program is bound, and with those settings of DSPy that
    were in effect here: `dspy.configure`, and a `dspy.context` around this. A program that cannot be awaited, or would
    block its event loop, runs in a thread per call (if it streams, in one of `dspy.settings.async_max_workers`); such a
    thread goes on when its call is cancelled.

    Args:
        session: a SessionContext or its blocking twin.
        name: the tool's name.
        program: any `dspy.Module`, bound or not.
        **options: all may be left out.
            description: what it is for; else the instructions of its signature, or the docstring of its class.
            signature: its fields, where neither a signature of the program's own nor the parameters of its `forward`
                tell; as DSPy writes it, "question: str -> answer: str", or a class.
            concurrency: how many calls run at once here; else as many as this context takes in all.
            timeout: how many seconds a call may take, 300 unless given; None: as long as its caller says.
            stream: output fields to stream while they are written ("answer", or "draft.answer" for that of the
                predictor `draft`), True for all, or a function that makes DSPy's stream listeners, anew for each call.
                Chunks are what `sb.dump` gives of DSPy's StreamResponse and StatusMessage.
            everywhere: whether every session has the tool.
            idempotent: whether calling it twice does no harm, so that the server may try again.
            metadata: labels of the tool. Its "kind" is "dspy.program".

    Raises:
        BindingError: this is no program, or it cannot be told what it takes or streams.
        ToolExistsError: another tool of that name is offered.
    """
    offer = offer_of(name, program, **options)
    return SessionContext(session_of(session)).blocking.offer(offer.function, **offer.options)


async def serve_program_async(session: Any, name: str, program: Any, **options: Unpack[Options]) -> Tool:
    """`serve_program`, without blocking the running loop, in which the calls run."""
    offer = offer_of(name, program, **options)
    return await SessionContext(session_of(session)).offer(offer.function, **offer.options)
