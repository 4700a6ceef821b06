"""What a tool raised, on its way from its worker to its caller."""

from __future__ import annotations

import traceback
from pathlib import Path

from snakepit_bridge.exceptions import BridgeError, ToolFailedError, builtin_exception, failed_class
from snakepit_bridge.v1 import tool_pb2 as pb

_MESSAGE_CHARACTERS = 16_384
_TRACEBACK_CHARACTERS = 65_536
_OURS = str(Path(__file__).parents[1])


def failure_to_wire(error: BaseException, *, with_traceback: bool = False) -> pb.ToolFailure:
    """What the caller is told of an exception. Never raises, whatever the exception does."""
    failure = pb.ToolFailure(
        type=_text(type(error).__name__, _MESSAGE_CHARACTERS),
        bases=[base.__name__ for base in type(error).__mro__ if base.__module__ == "builtins" and base is not object],
        message=_text(_said(error), _MESSAGE_CHARACTERS),
        retryable=_retryable(error),
    )
    if with_traceback:
        failure.traceback = _text(_trace(error), _TRACEBACK_CHARACTERS)
    return failure


def failure_from_wire(
    failure: pb.ToolFailure, tool: str, call_id: str, request_id: str | None = None
) -> ToolFailedError:
    """The exception for a failed call."""
    # Only built-in names matter here, and none has a comma.
    bases = tuple(name for name in failure.bases if builtin_exception(name) is not None)
    facts = {
        "tool": tool,
        "call": call_id,
        "type": failure.type,
        "message": failure.message,
        "bases": ",".join(bases),
        "retryable": "true" if failure.retryable else "false",
        "traceback": failure.traceback,
    }
    said = f"{failure.type}: {failure.message}" if failure.message else failure.type
    return failed_class(bases)(f"tool {tool!r} failed with {said}", facts, request_id=request_id)


def _said(error: BaseException) -> str:
    try:
        # Without the id of a request that the tool made: the caller's own is told, and a model may read this.
        return error.message if isinstance(error, BridgeError) else str(error)
    except BaseException as broken:
        return f"its message cannot be made: {type(broken).__name__}"


def _retryable(error: BaseException) -> bool:
    try:
        said = getattr(error, "retryable", None)
        return said is True or (said is None and isinstance(error, (ConnectionError, TimeoutError)))
    except BaseException:
        return False


def _trace(error: BaseException) -> str:
    trace = error.__traceback__
    # What called the tool is of no interest to anyone.
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, trace))
    except BaseException:
        return ""


def _text(text: str, most: int) -> str:
    sendable = text.encode("utf-8", "replace").decode("utf-8")
    return sendable if len(sendable) <= most else f"{sendable[: most - 1]}…"
