"""Looking at what is bound on a program, and hearing of its changes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import dspy

from snakepit_bridge.dspy_integration.binding.report import Effective, EffectiveTable
from snakepit_bridge.dspy_integration.overlay.binding import Binding
from snakepit_bridge.dspy_integration.overlay.call_context import active, find
from snakepit_bridge.dspy_integration.overlay.overlay import overlay_of, reads_binding
from snakepit_bridge.dspy_integration.overlay.program import Program
from snakepit_bridge.dspy_integration.targets.locate import locate
from snakepit_bridge.dspy_integration.targets.paths import render, unknown
from snakepit_bridge.exceptions import BindingError, BridgeError


def bindings(program: Any) -> dict[str, str]:
    """What is bound on a program: path -> variable."""
    return {binding.path: binding.variable for binding in program_of(program).bindings.values()}


def effective(program: Any) -> EffectiveTable:
    """What each path of a program has now, and why. Without an rpc.

    A dict from path to `Effective` that prints as a table, in notebooks too.
    """
    known = program_of(program).bindings.values()
    return EffectiveTable({binding.path: _effective(program, binding) for binding in known})


def on_change(program: Any, path: str, callback: Callable[[str, Any, Any], object]) -> None:
    """Calls `callback(path, old, new)` when a call of this program finds another value than the one before.

    Changes in between are conflated. Callbacks run one at a time, in the order of revisions, before the forward that
    took the snapshot and on its thread or task; what they raise is logged. Copies of the program do not call them. For
    every single change there is `watch_variables`.

    Raises:
        BindingError: the path is not bound, or the callback is a coroutine function.
    """
    if not callable(callback) or inspect.iscoroutinefunction(callback):
        raise BindingError(f"{callback!r} cannot be called before a forward: give a plain function", {"path": path})
    binding = bound(program, path)
    with program_of(program).lock:
        binding.callbacks.append(callback)


def program_of(program: Any) -> Program:
    """The bindings made on a module; an empty one if there are none."""
    overlay = overlay_of(program) if isinstance(program, dspy.Module) else None
    return overlay.program if overlay is not None and overlay.program is not None else Program()


def bound(program: Any, path: str) -> Binding:
    """The binding of a path. Raises BindingError if there is none."""
    known = program_of(program).bindings
    binding = next((binding for binding in known.values() if binding.path == path), None)
    binding = binding or known.get(locate(program, path).target)
    if binding is None:
        raise unknown(path, "it is not bound", path, (other.path for other in known.values()))
    return binding


def _effective(program: Any, binding: Binding) -> Effective:
    scope = find(active(), binding.session)
    inside = scope is not None and binding.variable in scope.snapshot.names
    state = scope.snapshot.variables.get(binding.variable) if scope is not None and inside else None
    version = (state.version if state is not None else None) if inside else binding.newest_state()[1]
    value: Any = None
    error = None
    try:
        value = binding.value_in(scope.snapshot) if scope is not None and inside else binding.newest_value()
    except BridgeError as failure:
        error = failure
    uncovered = []
    if binding.target.kind != "attribute":
        for reached in locate(program, _requested(binding)).reached:
            overlay = overlay_of(reached.module)
            if overlay is None or not overlay.serves(binding):
                uncovered.append(_name_of(program, reached.module))
    detached = not reads_binding(program, binding)
    return Effective(binding.variable, value, version, detached, tuple(uncovered), binding.secret, error)


def _requested(binding: Binding) -> str:
    shapes_requests = binding.target.kind in {"parameter", "model", "instructions", "demos", "adapter"}
    return render((*binding.target.owner, "lm", binding.target.name)) if shapes_requests else binding.path


def _name_of(program: Any, wanted: Any) -> str:
    names = (name for name, module in program.named_sub_modules(type_=dspy.Module) if module is wanted)
    return next(names, "self").removeprefix("self.")
