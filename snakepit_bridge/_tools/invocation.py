"""Running one call of a tool in its worker, from its arguments to its answer."""

from __future__ import annotations

import asyncio
import threading
from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextvars import Context
from dataclasses import dataclass
from types import CoroutineType
from typing import Any, Protocol

from snakepit_bridge._client.current_call import CURRENT, RunningCall
from snakepit_bridge._client.traces import carry_on
from snakepit_bridge._client.transport import ASYNCIO, BLOCKING, Waiting, finish
from snakepit_bridge._tools.definition import Declared
from snakepit_bridge._tools.errors import failure_to_wire
from snakepit_bridge._tools.jsonable import put
from snakepit_bridge._tools.models import ToolResult
from snakepit_bridge._tools.size_limits import Kept, check_size
from snakepit_bridge._variables.values import decode
from snakepit_bridge.v1 import tool_pb2 as pb

__all__ = ["Offer", "Run"]


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """A declared tool as it is offered.

    Attributes:
        context: what it runs in a copy of.
        loop: where it runs; None: in a thread of the worker's.
    """

    declared: Declared
    context: Context
    loop: AbstractEventLoop | None


class Link(Protocol):
    """The worker's stream, as an invocation uses it."""

    value_bytes: int
    runs: dict[int, Run]

    def send(self, message: pb.ServeToolsRequest) -> None:
        """Sends it after what was sent before."""


class Run:
    """One dispatch, run. Whatever the tool does, it is answered exactly once."""

    __slots__ = (
        "_arguments",
        "_credit",
        "_link",
        "_lock",
        "_number",
        "_offer",
        "_task",
        "_waiter",
        "call",
    )

    def __init__(self, link: Link, offer: Offer, dispatch: pb.Dispatch) -> None:
        self._link = link
        self._offer = offer
        self._number = dispatch.dispatch
        self._arguments = dispatch.arguments
        self._task: asyncio.Task[None] | None = None
        # Guards the two below.
        self._lock = threading.Lock()
        self._credit = dispatch.chunk_credit
        self._waiter: Future[None] | None = None
        left = dispatch.time_left
        self.call = RunningCall(
            call_id=dispatch.call_id,
            attempt=dispatch.attempt,
            tool=dispatch.tool,
            caller=dispatch.caller,
            session_id=dispatch.session_id,
            wants_chunks=dispatch.chunk_credit > 0,
            traceparent=dispatch.traceparent,
            tracestate=dispatch.tracestate,
            time_left=left.seconds + left.nanos / 1e9,
        )

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        with self._lock:
            if self.call.cancelled:
                return
            self.call.cancelled = True
        loop = self._offer.loop
        if loop is None:
            self._wake(0)
            return
        try:
            # Once, and by nothing else: a second one would hit what the tool awaits to clean up.
            loop.call_soon_threadsafe(self._cancel_task)
        except RuntimeError as closed:
            # And with the loop what it was to run.
            self.refuse(closed)

    def grant(self, chunks: int) -> None:
        """Its caller takes more chunks."""
        self._wake(chunks)

    def _wake(self, chunks: int) -> None:
        with self._lock:
            self._credit += chunks
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.set_result(None)

    def in_thread(self) -> None:
        """Runs it in this thread."""
        self._offer.context.copy().run(self._run)

    def in_loop(self, loop: AbstractEventLoop) -> None:
        """Has the loop run it; from any thread. RuntimeError if it was closed."""
        loop.call_soon_threadsafe(self._start, context=self._offer.context.copy())

    def refuse(self, error: BaseException) -> None:
        """Answers without having run it."""
        self._answer(self._failure(error))

    def _start(self) -> None:
        task = asyncio.get_running_loop().create_task(self._run_in_task())
        task.add_done_callback(self._task_done)

    def _cancel_task(self) -> None:
        # One that has not begun sees for itself that it is not to.
        if self._task is not None:
            self._task.cancel()

    def _task_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            # By the end of its loop, before it had begun.
            self.refuse(asyncio.CancelledError())

    def _run(self) -> None:
        self._enter()
        declared = self._offer.declared
        try:
            value = declared.function(**self._bound())
            if declared.kind == "generator":
                generator = value
                try:
                    value = finish(self._stream(BLOCKING, _pulling(generator)))
                finally:
                    generator.close()
            answer = self._result(value)
        except BaseException as error:
            answer = self._failure(error)
        self._answer(answer)

    async def _run_in_task(self) -> None:
        # Nothing may leave this: SystemExit would end the loop, and whatever else runs in it.
        self._task = asyncio.current_task()
        self._enter()
        declared = self._offer.declared
        try:
            if self.call.cancelled:
                raise asyncio.CancelledError
            if declared.kind == "async_generator":
                generator = declared.function(**self._bound())
                try:
                    value = await self._stream(ASYNCIO, _awaiting(generator))
                finally:
                    await generator.aclose()
            else:
                value = await declared.function(**self._bound())
            answer = self._result(value)
        except BaseException as error:
            answer = self._failure(error)
        self._answer(answer)

    def _enter(self) -> None:
        CURRENT.set(self.call)
        carry_on(self.call)

    def _bound(self) -> dict[str, Any]:
        arguments = {entry.key: decode(entry.value) for entry in self._arguments.entries}
        signature = self._offer.declared.signature
        return arguments if signature is None else signature.bind(arguments)

    async def _stream(self, waiting: Waiting, advance: Callable[[], Awaitable[tuple[bool, Any]]]) -> Any:
        """Sends what a generator yields, or keeps it for who wants the result alone; gives its result."""
        kept = Kept(self._link.value_bytes)
        result: ToolResult | None = None
        sequence = 0
        while True:
            more, item = await advance()
            if not more:
                if item is not None:
                    return item
                if result is not None or self.call.wants_chunks:
                    return result
                return kept
            if result is not None:
                raise TypeError("it yielded something after its ToolResult, which has to come last")
            if isinstance(item, ToolResult):
                result = item
            elif self.call.wants_chunks:
                message = self._chunk(item, sequence)
                await self._take_credit(waiting)
                self._link.send(message)
                sequence += 1
            else:
                self._check_cancelled()
                kept.add(item)
                if waiting is ASYNCIO:
                    # A generator that awaits nothing is not to keep the loop for itself, nor from being cancelled.
                    await asyncio.sleep(0)

    def _check_cancelled(self) -> None:
        """Of a plain generator, which nothing can interrupt."""
        if self.call.cancelled and self._offer.loop is None:
            raise asyncio.CancelledError

    async def _take_credit(self, waiting: Waiting) -> None:
        while True:
            with self._lock:
                self._check_cancelled()
                if self._credit > 0:
                    self._credit -= 1
                    return
                waiter = self._waiter = Future()
            await waiting.result(waiter, None)

    def _chunk(self, item: Any, sequence: int) -> pb.ServeToolsRequest:
        message = pb.ServeToolsRequest()
        chunk = message.chunk
        chunk.dispatch = self._number
        chunk.sequence = sequence
        put(chunk.value, item, f"chunk {sequence}")
        check_size(chunk.value, self._link.value_bytes, "a chunk")
        return message

    def _result(self, value: Any) -> pb.ServeToolsRequest:
        if isinstance(value, ToolResult):
            value = value.value
        if isinstance(value, CoroutineType):
            value.close()
            raise TypeError("it returned a coroutine, which nobody awaits; offer the `async def` function itself")
        message = pb.ServeToolsRequest()
        result = message.result
        result.dispatch = self._number
        if isinstance(value, Kept):
            value.into(result.value)
        else:
            put(result.value, value, "the result")
        check_size(result.value, self._link.value_bytes, "the result")
        return message

    def _failure(self, error: BaseException) -> pb.ServeToolsRequest:
        failure = failure_to_wire(error, with_traceback=self._offer.declared.traceback)
        return pb.ServeToolsRequest(failure=pb.DispatchFailure(dispatch=self._number, failure=failure))

    def _answer(self, answer: pb.ServeToolsRequest) -> None:
        if self._link.runs.pop(self._number, None) is not None:
            self._link.send(answer)


def _pulling(generator: Any) -> Callable[[], Awaitable[tuple[bool, Any]]]:
    async def advance() -> tuple[bool, Any]:
        try:
            return True, next(generator)
        except StopIteration as end:
            return False, end.value

    return advance


def _awaiting(generator: Any) -> Callable[[], Awaitable[tuple[bool, Any]]]:
    async def advance() -> tuple[bool, Any]:
        try:
            return True, await anext(generator)
        except StopAsyncIteration:
            return False, None

    return advance
