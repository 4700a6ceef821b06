"""A function declared as a tool: what the server is told of it, and how it is run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from snakepit_bridge._tools.models import Retry
from snakepit_bridge._tools.schema import Signature, defined, described, signature
from snakepit_bridge._tools.wire import duration, retry_to_wire, schema_text
from snakepit_bridge.exceptions import InvalidRequestError
from snakepit_bridge.v1 import tool_pb2 as pb

__all__ = ["Declared", "Kind", "declare"]

Kind = Literal["function", "coroutine", "generator", "async_generator"]


@dataclass(frozen=True, slots=True, eq=False)
class Declared:
    """One function as one tool.

    Attributes:
        signature: None if its schema was given: then arguments are passed as they arrive.
        everywhere: whether it is offered to all sessions.
        traceback: whether its callers are told where it failed.
    """

    spec: pb.ToolSpec
    function: Callable[..., Any]
    kind: Kind
    signature: Signature | None
    everywhere: bool
    traceback: bool

    @property
    def name(self) -> str:
        """The tool's name."""
        return self.spec.name


def declare(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    description: str | None = None,
    idempotent: bool = False,
    timeout: float | None = None,
    retry: Retry | None = None,
    max_concurrency: int | None = None,
    metadata: Mapping[str, str] | None = None,
    traceback: bool = False,
    arguments_schema: Mapping[str, Any] | str | None = None,
    result_schema: Mapping[str, Any] | str | None = None,
    everywhere: bool = False,
) -> Declared:
    """Reads a function, and what is said about it.

    Raises:
        InvalidRequestError: it has no name, or takes arguments of which there is no schema.
        TypeError: it is not callable.
    """
    if not callable(function):
        raise TypeError(f"a tool is a function, not {function!r}; use @ctx.tool or @ctx.tool(name=…, …)")
    named = name or _name(function)
    text, descriptions = described(function)
    read = None if arguments_schema is not None else signature(function, named, descriptions)
    kind = _kind(function)
    if max_concurrency is not None and max_concurrency < 1:
        raise InvalidRequestError(
            f"tool {named!r}: max_concurrency={max_concurrency!r}: wanted 1 or more, or None",
            {"tool": named, "field": "max_concurrency"},
        )
    spec = pb.ToolSpec(
        name=named,
        description=text if description is None else description,
        arguments_schema=schema_text(arguments_schema if read is None else read.arguments, "arguments_schema"),
        result_schema=schema_text(read.result if result_schema is None and read else result_schema, "result_schema"),
        streaming=kind in {"generator", "async_generator"},
        idempotent=idempotent,
        timeout=None if timeout is None else duration(timeout, "timeout"),
        retry=None if retry is None else retry_to_wire(retry),
        max_concurrency=max_concurrency or 0,
        metadata=dict(metadata or {}),
    )
    return Declared(spec, function, kind, read, everywhere, traceback)


def _name(function: Callable[..., Any]) -> str:
    written = defined(function)
    name: str = getattr(written, "__name__", "")
    if not name or name in {"<lambda>", "__call__"}:
        raise InvalidRequestError(f"{function!r} has no name of its own; give it one with name=", {"field": "name"})
    return name


def _kind(function: Callable[..., Any]) -> Kind:
    written = defined(function)
    if inspect.isasyncgenfunction(written):
        return "async_generator"
    if inspect.iscoroutinefunction(written):
        return "coroutine"
    return "generator" if inspect.isgeneratorfunction(written) else "function"
