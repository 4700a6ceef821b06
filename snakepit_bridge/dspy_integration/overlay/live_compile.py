"""Noticing that an optimizer works on a live program."""

from __future__ import annotations

import sys
import warnings
from types import FrameType
from typing import Any

import dspy

from snakepit_bridge.dspy_integration._dspy_internals import PACKAGE, Teleprompter

_WARNED = "__snakepit_warned__"
_NOT_TO_COMPILE = frozenset({"__call__", "acall", "forward", "aforward", "plain_copy"})
"""The functions of a module, or with one as their first argument, that copy modules for their own ends."""


class LiveProgramWarning(UserWarning):
    """An optimizer compiles a program that follows variables, which may change while it measures."""


def warn_if_compiled(program: Any) -> None:
    """Warns, once per compile, if a bound program is being copied by an optimizer.

    A copy that a module makes of another while it runs, as `BestOfN` does, is none of an optimizer's.
    """
    compiling = _compiling(sys._getframe(1))  # noqa: SLF001 - what inspect.currentframe calls
    if compiling is None or _WARNED in compiling.f_locals:
        return
    name = type(_first_argument(compiling)).__name__
    warnings.warn(
        f"{name} is compiling a live {type(program).__name__}: its variables may change while that measures, and the "
        "result stays in this process. Compile a frozen copy, and publish what comes out: plain = sb.freeze(program); "
        f"optimized = {name}(...).compile(plain, ...); sb.publish(program, optimized)",
        LiveProgramWarning,
        stacklevel=_levels_to_the_caller(compiling),
    )
    # Its frame is the one place that lasts as long as a compile. Not reached if the warning is an error: DSPy swallows
    # that here and there, and copies in another way, which has to fail too.
    compiling.f_locals[_WARNED] = True


def _compiling(frame: FrameType | None) -> FrameType | None:
    """The frame of the outermost compile around a copy."""
    found = None
    while frame is not None:
        code = frame.f_code
        if code.co_name == "compile" and isinstance(_first_argument(frame), Teleprompter):
            found = frame
        elif code.co_name in _NOT_TO_COMPILE and isinstance(_first_argument(frame), dspy.Module):
            break
        frame = frame.f_back
    return found


def _first_argument(frame: FrameType) -> Any:
    names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
    return frame.f_locals.get(names[0]) if names else None


def _levels_to_the_caller(compiling: FrameType) -> int:
    """The `stacklevel` of who called compile, past what DSPy wraps around it."""
    level, frame = 1, sys._getframe(1)  # noqa: SLF001 - as above
    inside = True
    while frame.f_back is not None:
        frame, level = frame.f_back, level + 1
        inside = inside and frame is not compiling
        if not inside and not str(frame.f_globals.get("__name__", "")).startswith(f"{PACKAGE}."):
            break
    return level
