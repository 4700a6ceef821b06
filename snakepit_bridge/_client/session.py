"""One session of one client: its connection, the incarnation that it speaks to, and the rpcs it sends."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

import grpc

from snakepit_bridge._client import process
from snakepit_bridge._client.backoff import jittered
from snakepit_bridge._client.grpc_errors import translate, unsupported
from snakepit_bridge._client.metadata import new_request_id, sent_with
from snakepit_bridge._client.settings import Settings, refuse_pickle, user
from snakepit_bridge._client.transport import API_VERSION, ASYNCIO, Connection, Waiting, in_thread
from snakepit_bridge.exceptions import (
    BridgeError,
    ForkedProcessError,
    ServerUnavailableError,
    SessionClosedError,
)
from snakepit_bridge.v1 import server_pb2, session_pb2

if TYPE_CHECKING:
    from snakepit_bridge.server import LocalServer

T = TypeVar("T")

CLOSE_SECONDS = 1.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


class SessionClient:
    """One session of one client. Usable from every thread and event loop at once."""

    def __init__(
        self, address: str, session_id: str | None, settings: Settings, launch: Callable[[], LocalServer] | None = None
    ) -> None:
        self.address = address
        self.session_id = session_id or os.urandom(8).hex()
        self.settings = settings
        self.client_id = os.urandom(8).hex()
        self.author = f"{user()}/{os.getpid()}"
        self.closing = threading.Event()
        self.revision = 0
        # The life this context speaks to, pinned at the first open: reads and writes never move to another one.
        self.incarnation = b""
        # None until the server has told.
        self.server_release: str | None = None
        self.heartbeat = 5.0
        self._wanted = os.urandom(16)
        self._launch = launch
        self._local: Future[LocalServer] | None = None
        self._connection: Connection | None = None
        self._met = False
        self._forked = False
        self._lock = threading.Lock()
        self._streams: weakref.WeakSet[Any] = weakref.WeakSet()
        process.adopt(self)

    # A channel can be neither copied nor sent; whoever copies a program shares its session.
    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        refuse_pickle("session")

    @property
    def connection(self) -> Connection:
        """The channel and its stubs; only after `open`."""
        if self._connection is None:
            raise AssertionError("open the session first")
        return self._connection

    async def open(self, waiting: Waiting) -> None:
        """Connects and finds or creates the session, the first time; afterwards only checks that this may go on.

        Openers that race all ask for the same incarnation, so that it does not matter who is first.
        """
        if self._forked or process.forked_after_connecting():
            raise ForkedProcessError(
                f"session {self.session_id!r}: this process was forked from one that had a connection, which gRPC does "
                "not survive; start workers with multiprocessing's 'spawn' or 'forkserver' method",
                {"session": self.session_id},
            )
        if self.closing.is_set():
            raise self.closed()
        if self.incarnation:
            return
        await self._connect(waiting)
        info = await self.call(waiting, self.connection.server.GetServerInfo, server_pb2.GetServerInfoRequest())
        if info.api_version != API_VERSION:
            raise unsupported(self.address, info.api_version, info.version)
        self.server_release = info.version
        self.heartbeat = info.heartbeat_interval.ToTimedelta().total_seconds() or self.heartbeat
        opened = await self._create(waiting) if self.settings.create else await self._find(waiting)
        self.saw(opened.revision)
        self.incarnation = opened.incarnation

    async def _connect(self, waiting: Waiting) -> None:
        if self._launch is not None:
            with self._lock:
                if self._local is None:
                    self._local = in_thread(self._launch, "snakepit-start")
            self.address = (await waiting.result(self._local, None)).address
        with self._lock:
            if self._connection is None:
                self._connection = Connection(self.address, self.settings.token, self.settings.tls)

    async def _create(self, waiting: Waiting) -> session_pb2.Session:
        request = session_pb2.CreateSessionRequest(
            session_id=self.session_id, incarnation=self._wanted, metadata=self.settings.metadata
        )
        if self.settings.ttl is not None:
            request.ttl.FromNanoseconds(round(self.settings.ttl * 1e9))
        return (await self.call(waiting, self.connection.session.CreateSession, request)).session

    async def _find(self, waiting: Waiting) -> session_pb2.Session:
        request = session_pb2.GetSessionRequest(session_id=self.session_id)
        return (await self.call(waiting, self.connection.session.GetSession, request)).session

    async def call(self, waiting: Waiting, method: grpc.UnaryUnaryMultiCallable[Any, T], request: Any) -> T:
        """One rpc within `timeout`, sent again, by the same id, while the server is away; each is safe to repeat.

        Only a server that has answered before is waited for: a wrong address is told at once.
        """
        within, request_id = self.settings.timeout, new_request_id()
        deadline = time.monotonic() + within
        pause = _FIRST_PAUSE
        while True:
            try:
                left = max(deadline - time.monotonic(), 0.001)
                reply = await self.call_once(waiting, method, request, left, request_id=request_id)
            except BridgeError as failure:
                left = deadline - time.monotonic()
                if not isinstance(failure, ServerUnavailableError) or not self._met or left <= pause:
                    raise
            else:
                self._met = True
                return reply
            await waiting.pause(jittered(pause), self.closing)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def call_once(
        self,
        waiting: Waiting,
        method: grpc.UnaryUnaryMultiCallable[Any, T],
        request: Any,
        within: float,
        *,
        bare: bool = False,
        request_id: str | None = None,
    ) -> T:
        """One rpc, never repeated."""
        request_id = request_id or new_request_id()
        try:
            metadata = self.connection.credentials if bare else self.connection.metadata
            return await waiting.call(method, request, within, sent_with(metadata, request_id))
        except grpc.RpcError as error:
            raise self.translated(error, within, request_id) from None
        except ValueError:
            # How grpcio says that the channel was closed meanwhile.
            if self.closing.is_set():
                raise self.closed() from None
            raise

    def translated(
        self, error: grpc.RpcError, within: float | None = None, request_id: str | None = None
    ) -> BridgeError:
        """The exception for a failed rpc."""
        if self.closing.is_set():
            return self.closed()
        encrypted = self.settings.tls is not None
        return translate(error, self.address, within, request_id, release=self.server_release, encrypted=encrypted)

    def closed(self) -> SessionClosedError:
        """What is raised once it was closed."""
        return SessionClosedError(f"session {self.session_id!r} was closed; connect anew", {"session": self.session_id})

    def saw(self, revision: int) -> None:
        """Notes how far this client has seen."""
        if revision > self.revision:
            with self._lock:
                self.revision = max(self.revision, revision)

    def wrote(self, revision: int, changed: Iterable[str]) -> None:
        """Called with each acknowledged write of this client and the names that it changed; for a mirror."""

    def adopt(self, stream: Any) -> None:
        """Has `stream.close(timeout)` called when this session closes."""
        self._streams.add(stream)

    def close(self) -> None:
        """Ends streams, connection and local server, within a second; never raises, does nothing the second time."""
        with self._lock:
            if self.closing.is_set():
                return
            self.closing.set()
        if self._forked:
            return
        deadline = time.monotonic() + CLOSE_SECONDS
        self._on_close()
        for stream in list(self._streams):
            stream.close(max(deadline - time.monotonic(), 0))
        if self._connection is not None:
            self._connection.channel.close()
        if self._local is not None:
            # At once if it runs; when it has started if it is still starting.
            self._local.add_done_callback(_close_server)

    def _on_close(self) -> None:
        """What else ends with this session, before its streams do."""

    async def close_async(self) -> None:
        """`close`, without blocking the running loop."""
        if not self.closing.is_set():
            await ASYNCIO.result(in_thread(self.close, "snakepit-close"), None)

    def forked(self) -> bool:
        """In a forked child: refuses what comes next, leaves the parent's channel alone; tells whether there is one."""
        self._forked = True
        self._lock = threading.Lock()
        return self._connection is not None


def _close_server(starting: Future[LocalServer]) -> None:
    if starting.exception() is None:
        starting.result().close()
