"""DSPy's modules with bindings built in, and the mixin that gives them to a module of your own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

import dspy

from snakepit_bridge._context.session import Session
from snakepit_bridge.dspy_integration._dspy_internals import RLM, CodeAct, Flex, ProgramOfThought, ReActV2
from snakepit_bridge.dspy_integration.binding.binder import bind, bind_async, unbind
from snakepit_bridge.dspy_integration.binding.lookup import bindings, on_change
from snakepit_bridge.dspy_integration.overlay.binding import Var
from snakepit_bridge.dspy_integration.overlay.classes import FlexOverlaid, Overlaid, PredictOverlaid, ensure_overlay
from snakepit_bridge.dspy_integration.overlay.overlay import Overlay, check_snapshot
from snakepit_bridge.dspy_integration.targets.locate import refuse_reserved_fields
from snakepit_bridge.dspy_integration.targets.registries import Tables
from snakepit_bridge.dspy_integration.targets.target import MISSING
from snakepit_bridge.exceptions import BindingError
from snakepit_bridge.session_context import session_of

Callback = Callable[[str, Any, Any], object]


class VariableAwareMixin(Overlaid):
    """Makes a `dspy.Module` bind its parameters by itself: `class Mine(VariableAwareMixin, dspy.Module)`.

    Its class stays what it is when bound. It pickles as itself, without session and bindings. Works also where
    `__init__` does not call this one's.

    Args:
        session_context: the session that variables are looked for in; may be set later.
        auto_sync: whether each call takes a snapshot. Without it calls use the one that `sync_variables` took last.

    Raises:
        BindingError: an input field of a predictor made here has a name that DSPy takes for an argument of its own.
    """

    def __init__(self, *args: Any, session_context: Any = None, auto_sync: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        refuse_reserved_fields(self)
        if session_context is not None:
            self.session_context = session_context
        self.auto_sync = auto_sync

    @property
    def session_context(self) -> Any:
        """The session context given, or None.

        Raises:
            BindingError: on setting another one while something is bound to the present one.
        """
        return _overlay(self).context

    @session_context.setter
    def session_context(self, context: Any) -> None:
        overlay = _overlay(self)
        session = session_of(context) if context is not None else None
        if bindings(self) and session is not session_of(overlay.context):
            raise BindingError("this module is bound to variables of its present session: unbind them first")
        overlay.context = context

    @property
    def auto_sync(self) -> bool:
        """Whether each call takes a snapshot."""
        return _overlay(self).auto_sync

    @auto_sync.setter
    def auto_sync(self, auto_sync: bool) -> None:
        _overlay(self).auto_sync = auto_sync

    async def bind_to_variable(
        self,
        attribute: str,
        variable: str,
        sync_callback: Callback | None = None,
        *,
        default: Any = MISSING,
        **tables: Unpack[Tables],
    ) -> None:
        """Binds a path of this module to a variable; `sync_callback(path, old, new)` as in `on_change`.

        `**tables` as in `bind`.

        Raises:
            BindingError, VariableNotFoundError, ModelNotAllowedError: as `bind`.
        """
        await bind_async(self, {attribute: Var(variable, default)}, **tables)
        if sync_callback is not None:
            on_change(self, attribute, sync_callback)

    def bind_to_variable_sync(
        self,
        attribute: str,
        variable: str,
        sync_callback: Callback | None = None,
        *,
        default: Any = MISSING,
        **tables: Unpack[Tables],
    ) -> None:
        """`bind_to_variable`, blocking."""
        bind(self, {attribute: Var(variable, default)}, **tables)
        if sync_callback is not None:
            on_change(self, attribute, sync_callback)

    def unbind_variable(self, attribute: str) -> None:
        """Gives a path its plain value back.

        Raises:
            BindingError: it is not bound.
        """
        unbind(self, attribute)

    def get_bindings(self) -> dict[str, str]:
        """What is bound: path -> variable."""
        return bindings(self)

    def get_bound_variable(self, attribute: str) -> str | None:
        """The variable that a path is bound to, or None."""
        return bindings(self).get(attribute)

    async def sync_variables(self) -> dict[str, tuple[Any, Any]]:
        """Takes a snapshot now and tells the callbacks.

        Returns:
            path -> (old, new) of what changed since this module's last call or sync.
        """
        overlay = _overlay(self)
        changed: dict[str, tuple[Any, Any]] = {}
        for session in overlay.view.sessions:
            changed |= _observed(self, overlay, session, await session.take_async())
        return changed

    def sync_variables_sync(self) -> dict[str, tuple[Any, Any]]:
        """`sync_variables`, blocking."""
        overlay = _overlay(self)
        changed: dict[str, tuple[Any, Any]] = {}
        for session in overlay.view.sessions:
            changed |= _observed(self, overlay, session, session.take())
        return changed

    async def forward_async(self, *args: Any, **kwargs: Any) -> Any:
        """The same as `acall`."""
        return await self.acall(*args, **kwargs)


def _overlay(module: Any) -> Overlay:
    return ensure_overlay(module)


def _observed(module: Any, overlay: Overlay, session: Session, snapshot: Any) -> dict[str, tuple[Any, Any]]:
    changed: dict[str, tuple[Any, Any]] = {}
    view = overlay.view
    check_snapshot(view, module, session, snapshot)
    for program in view.programs:
        changed |= program.observe(session, snapshot)
    overlay.held[session] = snapshot
    return changed


class VariableAwarePredict(VariableAwareMixin, PredictOverlaid, dspy.Predict):
    """`dspy.Predict` with bindings built in."""


class VariableAwareChainOfThought(VariableAwareMixin, dspy.ChainOfThought):
    """`dspy.ChainOfThought` with bindings built in."""


class VariableAwareReAct(VariableAwareMixin, dspy.ReAct):
    """`dspy.ReAct` with bindings built in."""


class VariableAwareMultiChainComparison(VariableAwareMixin, dspy.MultiChainComparison):
    """`dspy.MultiChainComparison` with bindings built in."""


class VariableAwareBestOfN(VariableAwareMixin, dspy.BestOfN):
    """`dspy.BestOfN` with bindings built in."""


class VariableAwareRefine(VariableAwareMixin, dspy.Refine):
    """`dspy.Refine` with bindings built in."""


AWARE: dict[str, type] = {
    "Predict": VariableAwarePredict,
    "ChainOfThought": VariableAwareChainOfThought,
    "ReAct": VariableAwareReAct,
    "MultiChainComparison": VariableAwareMultiChainComparison,
    "BestOfN": VariableAwareBestOfN,
    "Refine": VariableAwareRefine,
}
"""The variable-aware classes of this DSPy, by the name of the plain one."""

# Newer than the oldest DSPy supported, or deprecated and gone from the next one.
if ReActV2 is not None:

    class VariableAwareReActV2(VariableAwareMixin, ReActV2):
        """`dspy.ReActV2` with bindings built in."""

    AWARE["ReActV2"] = VariableAwareReActV2

if RLM is not None:

    class VariableAwareRLM(VariableAwareMixin, RLM):
        """`dspy.RLM` with bindings built in."""

    AWARE["RLM"] = VariableAwareRLM

if Flex is not None:

    class VariableAwareFlex(VariableAwareMixin, FlexOverlaid, Flex):
        """`dspy.Flex` with bindings built in."""

    AWARE["Flex"] = VariableAwareFlex

if ProgramOfThought is not None:

    class VariableAwareProgramOfThought(VariableAwareMixin, ProgramOfThought):
        """`dspy.ProgramOfThought` with bindings built in."""

    AWARE["ProgramOfThought"] = VariableAwareProgramOfThought

if CodeAct is not None:

    class VariableAwareCodeAct(VariableAwareMixin, CodeAct):
        """`dspy.CodeAct` with bindings built in."""

    AWARE["CodeAct"] = VariableAwareCodeAct
