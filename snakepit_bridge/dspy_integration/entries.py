"""The ways into a module of a bound program. Each takes one snapshot for all that happens inside.

`()` and `acall` are what DSPy itself uses; `forward` and `aforward` may be called directly. Whichever is entered first
opens the scope, the ones inside find it open.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import dspy
from dspy.dsp.utils.settings import thread_local_overrides

from snakepit_bridge.dspy_integration.adapters import adapted, adapted_async
from snakepit_bridge.dspy_integration.scope import KEY, end, enter, leave, mark

if TYPE_CHECKING:
    from snakepit_bridge.dspy_integration.overlay import Overlay

_NAMES = ("__call__", "acall", "forward", "aforward")
_guarded: WeakSet[Callable[..., Any]] = WeakSet()


def guard_entries(cls: type) -> None:
    """Has the entries of a class open a scope. What a plain class defines stays as it is, and is looked up there.

    They are functions of the class, as DSPy's are: an optimizer that patches `forward` on an instance or on the plain
    class patches what runs, and `inspect.signature` sees the signature of what they wrap.
    """
    for name in _NAMES:
        owner = next((base for base in cls.__mro__ if name in vars(base)), None)
        function = vars(owner)[name] if owner is not None else None
        if inspect.isfunction(function) and function not in _guarded:
            guarded = _guard(name, function, None if owner is cls else owner)
            _guarded.add(guarded)
            setattr(cls, name, guarded)


def without_entries(state: dict[str, Any]) -> dict[str, Any]:
    """An instance's state without the entries that were read off it and put back, as GEPA does with `forward`."""
    return {
        name: value
        for name, value in state.items()
        if name not in _NAMES or getattr(value, "__func__", None) not in _guarded
    }


def _guard(name: str, function: Callable[..., Any], owner: type | None) -> Callable[..., Any]:
    # Never through super(): an unbind in another thread may have given the module its own class back by then.
    if name in {"acall", "aforward"} or inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def entered_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            run = function if owner is None else getattr(owner, name)
            return await run_async_in_scope(run, self, args, kwargs)

        return entered_async

    @functools.wraps(function)
    def entered(self: Any, *args: Any, **kwargs: Any) -> Any:
        return run_in_scope(function if owner is None else getattr(owner, name), self, args, kwargs)

    return entered


def run_in_scope(run: Callable[..., Any], module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Runs `run(module, ...)` with one snapshot, taken now unless a call around this one has taken it."""
    overlay: Overlay | None = vars(module).get(KEY)
    if overlay is not None and overlay.adapts and overlay.view.adapter is not None:
        run = adapted(run, overlay.view.adapter)
    outer = thread_local_overrides.get().get(KEY)
    if overlay is None or overlay.covered_by(outer):
        result = run(module, *args, **kwargs)
        mark(result, outer)
        return result
    scope = overlay.open(module, outer)
    if scope is None:
        return run(module, *args, **kwargs)
    token = enter(scope)
    try:
        result = run(module, *args, **kwargs)
    finally:
        leave(token)
        end(scope, outer)
    mark(result, scope)
    return result


def _has_aforward(module: Any) -> bool:
    if not hasattr(module, "aforward"):
        return False
    # It inherits the one of ReAct, which looks for a predictor that it does not have.
    code_act = getattr(dspy, "CodeAct", None)
    if code_act is None or not isinstance(module, code_act):
        return True
    return inspect.unwrap(type(module).aforward) is not dspy.ReAct.aforward


async def run_async_in_scope(run: Callable[..., Awaitable[Any]], module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The same, awaited. A module that has no `aforward` runs in a worker thread, as `dspy.asyncify` does it."""
    if run is dspy.Module.acall and not _has_aforward(module):
        run = dspy.asyncify(type(module).__call__)
    overlay: Overlay | None = vars(module).get(KEY)
    if overlay is not None and overlay.adapts and overlay.view.adapter is not None:
        run = adapted_async(run, overlay.view.adapter)
    outer = thread_local_overrides.get().get(KEY)
    if overlay is None or overlay.covered_by(outer):
        result = await run(module, *args, **kwargs)
        mark(result, outer)
        return result
    scope = await overlay.open_async(module, outer)
    if scope is None:
        return await run(module, *args, **kwargs)
    token = enter(scope)
    try:
        result = await run(module, *args, **kwargs)
    finally:
        leave(token)
        end(scope, outer)
    mark(result, scope)
    return result
