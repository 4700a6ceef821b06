"""The stream that feeds a mirror: one daemon thread, from the first streamed forward until the session closes."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

import grpc

from snakepit_bridge._client.backoff import FIRST_PAUSE, LONGEST_PAUSE, jittered
from snakepit_bridge._client.metadata import new_request_id, sent_with
from snakepit_bridge._variables.mirror import Feed, Mirror, Snapshot, known, merge
from snakepit_bridge.exceptions import BridgeError
from snakepit_bridge.v1 import variable_pb2 as pb

if TYPE_CHECKING:
    from snakepit_bridge._client.session import SessionClient


class Receiver(Protocol):
    """Who is told what the stream says."""

    def install(self, candidate: Snapshot, base: Snapshot | None) -> None:
        """A snapshot came, merged into `base`."""

    def heard(self) -> None:
        """Something came, and all of it is installed."""


class MirrorFeed:
    """Watches the tracked names and merges what changes; begins again, from where it was, whenever the stream ends."""

    def __init__(self, session: SessionClient, mirror: Mirror, receiver: Receiver) -> None:
        self._session = session
        self._mirror = mirror
        self._receiver = receiver
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._call: Any = None
        self._watched: frozenset[str] = frozenset()

    def start(self) -> None:
        """Starts the stream, unless it was started or nothing is tracked."""
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None and self._mirror.tracked and not self._session.closing.is_set():
                self._mirror.feeds(Feed.STARTING)
                self._thread = threading.Thread(target=self._run, name="snakepit-mirror", daemon=True)
                self._session.adopt(self)
                self._thread.start()

    def refilter(self) -> None:
        """More names are tracked: the running stream is ended, so that the next one asks for them."""
        with self._lock:
            if self._thread is None:
                return
            self._mirror.feeds(Feed.STARTING)
            self._wake.set()
            if self._call is not None:
                self._call.cancel()

    def close(self, within: float) -> None:
        """Ends the stream and its thread; the session is closing."""
        with self._lock:
            self._wake.set()
            if self._call is not None:
                self._call.cancel()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(within)

    def _run(self) -> None:
        pause = 0.0
        closing = self._session.closing
        while not closing.is_set():
            self._wake.clear()
            if not self._mirror.tracked:
                # A watch without any name would be one of all variables.
                self._mirror.feeds(Feed.DOWN)
                self._wake.wait()
                continue
            began = time.monotonic()
            heard = self._watch()
            if closing.is_set():
                return
            if self._wake.is_set() or not self._mirror.tracked <= self._watched:
                continue
            # A stream that had lived is followed up at once, and forwards wait for that; then ever more slowly.
            pause = (
                0.0
                if heard and time.monotonic() - began > FIRST_PAUSE
                else min(pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
            )
            self._mirror.feeds(Feed.DOWN if pause else Feed.STARTING)
            self._wake.wait(jittered(pause))

    def _watch(self) -> bool:
        """One stream, until it ends; tells whether anything was heard on it."""
        session, tracked, newest = self._session, self._mirror.tracked, self._mirror.newest
        base, names, new_names = known(newest, tracked)
        request = pb.WatchVariablesRequest(
            session_id=session.session_id,
            incarnation=session.incarnation if base is None else base.incarnation,
            mode=pb.WATCH_MODE_LATEST,
            names=names,
            new_names=new_names,
            known_revision=0 if base is None else base.revision,
        )
        with self._lock:
            if session.closing.is_set():
                return False
            self._watched = tracked
            metadata = sent_with(session.connection.metadata, new_request_id())
            call = self._call = session.connection.variable.WatchVariables(request, metadata=metadata)
            if not self._mirror.tracked <= tracked:
                # Tracked since, by a thread that found no stream to end.
                call.cancel()
        heard = False
        parts: list[pb.SyncVariablesResponse] = []
        state: Snapshot | None = base
        try:
            for message in call:
                heard = True
                if message.WhichOneof("event") == "latest":
                    parts.append(message.latest)
                elif message.WhichOneof("event") == "heartbeat":
                    parts.append(pb.SyncVariablesResponse(revision=message.revision, incarnation=message.incarnation))
                if message.partial:
                    continue
                if parts:
                    before, state = state, merge(session.session_id, state, tracked, parts)
                    parts = []
                    self._receiver.install(state, before or newest)
                self._receiver.heard()
                self._mirror.feeds(Feed.UP)
        except (grpc.RpcError, BridgeError):
            # Why it ended does not matter here: a forward that cannot be served from the mirror asks by itself, and
            # is told by the server.
            return heard
        finally:
            call.cancel()
            with self._lock:
                self._call = None
        return heard
