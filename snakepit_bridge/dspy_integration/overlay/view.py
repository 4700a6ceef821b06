"""Which bindings a module reads, worked out: what wins, and whether a snapshot has what they need."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import dspy

from snakepit_bridge._variables.mirror import Snapshot
from snakepit_bridge.dspy_integration.overlay.binding import MISSING, Binding, drop_released
from snakepit_bridge.dspy_integration.overlay.call_context import KEY, Scope, find
from snakepit_bridge.dspy_integration.overlay.versions import lock
from snakepit_bridge.dspy_integration.targets.prompts import dropped_demos
from snakepit_bridge.exceptions import BindingError, BridgeError, ServerUnavailableError

if TYPE_CHECKING:
    from snakepit_bridge._client.session import Session
    from snakepit_bridge.dspy_integration.overlay.overlay import Overlay

logger = logging.getLogger("snakepit_bridge.dspy_integration.view")

Slot = tuple[str, str]
"""A target's kind and name, without its owner."""


class Candidate(NamedTuple):
    """A binding that would give a predictor something.

    Attributes:
        distance: how far above the module the binding's owner is; the nearest wins, then the latest.
        task: for the instructions inside an agent, the task text in the prompt that DSPy wrote around it.
        key: for demos of several predictors in one map, this one's name in it.
    """

    distance: int
    binding: Binding
    task: str | None = None
    key: str | None = None


class View:
    """What an overlay comes to, precomputed and immutable, so that a call in progress sees one state of it."""

    def __init__(self, overlay: Overlay) -> None:
        winners = {
            slot: min(found, key=lambda candidate: (candidate.distance, -candidate.binding.serial))
            for slot, found in overlay.candidates.items()
        }
        self.winners = winners
        self.parameters = {name: won.binding for (kind, name), won in winners.items() if kind == "parameter"}
        self.model = _binding(winners.get(("model", "model")))
        self.instructions = winners.get(("instructions", "instructions"))
        self.demos = winners.get(("demos", "demos"))
        self.descriptions = {name: won.binding for (kind, name), won in winners.items() if kind == "description"}
        self.tools = _binding(winners.get(("tools", "tools")))
        self.adapter = _binding(winners.get(("adapter", "adapter")))
        self.names = dict(overlay.names)
        own = overlay.program.bindings.values() if overlay.program is not None else ()
        found = [won.binding for won in winners.values()]
        self.bindings = tuple(dict.fromkeys([*found, *self.names.values(), *overlay.through, *own]))
        programs = (binding.program for binding in self.bindings)
        self.programs = tuple(dict.fromkeys(program for program in programs if program is not None))
        self.sessions: tuple[Session, ...] = tuple(dict.fromkeys(binding.session for binding in self.bindings))
        self.wanted = {
            session: frozenset(binding.variable for binding in self.bindings if binding.session is session)
            for session in self.sessions
        }
        self.step = overlay.predictor and any(binding.step for binding in self.bindings)
        self.checked: dict[Session, Mapping[str, Any]] = {}
        self.covering: Snapshot | None = None

    def covered_by(self, scope: Scope | None) -> bool:
        """Whether a call inside `scope` needs no snapshot of its own."""
        return scope is not None and all(self.covered(scope, session) for session in self.sessions)

    def covered(self, scope: Scope | None, session: Session) -> bool:
        """Whether a call inside `scope` needs no snapshot of one session."""
        found = find(scope, session)
        if found is None or (self.step and not found.pinned):
            return False
        if found.snapshot is self.covering or self.wanted[session] <= found.snapshot.names:
            self.covering = found.snapshot
            return True
        return False

    def check(self, module: Any, session: Session, snapshot: Snapshot) -> None:
        """Checks a snapshot whole, before any of it is used.

        Raises:
            VariableNotFoundError, BindingError, ModelNotAllowedError: it holds nothing for a binding, or something
                that the binding's target does not take.
        """
        inside = False
        for binding in self.bindings:
            if binding.session is session:
                try:
                    binding.check_in(snapshot)
                except BridgeError:
                    if reads_binding(module, binding):
                        raise
                    continue
                inside = inside or binding.target.kind in {"model", "demos"}
        if not inside:
            return
        with lock:
            # A bind in another thread adds to the dicts that this walks.
            modules = [below for _, below in module.named_sub_modules(type_=dspy.Module)]
        for below in modules:
            overlay = overlay_of(below)
            if overlay is None:
                continue
            model, demos = overlay.view.model, overlay.view.demos
            if model is not None and model.session is session:
                choose_model(model, vars(below)["lm"], snapshot)
            if demos is not None and demos.binding.session is session:
                check_demos(demos, demos.binding.value_in(snapshot), vars(below)["signature"])

    def accept(self, module: Any, session: Session, snapshot: Snapshot) -> None:
        """Checks a snapshot that differs from the one before, and tells the callbacks."""
        self.check(module, session, snapshot)
        for program in self.programs:
            program.observe(session, snapshot)
        drop_released()
        self.checked[session] = snapshot.variables

    def defaults(self, module: Any, session: Session, error: ServerUnavailableError) -> Snapshot:
        """The snapshot to go on with when none is to be had and every binding has its default. Else raises `error`."""
        wanted = [binding for binding in self.bindings if binding.session is session and reads_binding(module, binding)]
        if not wanted or any(binding.default is MISSING for binding in wanted):
            raise error
        logger.warning("using the defaults of %d bindings: %s", len(wanted), error)
        return Snapshot(session.session_id, b"", 0, {}, self.wanted[session])


def _binding(won: Candidate | None) -> Binding | None:
    return won.binding if won is not None else None


def choose_model(binding: Binding, base: Any, snapshot: Snapshot) -> Any:
    """The LM that a model binding means in a snapshot, for a predictor whose own LM is `base`.

    Raises:
        ModelNotAllowedError: the binding may not switch to it.
    """
    base = base or dspy.settings.lm
    value = binding.value_in(snapshot)
    return base if value is None or binding.models is None else binding.lm_for(base, value)


def demos_for(found: Candidate, value: Any) -> list[Any] | None:
    """The demos that a binding's value has for a predictor; None if it says nothing of it."""
    demos: list[Any] | None = value if found.key is None or value is None else value.get(found.key)
    return demos


def check_demos(found: Candidate, value: Any, signature: Any) -> None:
    """Raises BindingError if a predictor of this signature would not use each of the demos."""
    binding = found.binding
    if dropped := dropped_demos(demos_for(found, value) or [], signature):
        raise BindingError(
            f"{binding.path!r} is bound to variable {binding.variable!r}, but its items {dropped} lack an input or an "
            f"output of the signature ({', '.join(signature.fields)}), so that DSPy would drop them from the prompt",
            {"path": binding.path, "variable": binding.variable},
        )


def overlay_of(module: Any) -> Overlay | None:
    """The overlay of a module, or None while it has none."""
    overlay: Overlay | None = vars(module).get(KEY)
    return overlay


def reads_binding(module: Any, binding: Binding) -> bool:
    """Whether anything in a module still reads a binding: not once all was assigned something else."""
    with lock:
        found = [overlay_of(below) for _, below in module.named_sub_modules(type_=dspy.Module)]
    return any(overlay is not None and overlay.serves(binding) for overlay in found)
