"""The classes of modules in a bound program: a call takes one snapshot and runs inside it."""

from __future__ import annotations

import copy
import copyreg
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import dspy

from snakepit_bridge.dspy_integration._dspy_internals import CONFIG, DEMOS, LM, SIGNATURE, Flex
from snakepit_bridge.dspy_integration.overlay.call_context import KEY, enter, leave
from snakepit_bridge.dspy_integration.overlay.descriptors import (
    ConfigOverlay,
    DemosOverlay,
    FlexLMOverlay,
    LMOverlay,
    SignatureOverlay,
    storing,
)
from snakepit_bridge.dspy_integration.overlay.entry_points import guard_entries, without_entries
from snakepit_bridge.dspy_integration.overlay.live_compile import warn_if_compiled
from snakepit_bridge.dspy_integration.overlay.overlay import Overlay
from snakepit_bridge.exceptions import BindingError

PLAIN = "_snakepit_plain"


class Overlaid:
    """What a module of a bound program is besides its own class.

    `bind` swaps a module's class to a subclass of this and of that class, with the same name. Copies keep the bindings
    and share the session; a pickle is one of the plain class, without either.
    """

    # DSPy's: a class of this is always also one of `dspy.Module`.
    acall: Callable[..., Awaitable[Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        guard_entries(cls)

    def deepcopy(self) -> Any:
        """As `Module.deepcopy`, which `reset_copy` calls too; the copy keeps the bindings."""
        # Not in what it calls: a warning made an error would end there in an `except`, and change how it copies.
        self._notice_compile()
        return super().deepcopy()  # type: ignore[misc]

    def _notice_compile(self) -> None:
        overlay: Overlay | None = vars(self).get(KEY)
        if overlay is not None and overlay.view.bindings:
            warn_if_compiled(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        self._notice_compile()
        inherited = getattr(super(), "__deepcopy__", None)
        if inherited is not None:
            return inherited(memo)
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        state = copy.deepcopy(_state_of(self), memo)
        if hasattr(twin, "__setstate__"):
            twin.__setstate__(state)
        else:
            vars(twin).update(state)
        return twin

    def __copy__(self) -> Any:
        inherited = getattr(super(), "__copy__", None)
        if inherited is not None:
            twin: Any = inherited()
        else:
            twin = type(self).__new__(type(self))
            twin.__setstate__(dict(_state_of(self)))
        overlay = vars(self).get(KEY)
        if overlay is not None and vars(twin).get(KEY) is overlay:
            # Else an assignment to the copy would detach the original.
            vars(twin)[KEY] = copy.copy(overlay)
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        reduced = super().__reduce_ex__(protocol)
        if isinstance(reduced, str):
            return reduced
        function, arguments, state, *rest = (*reduced, None)[: max(3, len(reduced))]
        cls = type(self)
        plain = plain_class(cls)
        if plain is not cls:
            arguments = tuple(plain if argument is cls else argument for argument in arguments)
            if function is copyreg.__newobj__:  # type: ignore[attr-defined]
                # Pickle insists that its argument is the class of the object.
                function = plain.__new__
        if isinstance(state, dict):
            state = {name: value for name, value in without_entries(state).items() if name != KEY}
        return function, arguments, state, *rest


def _state_of(module: Any) -> dict[str, Any]:
    state: dict[str, Any] = module.__getstate__()
    return state


class PredictOverlaid(Overlaid):
    """The same for `dspy.Predict`, which reads its parameters from attributes of its own."""

    config = ConfigOverlay(CONFIG)
    signature = SignatureOverlay(SIGNATURE)
    demos = DemosOverlay(DEMOS)
    lm = LMOverlay(LM)

    def reset(self) -> None:
        """As `Predict.reset`; the bindings stay."""
        with storing():
            super().reset()  # type: ignore[misc]

    def dump_state(self, *args: Any, **kwargs: Any) -> Any:
        """As `Predict.dump_state`: plain values, inside a call too."""
        token = enter(None)
        try:
            return super().dump_state(*args, **kwargs)  # type: ignore[misc]
        finally:
            leave(token)

    def load_state(self, *args: Any, **kwargs: Any) -> Any:
        """As `Predict.load_state`; the bindings stay."""
        with storing():
            return super().load_state(*args, **kwargs)  # type: ignore[misc]

    def _forward_postprocess(self, completions: Any, signature: Any, **kwargs: Any) -> Any:
        """As `Predict._forward_postprocess`, but what DSPy keeps of an answer does not keep a snapshot's signature.

        DSPy's trace holds the last 10,000 answers, each with its signature, which is a class of 30 KB for each text.
        """
        plain = vars(self)[SIGNATURE]
        if signature is not plain and list(signature.fields) == list(plain.fields):
            signature = plain
        try:
            run = super()._forward_postprocess  # type: ignore[misc]
        except TypeError:
            # An unbind in another thread has just given the module its own class back.
            run = self._forward_postprocess
        return run(completions, signature, **kwargs)

    def update_config(self, **kwargs: Any) -> None:
        """Merges into the plain config; a bound parameter still wins."""
        vars(self)[CONFIG] = {**vars(self)[CONFIG], **kwargs}


class FlexOverlaid(Overlaid):
    """The same for `dspy.Flex`, which has but an LM."""

    lm = FlexLMOverlay(LM)


def _base_for(cls: type) -> type:
    if issubclass(cls, dspy.Predict):
        return PredictOverlaid
    return FlexOverlaid if Flex is not None and issubclass(cls, Flex) else Overlaid


_classes: dict[type, type] = {}
_lock = threading.Lock()


def overlaid_class(cls: type) -> type:
    """The class to give to a module of class `cls` so that it can be bound; `cls` itself if it can be already."""
    base = _base_for(cls)
    if issubclass(cls, base):
        return cls
    with _lock:
        made = _classes.get(cls)
        if made is None:
            namespace: dict[str, Any] = {
                "__module__": cls.__module__,
                "__qualname__": cls.__qualname__,
                "__doc__": cls.__doc__,
                PLAIN: cls,
            }
            if "__firstlineno__" in cls.__dict__:
                # Python 3.13 finds the source of a class by it.
                namespace["__firstlineno__"] = cls.__dict__["__firstlineno__"]
            meta: Any = type(cls)
            made = _classes[cls] = meta(cls.__name__, (base, cls), namespace)
        return made


def plain_class(cls: type) -> type:
    """The class that a module had before it was bound."""
    plain: type = cls.__dict__.get(PLAIN, cls)
    return plain


def ensure_overlay(module: Any) -> Overlay:
    """A module's overlay, made if there is none; the module's class is made ready for it."""
    overlay: Overlay | None = vars(module).get(KEY)
    if overlay is None:
        cls = type(module)
        wanted = overlaid_class(cls)
        overlay = vars(module)[KEY] = Overlay(predictor=isinstance(module, dspy.Predict))
        if wanted is not cls:
            try:
                module.__class__ = wanted
            except TypeError as error:
                del vars(module)[KEY]
                raise BindingError(f"a {cls.__name__} cannot be bound: {error}") from None
    return overlay


def discard_overlay(module: Any) -> None:
    """Takes an overlay that is empty away, and gives the module its own class back."""
    vars(module).pop(KEY, None)
    plain = plain_class(type(module))
    if plain is not type(module):
        module.__class__ = plain
