"""What an agent is told when a remote tool fails: one sentence.

DSPy's agents show a language model an exception with the last frames of its traceback. Frames of a remote tool are our
own, and tell a model nothing but where somebody keeps files. So the exceptions raised here have none for DSPy, and a
message for a reader who neither knows nor runs a server. Everybody else finds the traceback where it always is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from types import FrameType, TracebackType
from typing import Any

from snakepit_bridge.dspy_integration._dspy_internals import PACKAGE
from snakepit_bridge.exceptions import (
    BridgeError,
    CallCancelledError,
    CallTimeoutError,
    ForkedProcessError,
    PermissionDeniedError,
    ServerUnavailableError,
    SessionError,
    ToolFailedError,
    ToolNotFoundError,
    ToolUnavailableError,
    UnauthenticatedError,
)

_LONGEST_NAME = 64
_TRACEBACK: Any = vars(BaseException)["__traceback__"]


class _Untraced(Exception):  # noqa: N818 - only ever a base of exceptions that have their own names
    """Has no traceback where DSPy reads it."""

    _plain: type[Exception]

    @property
    def __traceback__(self) -> TracebackType | None:
        trace: TracebackType | None = _TRACEBACK.__get__(self)
        return None if _is_dspy(sys._getframe(1)) else trace  # noqa: SLF001 - what inspect.currentframe calls

    @__traceback__.setter
    def __traceback__(self, trace: TracebackType | None) -> None:
        _TRACEBACK.__set__(self, trace)

    def __str__(self) -> str:
        # The id of a request, which is another each time, would make another prompt each time.
        return self.message if isinstance(self, BridgeError) else super().__str__()

    def __reduce__(self) -> Any:
        reduced: Any = self._plain.__reduce__(self)
        rebuild, given, *state = reduced
        plain = tuple(self._plain if value is type(self) else value for value in given)
        return _rebuilt, (self._plain if rebuild is type(self) else rebuild, plain, type(self).__name__), *state


def _is_dspy(reader: FrameType | None) -> bool:
    """Whether DSPy reads, be it through Python's own formatting of exceptions."""
    while reader is not None and reader.f_globals.get("__name__") == "traceback":
        reader = reader.f_back
    return reader is not None and str(reader.f_globals.get("__name__")).partition(".")[0] == PACKAGE


def for_agents(error: Exception, tool: str) -> Exception:
    """The exception that an agent is to see instead: of the same class and more, with a sentence for a model.

    Args:
        error: what calling a tool raised; changed, if that is possible.
        tool: the name by which the agent knows the tool.
    """
    name = _name_for(error)
    if isinstance(error, BridgeError):
        error.facts.setdefault("message", error.message)
        error.args = (_sentence(error, tool),)
    plain: Any = type(error)
    seen = _seen(plain, name)
    try:
        error.__class__ = seen
    except TypeError:
        # Python's own exceptions keep their class.
        error = seen(*error.args).with_traceback(error.__traceback__)
    # A cause would be shown as well.
    error.__cause__, error.__suppress_context__ = None, True
    return error


@lru_cache(maxsize=256)
def _seen(cls: Any, name: str) -> Any:
    # As if built in: what formats exceptions writes the module before the name of any other.
    return type(name, (_Untraced, cls), {"__module__": "builtins", "__doc__": cls.__doc__, "_plain": cls})


def _name_for(error: Exception) -> str:
    """The class that a model reads: for a tool that raised something, that of what it raised."""
    remote = error.type if isinstance(error, ToolFailedError) else ""
    return remote if remote.isidentifier() and len(remote) <= _LONGEST_NAME else type(error).__name__


def _sentence(error: BridgeError, tool: str) -> str:
    if isinstance(error, ToolFailedError):
        return error.remote_message or f"{tool} failed and does not say why"
    kinds = (kind for kind in _SENTENCES if isinstance(error, kind))
    said = _SENTENCES.get(next(kinds, BridgeError), error.message)
    if isinstance(error, ToolUnavailableError) and error.dispatched:
        said = "{} was interrupted before it could answer; it may have run all the same"
    return said.replace("{}", tool, 1) if said is not error.message else said


_SENTENCES: dict[type[BridgeError], str] = {
    CallTimeoutError: "{} took too long and was given up; it may have run all the same",
    CallCancelledError: "the call of {} was cancelled",
    ToolUnavailableError: "{} is not available now",
    ToolNotFoundError: "{} is no longer there",
    ServerUnavailableError: "{} cannot be reached now; it may have run all the same",
    ForkedProcessError: "{} cannot be called from a forked process; start processes with spawn or forkserver",
    SessionError: "{} cannot be called any more",
    PermissionDeniedError: "{} may not be called",
    UnauthenticatedError: "{} may not be called",
}
"""What a model reads of an error that is not the tool's own; of others, what they say themselves."""


def _rebuilt(rebuild: Callable[..., Exception], given: tuple[Any, ...], name: str) -> Exception:
    error = rebuild(*given)
    plain: Any = type(error)
    error.__class__ = _seen(plain, name)
    return error
