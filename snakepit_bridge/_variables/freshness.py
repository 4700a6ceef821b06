"""How fresh a forward's snapshot is: one Sync per forward, or a stream; and what holds while the server is away."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from snakepit_bridge._client.backoff import jittered
from snakepit_bridge._variables.mirror import Mirror, Snapshot, known, merge
from snakepit_bridge._variables.mirror_stream import MirrorFeed
from snakepit_bridge.exceptions import BridgeError, CallTimeoutError, ServerUnavailableError
from snakepit_bridge.v1 import variable_pb2 as pb

if TYPE_CHECKING:
    from snakepit_bridge._client.session import SessionClient
    from snakepit_bridge._client.transport import Waiting

logger = logging.getLogger("snakepit_bridge.freshness")

# How long a streamed forward waits for its own last write, or for the stream to begin, before it asks by itself.
ARRIVAL_SECONDS = 1.0
_MISSED_HEARTBEATS = 3
_FIRST_REST, _LONGEST_REST = 0.25, 5.0


class Freshness:
    """Gives each forward its snapshot. Usable from every thread and loop at once."""

    def __init__(self, session: SessionClient, mirror: Mirror) -> None:
        self._session = session
        self._mirror = mirror
        self._feed = MirrorFeed(session, mirror, self)
        self._lock = threading.Lock()
        # Until when the stream, silent since, still counts as connected.
        self.live_until = 0.0
        self._last_contact = 0.0
        self._cause: BridgeError | None = None
        self._rest = _FIRST_REST
        self._next_attempt = 0.0
        self._warned = False
        self._asked: tuple[Snapshot, frozenset[str], pb.SyncVariablesRequest] | None = None

    def refilter(self) -> None:
        """More names are tracked: has the stream, if there is one, begin again with them."""
        self._feed.refilter()

    def heard(self) -> None:
        """The stream has just been heard of, and all it said is in the mirror."""
        self.live_until = time.monotonic() + _MISSED_HEARTBEATS * self._session.heartbeat
        self._contact()

    def install(self, candidate: Snapshot, base: Snapshot | None) -> None:
        """Puts a merged snapshot into the mirror, and says so if it is of another life of the session."""
        before = self._mirror.newest
        self._mirror.install(candidate, base)
        self._session.saw(candidate.revision)
        if before is not None and before.incarnation != candidate.incarnation:
            logger.warning(
                "session %s was replaced by a new life of that id: forwards read it, this context's own reads and "
                "writes stay refused; connect anew",
                self._session.session_id,
            )

    async def take(self, waiting: Waiting) -> Snapshot:
        """One snapshot.

        Raises:
            ServerUnavailableError: the server is away, and nothing was ever synced, or too long ago.
            SessionNotFoundError, SessionExpiredError: the session is gone.
        """
        await self._session.open(waiting)
        if self._session.settings.freshness == "streamed":
            self._feed.start()
            arrival = self._mirror.arrival()
            if arrival is not None:
                try:
                    await waiting.result(arrival, ARRIVAL_SECONDS)
                except TimeoutError:
                    self._mirror.forget(arrival)
            live = self._mirror.live
            if live is not None and time.monotonic() < self.live_until:
                return live
        return await self._sync(waiting)

    async def _sync(self, waiting: Waiting) -> Snapshot:
        session, tracked = self._session, self._mirror.tracked
        resting = self._cause
        if resting is not None and self._usable(tracked) and not self._claim_attempt():
            return self._stale(tracked, resting)
        newest = self._mirror.newest
        base, names, new_names = known(newest, tracked)
        request = self._request(base, names, new_names)
        within = session.settings.sync_timeout
        try:
            method = session.connection.variable.SyncVariables
            reply = await session.call_once(waiting, method, request, within, bare=True)
        except (ServerUnavailableError, CallTimeoutError) as failure:
            self._failed(failure)
            return self._stale(tracked, failure)
        if base is not None and base is newest and names is tracked and not new_names and _same(base, reply):
            self._contact()
            return base
        candidate = merge(session.session_id, base, tracked, (reply,))
        self.install(candidate, newest)
        self._contact()
        return self._mirror.newer_than(candidate)

    def _request(
        self, base: Snapshot | None, names: frozenset[str], new_names: frozenset[str]
    ) -> pb.SyncVariablesRequest:
        asked = self._asked
        # While nothing changes it is the same request every time, and with many names building it is what a call costs.
        if asked is not None and asked[0] is base and asked[1] is names and not new_names:
            return asked[2]
        session = self._session
        request = pb.SyncVariablesRequest(
            session_id=session.session_id,
            incarnation=session.incarnation if base is None else base.incarnation,
            known_revision=0 if base is None else base.revision,
            names=names,
            new_names=new_names,
        )
        if base is not None and not new_names:
            self._asked = (base, names, request)
        return request

    def _contact(self) -> None:
        self._last_contact = time.monotonic()
        if self._cause is None:
            return
        with self._lock:
            if self._warned:
                logger.info("session %s: %s answers again", self._session.session_id, self._session.address)
            self._cause, self._rest, self._warned = None, _FIRST_REST, False

    def _failed(self, cause: BridgeError) -> None:
        with self._lock:
            self._cause = cause
            self._next_attempt = time.monotonic() + jittered(self._rest)
            self._rest = min(self._rest * 2, _LONGEST_REST)

    def _claim_attempt(self) -> bool:
        """Whether this forward is the one to try the server again; the others go on with the mirror meanwhile."""
        with self._lock:
            now = time.monotonic()
            if now < self._next_attempt:
                return False
            self._next_attempt = now + self._session.settings.sync_timeout
            return True

    def _age(self) -> float:
        return time.monotonic() - self._last_contact

    def _usable(self, tracked: frozenset[str]) -> bool:
        newest, most = self._mirror.newest, self._session.settings.max_staleness
        return newest is not None and newest.names >= tracked and most > 0 and self._age() <= most

    def _stale(self, tracked: frozenset[str], cause: BridgeError) -> Snapshot:
        session, newest = self._session, self._mirror.newest
        facts = cause.facts | {"session": session.session_id, "max_staleness": f"{session.settings.max_staleness:g}"}
        if newest is None or not newest.names >= tracked:
            message = f"values were never read from the server: {cause.message}"
            raise ServerUnavailableError(message, facts, request_id=cause.request_id) from None
        age = self._age()
        if not self._usable(tracked):
            most = f"max_staleness={session.settings.max_staleness:g} s"
            raise ServerUnavailableError(
                f"values are {age:.1f} s old, more than {most}: {cause.message}",
                facts | {"age": f"{age:.3f}"},
                request_id=cause.request_id,
            ) from None
        with self._lock:
            warn, self._warned = not self._warned, True
        if warn:
            logger.warning(
                "session %s: going on with values of revision %d, read %.1f s ago: %s",
                session.session_id,
                newest.revision,
                age,
                cause,
            )
        return newest


def _same(base: Snapshot, reply: pb.SyncVariablesResponse) -> bool:
    return reply.revision == base.revision and not (reply.full or reply.changed or reply.absent)
