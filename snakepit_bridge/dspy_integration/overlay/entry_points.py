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

from snakepit_bridge.dspy_integration._dspy_internals import CodeAct, thread_local_overrides
from snakepit_bridge.dspy_integration.overlay.call_context import KEY, active, end, enter, find, leave, mark

if TYPE_CHECKING:
    from snakepit_bridge.dspy_integration.overlay.binding import Binding
    from snakepit_bridge.dspy_integration.overlay.call_context import Scope
    from snakepit_bridge.dspy_integration.overlay.overlay import Overlay

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
    inner = name in {"forward", "aforward"}
    if name in {"acall", "aforward"} or inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def entered_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            run = function if owner is None else getattr(owner, name)
            if run is dspy.Module.acall and not has_aforward(self):
                # In a worker thread, as `dspy.asyncify` does it.
                run = dspy.asyncify(type(self).__call__)
            overlay, outer = _overlay_and_scope(self)
            if overlay is None or (inner and _opened_already(overlay, outer)):
                return await run(self, *args, **kwargs)
            return await _run_async_in_scope(run, self, overlay, outer, args, kwargs)

        return entered_async

    @functools.wraps(function)
    def entered(self: Any, *args: Any, **kwargs: Any) -> Any:
        run = function if owner is None else getattr(owner, name)
        overlay, outer = _overlay_and_scope(self)
        if overlay is None or (inner and _opened_already(overlay, outer)):
            return run(self, *args, **kwargs)
        return _run_in_scope(run, self, overlay, outer, args, kwargs)

    return entered


def _overlay_and_scope(module: Any) -> tuple[Overlay | None, Scope | None]:
    # Not vars(module): DSPy's modules look each attribute up in Python, `__dict__` too.
    state: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return state.get(KEY), thread_local_overrides.get().get(KEY)


def _opened_already(overlay: Overlay, outer: Scope | None) -> bool:
    """Whether this is the `forward` inside the module's own call."""
    return outer is not None and outer.opener is overlay


def _run_in_scope(  # noqa: PLR0917 - on the hot path, with what its caller has looked up
    run: Callable[..., Any], module: Any, overlay: Overlay, outer: Scope | None, args: Any, kwargs: dict[str, Any]
) -> Any:
    """Runs `run(module, ...)` with one snapshot, taken now unless a call around this one has taken it."""
    if overlay.adapts and overlay.view.adapter is not None:
        run = adapted(run, overlay.view.adapter)
    scope = outer if overlay.covered_by(outer) else overlay.open(module, outer)
    if scope is outer:
        result = run(module, *args, **kwargs)
        mark(result, outer)
        return result
    token = enter(scope)
    try:
        result = run(module, *args, **kwargs)
    finally:
        leave(token)
        end(scope, outer)
    mark(result, scope)
    return result


def has_aforward(module: Any) -> bool:
    """Whether a module can be awaited; DSPy's `CodeAct` has what only looks like it."""
    if not hasattr(module, "aforward"):
        return False
    # It inherits the one of ReAct, which looks for a predictor that it does not have.
    if CodeAct is None or not isinstance(module, CodeAct):
        return True
    return inspect.unwrap(type(module).aforward) is not dspy.ReAct.aforward


async def _run_async_in_scope(  # noqa: PLR0917 - as above
    run: Callable[..., Awaitable[Any]],
    module: Any,
    overlay: Overlay,
    outer: Scope | None,
    args: Any,
    kwargs: dict[str, Any],
) -> Any:
    """The same, awaited."""
    if overlay.adapts and overlay.view.adapter is not None:
        run = adapted_async(run, overlay.view.adapter)
    scope = outer if overlay.covered_by(outer) else await overlay.open_async(module, outer)
    if scope is outer:
        result = await run(module, *args, **kwargs)
        mark(result, outer)
        return result
    token = enter(scope)
    try:
        result = await run(module, *args, **kwargs)
    finally:
        leave(token)
        end(scope, outer)
    mark(result, scope)
    return result


def adapted(run: Callable[..., Any], binding: Binding) -> Callable[..., Any]:
    """A call of a module, with the adapter that a binding gives it. DSPy reads it from its settings only."""

    def call(*args: Any, **kwargs: Any) -> Any:
        adapter = _adapter_of(binding)
        if adapter is None:
            return run(*args, **kwargs)
        with dspy.context(adapter=adapter):
            return run(*args, **kwargs)

    return call


def adapted_async(run: Callable[..., Awaitable[Any]], binding: Binding) -> Callable[..., Awaitable[Any]]:
    """`adapted`, for a coroutine function."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        adapter = _adapter_of(binding)
        if adapter is None:
            return await run(*args, **kwargs)
        with dspy.context(adapter=adapter):
            return await run(*args, **kwargs)

    return call


def _adapter_of(binding: Binding) -> Any:
    found = find(active(), binding.session)
    return None if found is None else binding.value_in(found.snapshot)
