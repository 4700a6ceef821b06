"""The bindings that each module of a bound program serves, and the scope that its calls run in."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import ref

import dspy

from snakepit_bridge._variables.mirror import Snapshot
from snakepit_bridge.dspy_integration._dspy_internals import LM, SIGNATURE
from snakepit_bridge.dspy_integration.overlay.binding import Binding, drop_released
from snakepit_bridge.dspy_integration.overlay.call_context import KEY, Scope, active, end, find, joined
from snakepit_bridge.dspy_integration.overlay.program import Program
from snakepit_bridge.dspy_integration.overlay.versions import Edition, begin, current, lock
from snakepit_bridge.dspy_integration.overlay.view import Candidate, Slot, View, check_demos, choose_model
from snakepit_bridge.exceptions import BridgeError, ServerUnavailableError

if TYPE_CHECKING:
    from snakepit_bridge._context.session import Session

logger = logging.getLogger("snakepit_bridge.dspy_integration.overlay")


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
        self.newest_view = View(predictor=predictor)
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
        self.newest_view = self.new_view()
        scope = active()
        edition = scope.edition if scope is not None else None
        while edition is not None:
            if self in edition.replaced:
                edition.replaced = {other: view for other, view in edition.replaced.items() if other is not self}
            edition = edition.next

    def new_view(self) -> View:
        """What it comes to now, as a view that is not in effect yet."""
        return View(
            predictor=self.predictor,
            candidates=self.candidates,
            names=self.names,
            through=self.through,
            own=self.program.bindings.values() if self.program is not None else (),
        )

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
            replaced: View | None = later.replaced.get(self)
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
        try:
            view = self.view_at(edition)
            for session in view.sessions:
                if view.covered(outer, session):
                    continue
                snapshot = self._held(view, session)
                if snapshot is None:
                    try:
                        snapshot = session.take()
                    except ServerUnavailableError as error:
                        snapshot = view.defaults(session, _read(module, view, session), error)
                scope = self._opened(module, edition, session, snapshot, scope)
        except BaseException:
            end(scope, outer)
            raise
        finally:
            # Who keeps an exception keeps the locals of what raised it, which would keep all that is bound from now on.
            del edition
        return scope

    async def open_async(self, module: Any, outer: Scope | None) -> Scope | None:
        """`open`, without blocking the loop."""
        scope, edition = self._begin(outer)
        try:
            view = self.view_at(edition)
            for session in view.sessions:
                if view.covered(outer, session):
                    continue
                snapshot = self._held(view, session)
                if snapshot is None:
                    try:
                        snapshot = await session.take_async()
                    except ServerUnavailableError as error:
                        snapshot = view.defaults(session, _read(module, view, session), error)
                scope = self._opened(module, edition, session, snapshot, scope)
        except BaseException:
            end(scope, outer)
            raise
        finally:
            # Who keeps an exception keeps the locals of what raised it, which would keep all that is bound from now on.
            del edition
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
        try:
            view, around = self.view_at(edition), find(scope, session)
            pinned = around is not None and around.pinned
            if around is not None and (pinned or not view.step):
                # Only for what was bound since it was taken: of the rest the call around has its state already.
                snapshot = joined(around.snapshot, snapshot)
            if view.checked.get(session) is not snapshot.variables:
                _accept(view, module, session, snapshot)
            return Scope(session, snapshot, scope, edition, pinned=pinned, opener=self)
        finally:
            # As in `open`.
            del edition


def detached(binding: Binding) -> None:
    """Says, once, that an assignment took something out of a binding."""
    logger.warning(
        "%r was assigned, so it no longer follows variable %r; bind it again to undo that",
        binding.path,
        binding.variable,
    )


def publish(views: Mapping[Overlay, View]) -> ref[Edition]:
    """Puts views into effect, for a call that begins from now on all of them at once. The caller holds the lock.

    Where nothing was bound, calls in progress see what is bound now: otherwise a program that is bound while such a
    call runs, and then used by it, would run unbound.

    Returns:
        The edition that has ended, by a reference that is dead if no call is in progress that began in it or before.
    """
    ended, begun = current(), Edition()
    # First the note, then the view: `Overlay.view_at` reads them the other way round.
    ended.replaced = {overlay: overlay.newest_view for overlay in views if overlay.newest_view.bindings}
    ended.next = begun
    for overlay, view in views.items():
        overlay.newest_view = view
    begin(begun)
    return ref(ended)


def overlay_of(module: Any) -> Overlay | None:
    """The overlay of a module, or None while it has none."""
    overlay: Overlay | None = vars(module).get(KEY)
    return overlay


def reads_binding(module: Any, binding: Binding) -> bool:
    """Whether anything in a module still reads a binding: not once all was assigned something else."""
    with lock:
        found = [overlay_of(below) for _, below in module.named_sub_modules(type_=dspy.Module)]
    return any(overlay is not None and overlay.serves(binding) for overlay in found)


def _read(module: Any, view: View, session: Session) -> list[Binding]:
    """The bindings of a session that something in a module reads."""
    return [binding for binding in view.bindings if binding.session is session and reads_binding(module, binding)]


def _accept(view: View, module: Any, session: Session, snapshot: Snapshot) -> None:
    """Checks a snapshot that differs from the one before, and tells the callbacks."""
    check_snapshot(view, module, session, snapshot)
    for program in view.programs:
        program.observe(session, snapshot)
    drop_released()
    view.checked[session] = snapshot.variables


def check_snapshot(view: View, module: Any, session: Session, snapshot: Snapshot) -> None:
    """Checks a snapshot whole, before any of it is used.

    Raises:
        VariableNotFoundError, BindingError, ModelNotAllowedError: it holds nothing for a binding, or something
            that the binding's target does not take.
    """
    inside = False
    for binding in view.bindings:
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
            choose_model(model, vars(below)[LM], snapshot)
        if demos is not None and demos.binding.session is session:
            check_demos(demos, demos.binding.value_in(snapshot), vars(below)[SIGNATURE])
