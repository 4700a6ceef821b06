"""The thread behind a watch: follows the stream, begins again where it was, and hands changes over."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc

from snakepit_bridge._client.backoff import FIRST_PAUSE, LONGEST_PAUSE, jittered
from snakepit_bridge._client.metadata import new_request_id, sent_with
from snakepit_bridge._variables.changes import Change, Teller
from snakepit_bridge.exceptions import BridgeError, CompactedError, ServerUnavailableError
from snakepit_bridge.v1 import variable_pb2 as pb

if TYPE_CHECKING:
    from snakepit_bridge._client.session import SessionClient
    from snakepit_bridge._client.transport import Waiting

# Changes held for a slow reader; beyond it the stream is not read on, and the server holds them back.
_BUFFERED = 1024


class Pump:
    """One daemon thread per watch, with a bounded buffer that any thread or loop may read."""

    def __init__(self, session: SessionClient, pattern: str, names: Sequence[str], after: int, *, resume: bool) -> None:
        self.started = False
        self.revision = after
        self._session = session
        self._pattern = pattern
        self._names = tuple(names)
        self._resume = resume
        self._teller = Teller()
        self._delivered = after
        self._gap = False
        self._wake = threading.Event()
        self._call: Any = None
        # Guards what follows; notified when there is room again.
        self._room = threading.Condition()
        # A change, and the revision that is complete with it; or no change, for a revision that had none here.
        self._buffer: deque[tuple[Change | None, int | None]] = deque()
        self._readers: list[Future[None]] = []
        self._ended = False
        self._error: BridgeError | None = None

    def start(self) -> None:
        """Starts the thread, once."""
        with self._room:
            if self.started or self._ended:
                return
            self.started = True
            self._session.adopt(self)
            # Whose trace it belongs to is who asks for its first change.
            run = partial(copy_context().run, self._run)
            self._thread = threading.Thread(target=run, name="snakepit-watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends the watch: what is buffered is dropped, whoever waits is told of the end."""
        self._end(None)
        with self._room:
            self._buffer.clear()
            call = self._call
        if call is not None:
            call.cancel()

    def close(self, within: float) -> None:
        """Ends the watch and its thread; the session is closing."""
        self.stop()
        if self.started and self._thread is not threading.current_thread():
            self._thread.join(within)

    async def next(self, waiting: Waiting) -> Change | None:
        """The next change, or None at the end; raises what ended it, each time."""
        while True:
            with self._room:
                while self._buffer:
                    change, complete = self._buffer.popleft()
                    if complete is not None:
                        self.revision = complete
                    self._room.notify()
                    if change is not None:
                        return change
                if self._error is not None:
                    raise self._error
                if self._ended:
                    return None
                reader: Future[None] = Future()
                self._readers.append(reader)
            await waiting.result(reader, None)

    def _end(self, error: BridgeError | None) -> None:
        with self._room:
            if not self._ended:
                self._ended, self._error = True, error
            self._room.notify_all()
            self._wake_readers()
        self._wake.set()

    def _wake_readers(self) -> None:
        readers, self._readers = self._readers, []
        for reader in readers:
            reader.set_result(None)

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._ended:
            before = self._delivered
            failure = self._follow()
            if self._ended or self._session.closing.is_set():
                break
            if isinstance(failure, CompactedError) and self._resume:
                self._delivered, self._gap = 0, True
                continue
            # A lost stream is followed again; an answer of the server's is final.
            if failure is not None and not isinstance(failure, ServerUnavailableError):
                self._end(failure)
                return
            pause = FIRST_PAUSE if self._delivered > before else min(pause * 2, LONGEST_PAUSE)
            self._wake.wait(jittered(pause))
        self._end(None)

    def _follow(self) -> BridgeError | None:
        """One stream, until it ends; tells why."""
        session, request_id = self._session, new_request_id()
        request = pb.WatchVariablesRequest(
            session_id=session.session_id,
            incarnation=session.incarnation,
            mode=pb.WATCH_MODE_EVERY,
            names=self._names,
            pattern=self._pattern,
            known_revision=self._delivered,
        )
        with self._room:
            if self._ended:
                return None
            metadata = sent_with(session.connection.metadata, request_id)
            call = self._call = session.connection.variable.WatchVariables(request, metadata=metadata)
        parts: list[pb.Variable] = []
        try:
            for message in call:
                self._take(message, parts)
        except grpc.RpcError as error:
            return session.translated(error, request_id=request_id)
        except BridgeError as error:
            return error
        finally:
            call.cancel()
        return None

    def _take(self, message: pb.WatchVariablesResponse, parts: list[pb.Variable]) -> None:
        event = message.WhichOneof("event")
        changes: list[Change] = []
        if event == "snapshot":
            parts.extend(message.snapshot.variables)
        if message.partial:
            return
        if event == "snapshot":
            changes = self._teller.snapshot(parts, message.revision, gap=self._gap)
            parts.clear()
            self._gap = False
        elif event == "changes":
            changes = self._teller.changes(message.changes.changes)
        self._delivered = message.revision
        self._session.saw(message.revision)
        with self._room:
            if changes:
                self._room.wait_for(lambda: len(self._buffer) < _BUFFERED or self._ended)
            entries: list[tuple[Change | None, int | None]] = [(change, None) for change in changes[:-1]]
            entries.append((changes[-1] if changes else None, message.revision))
            if self._buffer and self._buffer[-1][0] is None:
                self._buffer.pop()
            if not self._ended:
                self._buffer.extend(entries)
            if changes:
                self._wake_readers()
            elif len(self._buffer) == 1:
                # Nobody is behind: the revision is complete without anyone reading.
                self._buffer.clear()
                self.revision = message.revision
