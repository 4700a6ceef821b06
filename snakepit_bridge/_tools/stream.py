"""Calling a tool for what it yields."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self

import grpc

from snakepit_bridge._client.settings import refuse_pickle
from snakepit_bridge._client.transport import ASYNCIO, BLOCKING, Waiting, finish
from snakepit_bridge._tools.calls import CallOptions, Request
from snakepit_bridge._tools.errors import failure_from_wire
from snakepit_bridge._variables.values import decode
from snakepit_bridge.exceptions import BridgeError
from snakepit_bridge.v1 import tool_pb2 as pb

if TYPE_CHECKING:
    from snakepit_bridge._client.session import SessionClient

__all__ = ["BlockingToolStream", "ToolStream"]

# Held for a slow reader; beyond it the stream is not read on, the server sends no more, and the worker pauses.
_BUFFERED_CHUNKS = 64
_BUFFERED_BYTES = 1024 * 1024


class _Pump:
    """One daemon thread per stream, with a bounded buffer that any thread or loop may read."""

    def __init__(self, session: SessionClient, request: Request) -> None:
        self.result: Any = None
        self._session = session
        self._request = request
        # Guards what follows; notified when there is room again.
        self._room = threading.Condition()
        self._buffer: deque[tuple[Any, int]] = deque()
        self._bytes = 0
        self._reader: Future[None] | None = None
        self._ended = False
        self._error: BridgeError | None = None
        message = pb.StreamToolRequest(call=request.message)
        method = session.connection.tool.StreamTool
        self._call = method(message, timeout=request.within, metadata=request.metadata)
        self._thread = threading.Thread(target=self._run, name="snakepit-stream", daemon=True)
        session.adopt(self)
        self._thread.start()

    def stop(self, error: BridgeError | None = None) -> None:
        """Cancels the call, if it has not ended; what is buffered is dropped, whoever waits is told of the end."""
        self._end(error)
        with self._room:
            self._buffer.clear()
        self._call.cancel()

    def close(self, within: float) -> None:
        """Ends the stream and its thread; the session is closing. What was not read is missed, which is an error."""
        self.stop(self._session.closed())
        if self._thread is not threading.current_thread():
            self._thread.join(within)

    async def next(self, waiting: Waiting) -> Any:
        """The next item in a list, or None at the end; raises what ended it, each time."""
        while True:
            with self._room:
                if self._buffer:
                    item, size = self._buffer.popleft()
                    self._bytes -= size
                    self._room.notify()
                    return [item]
                if self._error is not None:
                    raise self._error
                if self._ended:
                    return None
                reader = self._reader
                if reader is None:
                    reader = self._reader = Future()
            await waiting.result(reader, None)

    def _end(self, error: BridgeError | None) -> None:
        with self._room:
            if not self._ended:
                self._ended, self._error = True, error
            self._room.notify_all()
            self._wake()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.set_result(None)

    def _run(self) -> None:
        message, request_id = self._request.message, self._request.request_id
        error: BridgeError | None = BridgeError(
            f"tool {message.tool!r}: the server ended the stream before its end", request_id=request_id
        )
        try:
            for event in self._call:
                match event.WhichOneof("event"):
                    case "chunk":
                        self._put(decode(event.chunk), event.ByteSize())
                    case "result":
                        error = None
                        self.result = decode(event.result)
                        if self.result is not None:
                            self._put(self.result, 0)
                        break
                    case "failure":
                        error = failure_from_wire(event.failure, message.tool, message.call_id, request_id)
                        break
        except grpc.RpcError as failed:
            error = self._request.failed(failed)
        except BridgeError as unreadable:
            error = unreadable
        finally:
            self._call.cancel()
            self._end(error)

    def _put(self, item: Any, size: int) -> None:
        with self._room:
            self._room.wait_for(self._has_room)
            if not self._ended:
                self._buffer.append((item, size))
                self._bytes += size
                self._wake()

    def _has_room(self) -> bool:
        return self._ended or (len(self._buffer) < _BUFFERED_CHUNKS and self._bytes < _BUFFERED_BYTES)


class _AnyToolStream:
    def __init__(self, session: SessionClient, tool: str, arguments: Mapping[str, Any], options: CallOptions) -> None:
        self._session = session
        self._asked = (tool, arguments, options)
        self._pump: _Pump | None = None
        self._call_id = options.call_id or ""
        self._lock = threading.Lock()
        self._closed = False

    @property
    def call_id(self) -> str:
        """The call's id; "" before the first item was asked for, unless it was given."""
        return self._call_id

    @property
    def result(self) -> Any:
        """What the tool returned, once the stream has ended; None before, and if it returned nothing."""
        return self._pump.result if self._pump else None

    async def _next(self, waiting: Waiting) -> Any:
        if self._pump is None:
            await self._session.open(waiting)
            try:
                self._begin()
            except ValueError:
                # How grpcio says that the channel was closed meanwhile.
                await self._session.open(waiting)
                raise
        if self._pump is None:
            return None
        try:
            return await self._pump.next(waiting)
        except (asyncio.CancelledError, KeyboardInterrupt):
            self._pump.stop()
            raise

    def _begin(self) -> None:
        with self._lock:
            if self._closed or self._pump is not None:
                return
            request = Request(self._session, *self._asked)
            self._call_id = request.message.call_id
            self._pump = _Pump(self._session, request)
            # The pump's thread knows nothing of this object, so that dropping it cancels the call.
            weakref.finalize(self, self._pump.stop).atexit = False

    def _stop(self) -> None:
        with self._lock:
            self._closed = True
        if self._pump is not None:
            self._pump.stop()

    def __reduce_ex__(self, protocol: Any) -> Any:
        refuse_pickle("stream")


class ToolStream(_AnyToolStream):
    """An async iterator of what a tool yields, then of its result, unless that is None.

    The call begins with the first item asked for. Closing or dropping the stream, and cancelling a wait for an item,
    cancels the call. It has one reader at a time.
    """

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        """The next chunk; raises like `SessionContext.call_tool`."""
        item = await self._next(ASYNCIO)
        if item is None:
            raise StopAsyncIteration
        return item[0]

    async def aclose(self) -> None:
        """Cancels the call, unless it has ended."""
        self._stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class BlockingToolStream(_AnyToolStream):
    """An iterator of what a tool yields, then of its result, unless that is None; otherwise like `ToolStream`."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        """The next chunk; raises like `SessionContext.call_tool`."""
        item = finish(self._next(BLOCKING))
        if item is None:
            raise StopIteration
        return item[0]

    def close(self) -> None:
        """Cancels the call, unless it has ended."""
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
