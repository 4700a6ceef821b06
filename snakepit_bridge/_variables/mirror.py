"""The mirror: what a context last knew of the variables it tracks, as immutable snapshots.

A `Snapshot` is made by merging a reply into the snapshot that the request named as known, so that a reply can be
merged whenever it arrives; the mirror then keeps the newest. Nothing else ever writes to it: not the reply to an own
write, which says nothing about the other variables of that revision.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any

from snakepit_bridge._variables.display import record_repr
from snakepit_bridge._variables.values import decode
from snakepit_bridge.v1 import variable_pb2 as pb


@dataclass(frozen=True, slots=True)
class VariableState:
    """A variable's value and place in time. The value is shared by every reader: copy it before changing it.

    Attributes:
        redacted: whether the value is withheld from this client.
        secret: whether it is one; its repr does not show it.
    """

    name: str
    value: Any
    version: int
    revision: int
    redacted: bool = False
    secret: bool = False

    def __repr__(self) -> str:
        return record_repr(self, secret=self.secret)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The variables tracked, as of one revision of one life of a session.

    Attributes:
        names: what it speaks of; a name in here that is not in `variables` does not exist.
    """

    session_id: str
    incarnation: bytes
    revision: int
    variables: Mapping[str, VariableState]
    names: frozenset[str] = field(repr=False)


def known(base: Snapshot | None, tracked: frozenset[str]) -> tuple[Snapshot | None, frozenset[str], frozenset[str]]:
    """What to ask for: the base to name as known, the names it speaks of, and the new names.

    A base that speaks of none of them is not worth naming: without it the answer is everything asked for.
    """
    if base is None or not (base.names & tracked):
        return None, tracked, frozenset()
    if base.names == tracked:
        return base, tracked, frozenset()
    return base, base.names & tracked, tracked - base.names


def merge(
    session_id: str, base: Snapshot | None, names: frozenset[str], parts: Iterable[pb.SyncVariablesResponse]
) -> Snapshot:
    """The state after a reply to a request that knew `base` and asked for `names`, new ones included.

    Returns `base` itself if the reply moved nothing, and keeps its mapping if only the revision moved.
    """
    parts = tuple(parts)
    last = parts[-1]
    full = base is None or any(part.full for part in parts)
    if base is not None and not full:
        unmoved = base.names == names and not any(part.changed or part.absent for part in parts)
        if unmoved and base.revision == last.revision:
            return base
        if unmoved:
            return Snapshot(session_id, last.incarnation, last.revision, base.variables, names)
    variables = {} if base is None or full else dict(base.variables)
    for part in parts:
        for name in part.absent:
            variables.pop(name, None)
        for state in part.changed:
            value = None if state.redacted else decode(state.value)
            variables[state.name] = VariableState(
                state.name, value, state.version, state.revision, state.redacted, state.secret
            )
    if base is not None and not base.names <= names:
        variables = {name: state for name, state in variables.items() if name in names}
    return Snapshot(session_id, last.incarnation, last.revision, MappingProxyType(variables), names)


class Feed(Enum):
    """What the stream that feeds the mirror is doing."""

    DOWN = "down"
    STARTING = "starting"
    UP = "up"


class Mirror:
    """The newest snapshot, the names it should speak of, and, fed by a stream, whether a forward may just take it.

    Every field is written under the lock and read without it. `live` is the newest snapshot while a stream keeps it
    current, it speaks of everything tracked, and it has every write this context had acknowledged; else None.
    """

    def __init__(self) -> None:
        self.newest: Snapshot | None = None
        self.tracked: frozenset[str] = frozenset()
        self.live: Snapshot | None = None
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._feed = Feed.DOWN
        self._written = 0
        self._arrivals: list[Future[None]] = []

    def track(self, names: Iterable[str]) -> bool:
        """Counts one more user for each name; tells whether that made any name tracked."""
        with self._lock:
            for name in names:
                self._counts[name] = self._counts.get(name, 0) + 1
            return self._retrack()

    def untrack(self, names: Iterable[str]) -> bool:
        """Counts one user less for each name; tells whether that left any name untracked."""
        with self._lock:
            for name in names:
                left = self._counts.get(name, 0) - 1
                if left > 0:
                    self._counts[name] = left
                else:
                    self._counts.pop(name, None)
            return self._retrack()

    def _retrack(self) -> bool:
        if len(self._counts) == len(self.tracked) and self._counts.keys() == self.tracked:
            return False
        self.tracked = frozenset(self._counts)
        self._settle()
        return True

    def install(self, candidate: Snapshot, base: Snapshot | None) -> None:
        """Makes `candidate`, merged into `base`, the newest snapshot if it is newer."""
        with self._lock:
            if self._supersedes(candidate, base):
                if self.newest is not None and self.newest.incarnation != candidate.incarnation:
                    self._written = 0
                self.newest = candidate
                self._settle()

    def _supersedes(self, candidate: Snapshot, base: Snapshot | None) -> bool:
        newest = self.newest
        if newest is None:
            return True
        if candidate.incarnation != newest.incarnation:
            # Whoever asked knowing what the mirror holds, and was told of another life, was told of a later one.
            return base is None or base.incarnation == newest.incarnation
        kept = newest.names & self.tracked
        if candidate.revision == newest.revision:
            return candidate.names > kept and candidate.names != newest.names
        return candidate.revision > newest.revision and candidate.names >= kept

    def newer_than(self, candidate: Snapshot) -> Snapshot:
        """The newest snapshot if it can stand for `candidate`, else `candidate`."""
        newest = self.newest
        if (
            newest is not None
            and newest.incarnation == candidate.incarnation
            and newest.revision >= candidate.revision
            and newest.names >= candidate.names
        ):
            return newest
        return candidate

    def feeds(self, feed: Feed) -> None:
        """Says what the stream is doing now."""
        with self._lock:
            self._feed = feed
            self._settle()

    def wrote(self, revision: int, changed: Iterable[str]) -> None:
        """Notes the revision of an acknowledged own write, which the next live snapshot has to contain.

        Only if it changed a tracked name: of any other the stream says nothing before its next heartbeat.
        """
        with self._lock:
            if revision > self._written and not self.tracked.isdisjoint(changed):
                self._written = revision
                self._settle()

    def arrival(self) -> Future[None] | None:
        """A future that is done once `live` is set or the stream is down; None if there is nothing to wait for."""
        with self._lock:
            if self._feed is Feed.DOWN or self.live is not None:
                return None
            arrival: Future[None] = Future()
            self._arrivals.append(arrival)
            return arrival

    def forget(self, arrival: Future[None]) -> None:
        """Drops a future nobody waits for any more."""
        with self._lock:
            if arrival in self._arrivals:
                self._arrivals.remove(arrival)

    def abandon(self) -> None:
        """In a forked child, where the lock may be held by a thread that is no more: nothing is live."""
        self._lock = threading.Lock()
        self._feed = Feed.DOWN
        self.live = None

    def _settle(self) -> None:
        newest = self.newest
        current = (
            self._feed is Feed.UP
            and newest is not None
            and newest.revision >= self._written
            and newest.names >= self.tracked
        )
        self.live = newest if current else None
        if self._arrivals and (self.live is not None or self._feed is Feed.DOWN):
            arrivals, self._arrivals = self._arrivals, []
            for arrival in arrivals:
                arrival.set_result(None)
