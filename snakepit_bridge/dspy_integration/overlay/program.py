"""A bound program as a whole: its bindings, and who hears of their changes."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from snakepit_bridge.dspy_integration.overlay import versions
from snakepit_bridge.dspy_integration.overlay.binding import Binding, same
from snakepit_bridge.dspy_integration.overlay.formatted import written
from snakepit_bridge.dspy_integration.targets.target import MISSING, Target

if TYPE_CHECKING:
    from snakepit_bridge._context.session import Session
    from snakepit_bridge._variables.mirror import Snapshot

logger = logging.getLogger("snakepit_bridge.dspy_integration.program")


class Program:
    """The bindings made on one module, by target, and the snapshot it saw last.

    It refers to no module; see `Binding`. What is bound changes under the lock of all bindings, which is never held
    while a callback runs: a callback may bind and unbind, and so may other threads meanwhile.
    """

    def __init__(self) -> None:
        # Replaced, never changed: others iterate over it meanwhile.
        self.bindings: Mapping[Target, Binding] = {}
        # Held while callbacks run, which serialises them; a callback may call the program again.
        self.lock = threading.RLock()
        self._seen: dict[Session, Snapshot] = {}
        self._values: dict[Target, Any] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        twin = Program()
        memo[id(self)] = twin
        with self.lock, versions.lock:
            twin._seen = dict(self._seen)
            twin._values = dict(self._values)
            twin.bindings = {target: copy.deepcopy(binding, memo) for target, binding in self.bindings.items()}
        return twin

    def add(self, binding: Binding) -> None:
        """Takes a binding in, in place of one with the same target. The caller holds the lock of all bindings."""
        binding.program = self
        self.remove(binding.target)
        self.bindings = {**self.bindings, binding.target: binding}
        newest, described = binding.session.newest(), binding.described
        known = newest.revision if newest is not None and binding.variable in newest.names else -1
        if described is not None and described.revision > known:
            # What bind was just told is newer than the mirror.
            self._values[binding.target] = described.value
        else:
            self._values[binding.target] = _value_of(binding.newest_state()[0], binding)

    def remove(self, target: Target) -> None:
        """Takes a binding out; none of its callbacks begins any more. The caller holds the lock of all bindings."""
        binding = self.bindings.get(target)
        if binding is not None:
            self.bindings = {kept: other for kept, other in self.bindings.items() if kept != target}
            self._values.pop(target, None)
            binding.callbacks.clear()

    def settle(self) -> None:
        """Returns when no callback is running in another thread."""
        with self.lock:
            pass

    def observe(self, session: Session, snapshot: Snapshot) -> dict[str, tuple[Any, Any]]:
        """Notes a snapshot that this program took; tells the callbacks, if it is newer, what is different now.

        Returns:
            path -> (old, new) of what changed.
        """
        if self._seen.get(session) is snapshot:
            return {}
        with self.lock:
            previous = self._seen.get(session)
            if previous is not None and not _newer(snapshot, previous):
                return {}
            self._seen[session] = snapshot
            changed = self._changed(session, snapshot)
            if changed and logger.isEnabledFor(logging.DEBUG):
                _log(snapshot, changed)
            for binding, old, new in changed:
                # Emptied by an unbind, also by one inside a callback.
                for callback in tuple(binding.callbacks):
                    if callback not in binding.callbacks:
                        continue
                    try:
                        callback(binding.path, old, new)
                    except Exception:
                        logger.exception("a callback on %r failed", binding.path)
            return {binding.path: (old, new) for binding, old, new in changed}

    def _changed(self, session: Session, snapshot: Snapshot) -> list[tuple[Binding, Any, Any]]:
        changed = []
        with versions.lock:
            for target, binding in self.bindings.items():
                if binding.session is not session or binding.variable not in snapshot.names:
                    continue
                old, new = self._values[target], _value_of(snapshot.variables.get(binding.variable), binding)
                if not same(old, new):
                    changed.append((binding, old, new))
                    self._values[target] = new
        return changed


def _log(snapshot: Snapshot, changed: list[tuple[Binding, Any, Any]]) -> None:
    steps = (
        f"{binding.path} {written(old, 40, secret=binding.secret)} -> {written(new, 40, secret=binding.secret)}"
        for binding, old, new in changed
    )
    logger.debug("session %r at revision %d: %s", snapshot.session_id, snapshot.revision, ", ".join(steps))


def _value_of(state: Any, binding: Binding) -> Any:
    if state is not None:
        return state.value
    return None if binding.default is MISSING else binding.default


def _newer(snapshot: Snapshot, previous: Snapshot) -> bool:
    if snapshot.incarnation != previous.incarnation:
        return True
    if snapshot.revision != previous.revision:
        return snapshot.revision > previous.revision
    return snapshot.names != previous.names
