"""What a module of a bound program reads through: which bindings it serves, and the snapshot it runs with."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import dspy

from snakepit_bridge.dspy_integration.binding import MISSING, Binding, drop_released
from snakepit_bridge.dspy_integration.editions import Edition, current, lock
from snakepit_bridge.dspy_integration.program import Program
from snakepit_bridge.dspy_integration.prompts import dropped_demos
from snakepit_bridge.dspy_integration.scope import KEY, Scope, active, find, joined
from snakepit_bridge.exceptions import BindingError, BridgeError, ServerUnavailableError
from snakepit_bridge.mirror import Snapshot

if TYPE_CHECKING:
    from snakepit_bridge.session import Session

logger = logging.getLogger(__name__)

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


class Overlay:
    """The bindings that one module serves. Lives in the module's `__dict__`, where DSPy looks for no parameters in it.

    Attributes:
        program: if `bind` was called on this very module, its bindings.
        candidates: what could give this module each thing that it reads other than by name.
        names: the bindings that are read as an attribute of this module.
        through: bindings of modules above, served below this module.
        context: for a variable-aware module, the session context it was given.
        auto_sync: whether a call takes a snapshot by itself.
        held: without auto_sync, the snapshots in use.
        newest_view: what holds for calls that begin now.
        adapts: whether an adapter was ever bound on this module.
    """

    def __init__(self, *, predictor: bool) -> None:
        self.predictor = predictor
        self.program: Program | None = None
        self.candidates: dict[Slot, list[Candidate]] = {}
        self.names: dict[str, Binding] = {}
        self.through: list[Binding] = []
        self.context: Any = None
        self.auto_sync = True
        self.held: dict[Session, Snapshot] = {}
        self.newest_view = View(self)
        self.adapts = False

    def __copy__(self) -> Overlay:
        # With bindings of its own, though the modules below are shared.
        return copy.deepcopy(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Overlay:
        twin = Overlay(predictor=self.predictor)
        memo[id(self)] = twin
        twin.program = copy.deepcopy(self.program, memo)
        twin.candidates = {
            slot: [found._replace(binding=copy.deepcopy(found.binding, memo)) for found in candidates]
            for slot, candidates in self.candidates.items()
        }
        twin.names = {name: copy.deepcopy(binding, memo) for name, binding in self.names.items()}
        twin.through = [copy.deepcopy(binding, memo) for binding in self.through]
        twin.context, twin.auto_sync, twin.held = self.context, self.auto_sync, dict(self.held)
        twin.adapts = self.adapts
        twin.rebuild()
        return twin

    def rebuild(self) -> None:
        """Puts what was removed by an assignment into effect, in the call that assigned it too."""
        self.newest_view = View(self)
        scope = active()
        edition = scope.edition if scope is not None else None
        while edition is not None:
            if self in edition.replaced:
                edition.replaced = {other: view for other, view in edition.replaced.items() if other is not self}
            edition = edition.next

    @property
    def view(self) -> View:
        """What holds for the call in progress; outside a call what holds now."""
        scope = active()
        edition = scope.edition if scope is not None else None
        return self.newest_view if edition is None else self.view_at(edition)

    def view_at(self, edition: Edition) -> View:
        """What holds for calls that began in an edition."""
        view, later = self.newest_view, edition
        while True:
            replaced = later.replaced.get(self)
            if replaced is not None:
                return replaced
            if later.next is None:
                return view
            later = later.next

    def serves(self, binding: Binding) -> bool:
        """Whether this module reads the binding, be it in the shadow of a nearer one."""
        if any(found.binding.is_twin(binding) for candidates in self.candidates.values() for found in candidates):
            return True
        named = self.names.get(binding.target.name)
        return binding.target.kind == "attribute" and named is not None and named.is_twin(binding)

    def offer(self, candidate: Candidate) -> None:
        """Serves a binding to this module."""
        slot = candidate.binding.target.slot
        self.candidates = {**self.candidates, slot: [*self.candidates.get(slot, ()), candidate]}
        self.adapts = self.adapts or slot[0] == "adapter"

    def release(self, binding: Binding) -> None:
        """Stops serving a binding, as of the next view."""
        kept = {
            slot: [candidate for candidate in found if not candidate.binding.is_twin(binding)]
            for slot, found in self.candidates.items()
        }
        self.candidates = {slot: found for slot, found in kept.items() if found}
        self.names = {name: named for name, named in self.names.items() if not named.is_twin(binding)}
        self.through = [passing for passing in self.through if not passing.is_twin(binding)]

    def drop(self, binding: Binding) -> None:
        """Stops serving a binding, because its name was assigned."""
        with lock:
            self.release(binding)
            self.rebuild()

    def drop_slot(self, slot: Slot) -> None:
        """Stops serving whatever gives this module one thing, because it was assigned."""
        with lock:
            for candidate in self.candidates.get(slot, ()):
                detached(candidate.binding)
            self.candidates = {kept: found for kept, found in self.candidates.items() if kept != slot}
            self.rebuild()

    @property
    def empty(self) -> bool:
        """Whether nothing of it is left."""
        return not (self.program or self.candidates or self.names or self.through or self.context)

    def covered_by(self, scope: Scope | None) -> bool:
        """Whether an entry inside `scope` needs no scope of its own, as in `forward` after `()`."""
        edition = scope.edition if scope is not None else None
        if scope is None or edition is None:
            return False
        return scope.opener is self or self.view_at(edition).covered_by(scope)

    def open(self, module: Any, outer: Scope | None) -> Scope | None:
        """The scope that a call of `module` runs in, with what `outer` lacks taken now."""
        scope, edition = self._begin(outer)
        view = self.view_at(edition)
        for session in view.sessions:
            if view.covered(outer, session):
                continue
            snapshot = self._held(view, session)
            if snapshot is None:
                try:
                    snapshot = session.take()
                except ServerUnavailableError as error:
                    snapshot = view.defaults(module, session, error)
            scope = self._opened(module, edition, session, snapshot, scope)
        return scope

    async def open_async(self, module: Any, outer: Scope | None) -> Scope | None:
        """`open`, without blocking the loop."""
        scope, edition = self._begin(outer)
        view = self.view_at(edition)
        for session in view.sessions:
            if view.covered(outer, session):
                continue
            snapshot = self._held(view, session)
            if snapshot is None:
                try:
                    snapshot = await session.take_async()
                except ServerUnavailableError as error:
                    snapshot = view.defaults(module, session, error)
            scope = self._opened(module, edition, session, snapshot, scope)
        return scope

    def _begin(self, outer: Scope | None) -> tuple[Scope | None, Edition]:
        edition = outer.edition if outer is not None else None
        if edition is not None:
            return outer, edition
        edition = current()
        if outer is None:
            return None, edition
        # The first call inside an `sb.snapshot`.
        return Scope(outer.session, outer.snapshot, outer, edition, pinned=outer.pinned, opener=self), edition

    def _held(self, view: View, session: Session) -> Snapshot | None:
        held = None if self.auto_sync else self.held.get(session)
        return held if held is not None and view.wanted[session] <= held.names else None

    def _opened(
        self, module: Any, edition: Edition, session: Session, snapshot: Snapshot, scope: Scope | None
    ) -> Scope:
        if not self.auto_sync:
            self.held[session] = snapshot
        view, around = self.view_at(edition), find(scope, session)
        pinned = around is not None and around.pinned
        if around is not None and (pinned or not view.step):
            # Only for what was bound since it was taken: of the rest the call around has its state already.
            snapshot = joined(around.snapshot, snapshot)
        if view.checked.get(session) is not snapshot.variables:
            view.accept(module, session, snapshot)
        return Scope(session, snapshot, scope, edition, pinned=pinned, opener=self)


def overlay_of(module: Any) -> Overlay | None:
    """The overlay of a module, or None while it has none."""
    overlay: Overlay | None = vars(module).get(KEY)
    return overlay


def reads_binding(module: Any, binding: Binding) -> bool:
    """Whether anything in a module still reads a binding: not once all was assigned something else."""
    with lock:
        found = [overlay_of(below) for _, below in module.named_sub_modules(type_=dspy.Module)]
    return any(overlay is not None and overlay.serves(binding) for overlay in found)


def detached(binding: Binding) -> None:
    """Says, once, that an assignment took something out of a binding."""
    logger.warning(
        "%r was assigned, so it no longer follows variable %r; bind it again to undo that",
        binding.path,
        binding.variable,
    )
