"""What is to be served, found by its name."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from snakepit_bridge.exceptions import BridgeError
from snakepit_bridge.session_context import SessionContext

_CONTEXT_NAMES = ("ctx", "context", "session")
_FACTORY = (
    "a function without arguments, or with `ctx` alone, makes what is to be served: a dspy.Module, a dspy.Tool or a "
    "function with arguments. To offer such a function itself, make it a dspy.Tool"
)


class TargetError(Exception):
    """What is to be served is not there, or is nothing to serve."""


def find(reference: str) -> Any:
    """What `package.module:attribute` names.

    Raises:
        TargetError: there is no such thing, or importing its module fails.
    """
    module_name, _, attribute = reference.partition(":")
    found = _imported(module_name)
    for name in attribute.split("."):
        if not hasattr(found, name):
            near = get_close_matches(name, dir(found), 1)
            raise TargetError(f"{reference}: there is no {name!r}" + (f"; is it {near[0]!r}?" if near else ""))
        found = getattr(found, name)
    return found


def made(reference: str, found: Any, context: SessionContext) -> Any:
    """What is to be served: a program, a dspy.Tool or a function, made now if `found` makes it.

    Raises:
        TargetError: it is none, or making it fails.
        BridgeError: making it asked the server, in vain.
    """
    if is_program(found) or is_tool(found):
        return found
    if not callable(found):
        raise TargetError(f"{reference} is a {type(found).__name__}, which is neither a program nor a tool")
    arguments = _arguments_for(found, context)
    if arguments is None:
        return found
    result = _made(reference, found, arguments)
    if is_program(result) or is_tool(result) or (callable(result) and _arguments_for(result, context) is None):
        return result
    if inspect.iscoroutine(result):
        result.close()
    raise TargetError(f"{reference}() gave a {type(result).__name__}; {_FACTORY}")


def is_program(thing: Any) -> bool:
    """Whether it is a dspy.Module. DSPy is never imported for this: without it, nothing can be one."""
    dspy = sys.modules.get("dspy")
    return dspy is not None and isinstance(thing, dspy.Module)


def is_tool(thing: Any) -> bool:
    """Whether it is a dspy.Tool."""
    dspy = sys.modules.get("dspy")
    return dspy is not None and isinstance(thing, dspy.Tool)


def call(reference: str) -> None:
    """Calls a function that sets things up.

    Raises:
        TargetError: there is none, or it fails.
    """
    function = find(reference)
    if not callable(function):
        raise TargetError(f"{reference} is a {type(function).__name__}, not a function")
    _made(reference, function, ())


def _arguments_for(function: Callable[..., Any], context: SessionContext) -> tuple[Any, ...] | None:
    """What to call a function with that makes something; None if it is a tool itself."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    if inspect.isclass(function):
        # The others have defaults.
        parameters = [one for one in parameters if one.default is one.empty and one.kind not in _VARIADIC]
    if not parameters:
        return ()
    return (context,) if len(parameters) == 1 and parameters[0].name in _CONTEXT_NAMES else None


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise TargetError(f"there is no module {error.name!r}, from this directory or installed") from None
        raise TargetError(f"cannot import {name}: {_what(error)}") from None
    except (Exception, SystemExit) as error:
        raise TargetError(f"cannot import {name}: {_what(error)}") from None


def _made(reference: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return function(*arguments)
    except (Exception, SystemExit) as error:
        if isinstance(error, BridgeError) and arguments:
            raise
        raise TargetError(f"{reference}() failed: {_what(error)}") from None


def _what(error: BaseException) -> str:
    """An exception in one line, with where it was raised."""
    said = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    where = next((frame for frame in reversed(frames) if not frame.filename.startswith("<frozen")), None)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {said}"
    place = f" ({where.filename}:{where.lineno})" if where is not None else ""
    return f"{type(error).__name__}: {said}{place}" if said else f"{type(error).__name__}{place}"
