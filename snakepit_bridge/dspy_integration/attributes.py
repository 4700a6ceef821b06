"""Data descriptors through which a module of a bound program is read and assigned.

The plain value stays where DSPy put it, in the instance's `__dict__`: copying, saving and pickling see that one. Inside
a call a read gives the plain value overlaid with the call's snapshot. Nothing is ever written by a forward.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import dspy

from snakepit_bridge.dspy_integration.binding import MISSING, Binding, same
from snakepit_bridge.dspy_integration.overlay import Overlay, choose_model, detached
from snakepit_bridge.dspy_integration.prompts import replace_task, with_instructions
from snakepit_bridge.dspy_integration.scope import KEY, Scope, active, find

_storing: ContextVar[bool] = ContextVar("snakepit_storing", default=False)


@contextmanager
def storing() -> Iterator[None]:
    """Assignments inside store plain values and detach nothing."""
    token = _storing.set(True)
    try:
        yield
    finally:
        _storing.reset(token)


class PlainOverlay:
    """An attribute that DSPy itself reads. Outside a call it is the plain value."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """The value as of the active snapshot, if a call is in progress."""
        if instance is None:
            return self
        state = vars(instance)
        if self.name not in state:
            raise AttributeError(f"{type(instance).__name__!r} object has no attribute {self.name!r}")
        plain, overlay, scope = state[self.name], state.get(KEY), active()
        return plain if overlay is None or scope is None else self.overlaid(plain, overlay, scope)

    def __set__(self, instance: Any, value: Any) -> None:
        """Stores the plain value, and detaches the bindings that it differs from."""
        state = vars(instance)
        overlay = state.get(KEY)
        if overlay is not None and self.name in state and not _storing.get():
            self.assigned(instance, overlay, value)
        state[self.name] = value

    def __delete__(self, instance: Any) -> None:
        """Deletes the plain value."""
        try:
            del vars(instance)[self.name]
        except KeyError:
            raise AttributeError(self.name) from None

    def overlaid(self, plain: Any, overlay: Overlay, scope: Scope) -> Any:
        """What a read inside a call gives."""
        raise NotImplementedError

    def assigned(self, instance: Any, overlay: Overlay, value: Any) -> None:
        """Detaches what an assignment overrules."""


class ConfigOverlay(PlainOverlay):
    """`Predict.config`, with the bound generation parameters on top."""

    def overlaid(self, plain: Any, overlay: Overlay, scope: Scope) -> Any:
        """Plain config and bound parameters, in a new dict."""
        bound = {}
        for name, binding in overlay.view.parameters.items():
            found = find(scope, binding.session)
            if found is not None:
                bound[name] = binding.value_in(found.snapshot)
        return {**plain, **bound} if bound else plain

    def assigned(self, instance: Any, overlay: Overlay, value: Any) -> None:
        """Detaches only the keys whose value is not the one that a read gives."""
        read = self.__get__(instance)
        for name in list(overlay.view.parameters):
            if name in value and not same(value[name], read.get(name, MISSING)):
                overlay.drop_slot(("parameter", name))


class SignatureOverlay(PlainOverlay):
    """`Predict.signature`, with the bound instructions."""

    def overlaid(self, plain: Any, overlay: Overlay, scope: Scope) -> Any:
        """The signature with the snapshot's instructions; the same class for the same text."""
        chosen = overlay.view.instructions
        found = find(scope, chosen.binding.session) if chosen is not None else None
        text = chosen.binding.value_in(found.snapshot) if chosen is not None and found is not None else None
        if chosen is None or text is None:
            return plain
        return with_instructions(plain, text) if chosen.task is None else replace_task(plain, chosen.task, text)

    def assigned(self, instance: Any, overlay: Overlay, value: Any) -> None:
        """Detaches bound instructions if the new signature has others."""
        if getattr(value, "instructions", None) != self.__get__(instance).instructions:
            overlay.drop_slot(("instructions", "instructions"))


class DemosOverlay(PlainOverlay):
    """`Predict.demos`."""

    def overlaid(self, plain: Any, overlay: Overlay, scope: Scope) -> Any:
        """The snapshot's demos, in fresh Examples."""
        binding = overlay.view.demos
        found = find(scope, binding.session) if binding is not None else None
        value = binding.value_in(found.snapshot) if binding is not None and found is not None else None
        return plain if value is None else value

    def assigned(self, instance: Any, overlay: Overlay, value: Any) -> None:
        """Detaches bound demos if these are others."""
        if value != self.__get__(instance):
            overlay.drop_slot(("demos", "demos"))


class LMOverlay(PlainOverlay):
    """`Predict.lm`, switched to the bound model. Assigning an LM detaches nothing: the model composes with it."""

    def overlaid(self, plain: Any, overlay: Overlay, scope: Scope) -> Any:
        """The LM for the snapshot's model.

        Raises:
            ModelNotAllowedError: the binding may not switch to it.
        """
        binding = overlay.view.model
        found = find(scope, binding.session) if binding is not None else None
        if binding is None or found is None:
            return plain
        return choose_model(binding, plain, found.snapshot)


class NameOverlay:
    """A bound name on a module: a plain attribute (`rag.k`), or a generation name that DSPy has no attribute for.

    Outside a call it is the newest value this context has seen, without an rpc. On an instance that does not have the
    name bound it is the attribute that it would be without this descriptor.
    """

    def __init__(self, name: str, fallback: Any) -> None:
        self.name = name
        self.fallback = fallback

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """The bound value, or the plain one."""
        if instance is None:
            return self if self.fallback is MISSING else self.fallback
        state = vars(instance)
        overlay = state.get(KEY)
        binding = overlay.view.names.get(self.name) if overlay is not None else None
        if binding is not None:
            found = find(active(), binding.session)
            return binding.newest_value() if found is None else binding.value_in(found.snapshot)
        if self.name in state:
            return state[self.name]
        if self.fallback is MISSING:
            raise AttributeError(f"{type(instance).__name__!r} object has no attribute {self.name!r}")
        return self.fallback

    def __set__(self, instance: Any, value: Any) -> None:
        """Stores the plain value; a binding lets go of what was assigned."""
        state = vars(instance)
        overlay = state.get(KEY)
        binding = overlay.view.names.get(self.name) if overlay is not None else None
        if overlay is None or binding is None or _storing.get():
            state[self.name] = value
            return
        if binding.target.kind == "attribute":
            state[self.name] = value
        else:
            for _, predictor in instance.named_sub_modules(type_=dspy.Predict):
                below = vars(predictor).get(KEY)
                if below is not None and below.serves(binding):
                    store(predictor, binding, value)
                    if below is not overlay:
                        below.drop(binding)
        overlay.drop(binding)
        detached(binding)

    def __delete__(self, instance: Any) -> None:
        """Deletes the plain value."""
        try:
            del vars(instance)[self.name]
        except KeyError:
            raise AttributeError(self.name) from None


def store(module: Any, binding: Binding, value: Any) -> None:
    """Puts a value of a binding into the plain state of a module that it reaches."""
    state = vars(module)
    target = binding.target
    found = next(one for one in state[KEY].candidates[target.kind, target.name] if one.binding is binding)
    if target.kind == "parameter":
        state["config"] = {**state["config"], target.name: value}
    elif target.kind == "instructions":
        plain = state["signature"]
        alone = found.task is None
        state["signature"] = with_instructions(plain, value) if alone else replace_task(plain, found.task, value)
    elif target.kind == "demos":
        state["demos"] = value
    elif binding.models is not None:
        state["lm"] = binding.models.lm_for(state["lm"] or dspy.settings.lm, value)


def install(cls: type, name: str) -> None:
    """Makes a name of a class readable through bindings."""
    if not isinstance(cls.__dict__.get(name), NameOverlay):
        fallback = inspect.getattr_static(cls, name, MISSING)
        setattr(cls, name, NameOverlay(name, fallback.fallback if isinstance(fallback, NameOverlay) else fallback))
