"""The one connection of a context, and the two ways to wait for it: blocking, and in an event loop.

Everything above is written once, as coroutines that await a `Waiting`. Under `Blocking` they never suspend, so that
`finish` runs them to their end in the calling thread, inside a running loop too; under `Asyncio` they are plain
coroutines of that loop. One synchronous channel serves every thread and every loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

import grpc

from snakepit_bridge._client.metadata import Metadata
from snakepit_bridge.tls import TLS
from snakepit_bridge.v1.server_pb2_grpc import ServerServiceStub
from snakepit_bridge.v1.session_pb2_grpc import SessionServiceStub
from snakepit_bridge.v1.tool_pb2_grpc import ToolServiceStub
from snakepit_bridge.v1.variable_pb2_grpc import VariableServiceStub

T = TypeVar("T")

API_VERSION = 1
METADATA: Metadata = (("snakepit-api-version", str(API_VERSION)),)
MESSAGE_BYTES = 32 * 1024 * 1024

_OPTIONS = (
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Not a pause, despite its name: how long an attempt to connect may take, before the server's first frame.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Each context its own connection, so that one's streams cannot fill another's.
    ("grpc.use_local_subchannel_pool", 1),
    # A proxy set for the web must not see, nor break, this traffic.
    ("grpc.enable_http_proxy", 0),
)


class Connection:
    """One channel and its stubs. Making it does no I/O; the first call connects.

    Attributes:
        metadata: what every call sends along: the api version, and the token if there is one.
        credentials: the token alone, for calls that need not say the version.
    """

    def __init__(self, address: str, token: str | None = None, tls: TLS | None = None) -> None:
        self.address = address
        self.credentials: Metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self.metadata: Metadata = METADATA + self.credentials
        self.channel = (
            grpc.insecure_channel(address, options=_OPTIONS)
            if tls is None
            else grpc.secure_channel(address, tls.credentials(), options=_OPTIONS)
        )
        self.server = ServerServiceStub(self.channel)
        self.session = SessionServiceStub(self.channel)
        self.variable = VariableServiceStub(self.channel)
        self.tool = ToolServiceStub(self.channel)


class Waiting(Protocol):
    """How to wait for something."""

    async def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Any, T],
        request: Any,
        within: float | None,
        metadata: Metadata,
    ) -> T:
        """One rpc; raises grpc.RpcError."""

    async def result(self, future: Future[T], within: float | None) -> T:
        """The future's result; raises TimeoutError."""

    async def pause(self, seconds: float, closing: threading.Event) -> None:
        """Lets time pass; less of it if `closing` is set meanwhile and the wait is a blocking one."""


class Blocking:
    """Waits by blocking the calling thread."""

    async def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Any, T],
        request: Any,
        within: float | None,
        metadata: Metadata,
    ) -> T:
        """One rpc; raises grpc.RpcError."""
        return method(request, timeout=within, metadata=metadata)

    async def result(self, future: Future[T], within: float | None) -> T:
        """The future's result; raises TimeoutError."""
        return future.result(within)

    async def pause(self, seconds: float, closing: threading.Event) -> None:
        """Lets time pass, less if `closing` is set meanwhile."""
        closing.wait(seconds)


class Asyncio:
    """Waits in the running event loop. Cancelling the task cancels its rpc."""

    async def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Any, T],
        request: Any,
        within: float | None,
        metadata: Metadata,
    ) -> T:
        """One rpc; raises grpc.RpcError."""
        rpc = method.future(request, timeout=within, metadata=metadata)
        try:
            await wait_done(rpc.add_done_callback)
        except asyncio.CancelledError:
            rpc.cancel()
            raise
        return rpc.result()

    async def result(self, future: Future[T], within: float | None) -> T:
        """The future's result; raises TimeoutError. The future itself is left alone by a cancelled wait."""
        async with asyncio.timeout(within):
            await wait_done(future.add_done_callback)
        return future.result()

    async def pause(self, seconds: float, closing: threading.Event) -> None:
        """Lets time pass."""
        if not closing.is_set():
            await asyncio.sleep(seconds)


BLOCKING = Blocking()
ASYNCIO = Asyncio()


async def wait_done(add_done_callback: Callable[[Callable[[Any], None]], object]) -> None:
    """Awaits, in the running loop, what calls back from another thread."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def done(_: object) -> None:
        try:
            loop.call_soon_threadsafe(wake)
        except RuntimeError:
            # The loop was closed meanwhile, and whoever waited in it is gone.
            return

    add_done_callback(done)
    await waiter


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that waits only by `Blocking`, hence never suspends, to its end."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    coroutine.close()
    raise AssertionError("a blocking call tried to suspend")


def in_thread(function: Callable[[], T], name: str) -> Future[T]:
    """Runs a short function in a daemon thread of its own."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
