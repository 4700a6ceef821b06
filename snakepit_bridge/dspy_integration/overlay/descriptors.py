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

from snakepit_bridge.dspy_integration._dspy_internals import CONFIG, DEMOS, LM, SIGNATURE
from snakepit_bridge.dspy_integration.overlay.binding import Binding, same
from snakepit_bridge.dspy_integration.overlay.call_context import KEY, Scope, active, find
from snakepit_bridge.dspy_integration.overlay.overlay import Overlay, detached
from snakepit_bridge.dspy_integration.overlay.view import choose_model, demos_for
from snakepit_bridge.dspy_integration.targets.models import with_parameters
from snakepit_bridge.dspy_integration.targets.plain_attributes import Covering
from snakepit_bridge.dspy_integration.targets.prompts import (
    description_of,
    replace_task,
    with_description,
    with_instructions,
)
from snakepit_bridge.dspy_integration.targets.target import MISSING
from snakepit_bridge.exceptions import BindingError

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
    """`Predict.signature`, with the bound tools, field descriptions and instructions in it."""

    def overlaid(self, plain: Any, overlay: Overlay, scope: Scope) -> Any:
        """The signature as of the snapshot; the same class for the same values."""
        view = overlay.view
        signature = plain
        tools = _bound(view.tools, scope)
        if tools is not None:
            signature = tools.rewrite(signature)
        for field, binding in view.descriptions.items():
            text = _bound(binding, scope)
            if text is not None:
                signature = with_description(signature, field, text)
        chosen = view.instructions
        text = _bound(chosen.binding, scope) if chosen is not None else None
        if chosen is None or text is None:
            return signature
        return with_instructions(signature, text) if chosen.task is None else replace_task(signature, chosen.task, text)

    def assigned(self, instance: Any, overlay: Overlay, value: Any) -> None:
        """Detaches bound instructions and descriptions if the new signature has others."""
        read = self.__get__(instance)
        if getattr(value, "instructions", None) != read.instructions:
            overlay.drop_slot(("instructions", "instructions"))
        for field in list(overlay.view.descriptions):
            fields = getattr(value, "fields", {})
            if field not in fields or description_of(value, field) != description_of(read, field):
                overlay.drop_slot(("description", field))


class DemosOverlay(PlainOverlay):
    """`Predict.demos`."""

    def overlaid(self, plain: Any, overlay: Overlay, scope: Scope) -> Any:
        """The snapshot's demos, in fresh Examples."""
        chosen = overlay.view.demos
        demos = demos_for(chosen, _bound(chosen.binding, scope)) if chosen is not None else None
        return plain if demos is None else demos

    def assigned(self, instance: Any, overlay: Overlay, value: Any) -> None:
        """Detaches bound demos if these are others."""
        if value != self.__get__(instance):
            overlay.drop_slot(("demos", "demos"))


class ToolsOverlay(PlainOverlay):
    """Where an agent keeps its tools."""

    def overlaid(self, plain: Any, overlay: Overlay, scope: Scope) -> Any:
        """The snapshot's tools, in a dict of the call's own."""
        chosen = _bound(overlay.view.tools, scope)
        return plain if chosen is None else dict(chosen.tools)

    def assigned(self, instance: Any, overlay: Overlay, value: Any) -> None:  # noqa: ARG002
        """Detaches bound tools, of which the prompt must no longer speak either."""
        chosen = overlay.view.tools
        if chosen is not None:
            for _, module in instance.named_sub_modules(type_=dspy.Module):
                below = vars(module).get(KEY)
                if below is not None and below.serves(chosen):
                    below.drop(chosen)
            detached(chosen)


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


def _bound(binding: Binding | None, scope: Scope) -> Any:
    """What a binding gives in a scope; None if there is no binding, the scope is not its session's, or it says so."""
    found = find(scope, binding.session) if binding is not None else None
    return None if binding is None or found is None else binding.value_in(found.snapshot)


class FlexLMOverlay(LMOverlay):
    """`Flex.lm`, through which alone a `Flex` can be given generation parameters: it makes its predictors anew."""

    def overlaid(self, plain: Any, overlay: Overlay, scope: Scope) -> Any:
        """The LM for the snapshot's model, with the snapshot's parameters."""
        chosen = super().overlaid(plain, overlay, scope)
        bound = {name: _bound(binding, scope) for name, binding in overlay.view.parameters.items()}
        return with_parameters(chosen or dspy.settings.lm, bound) if bound else chosen


class NameOverlay(Covering):
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
        # Rebound since the call began, it is the new binding that must not be read any more.
        binding = (overlay.view.names | overlay.names).get(self.name) if overlay is not None else None
        if overlay is None or binding is None or _storing.get():
            state[self.name] = value
            return
        if binding.target.kind == "attribute":
            state[self.name] = value
        elif binding.target.kind == "adapter":
            raise BindingError(
                f"{binding.path!r} follows variable {binding.variable!r}, and a module has no adapter of its own to "
                "assign: set the variable, or unbind it and use dspy.context(adapter=...)",
                {"path": binding.path, "variable": binding.variable},
            )
        else:
            for _, module in instance.named_sub_modules(type_=dspy.Module):
                below = vars(module).get(KEY)
                if below is not None and below.serves(binding):
                    store(module, binding, value)
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
    found = next(one for one in state[KEY].candidates[target.slot] if one.binding.is_twin(binding))
    if target.kind == "parameter" and CONFIG in state:
        state[CONFIG] = {**state[CONFIG], target.name: value}
    elif target.kind == "parameter":
        state[LM] = with_parameters(state[LM] or dspy.settings.lm, {target.name: value})
    elif target.kind == "instructions":
        plain = state[SIGNATURE]
        alone = found.task is None
        state[SIGNATURE] = with_instructions(plain, value) if alone else replace_task(plain, found.task, value)
    elif target.kind == "description":
        state[SIGNATURE] = with_description(state[SIGNATURE], target.name, value)
    elif target.kind == "demos":
        demos = demos_for(found, value)
        state[DEMOS] = state[DEMOS] if demos is None else demos
    elif target.kind == "tools" and SIGNATURE in state and isinstance(module, dspy.Predict):
        state[SIGNATURE] = value.rewrite(state[SIGNATURE])
    elif target.kind == "tools":
        state[value.attribute] = dict(value.tools)
    elif binding.models is not None:
        base = state[LM] or dspy.settings.lm
        state[LM] = value if isinstance(value, dspy.BaseLM) else binding.lm_for(base, value)


def install(cls: type, name: str) -> None:
    """Makes a name of a class readable through bindings."""
    if not isinstance(cls.__dict__.get(name), NameOverlay):
        fallback = inspect.getattr_static(cls, name, MISSING)
        setattr(cls, name, NameOverlay(name, fallback.fallback if isinstance(fallback, NameOverlay) else fallback))


def install_tools(cls: type, name: str) -> None:
    """Makes the attribute where a class of agents keeps its tools readable through bindings."""
    if not isinstance(inspect.getattr_static(cls, name, None), ToolsOverlay):
        setattr(cls, name, ToolsOverlay(name))
