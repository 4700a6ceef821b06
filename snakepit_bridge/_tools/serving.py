"""What a context serves: the tools recorded, and the workers that offer them."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import socket
import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from snakepit_bridge._client.transport import ASYNCIO, Waiting
from snakepit_bridge._tools import calls
from snakepit_bridge._tools.definition import Declared
from snakepit_bridge._tools.invocation import Offer
from snakepit_bridge._tools.models import Tool
from snakepit_bridge._tools.wire import tool_from_wire
from snakepit_bridge._tools.worker import Worker
from snakepit_bridge._tools.worker_threads import LoopThread
from snakepit_bridge.exceptions import InvalidRequestError
from snakepit_bridge.v1 import tool_pb2 as pb

if TYPE_CHECKING:
    from snakepit_bridge._client.session import SessionClient

__all__ = ["DRAIN_SECONDS", "Serving"]

DRAIN_SECONDS = 30.0
_LABEL_CHARACTERS = 256


class Serving:
    """The tools of one context pair. Usable from every thread and event loop at once.

    Attributes:
        worker_id: how the server knows this context's workers, also after they connected anew.
        label: what and where they are, for people.
    """

    def __init__(self, session: SessionClient) -> None:
        self.worker_id = session.client_id
        self.label = f"{session.author} on {socket.gethostname()}"
        self._session = session
        self._lock = threading.Lock()
        self._recorded: dict[tuple[str, bool], Declared] = {}
        # One for the session's tools, one for those of all sessions.
        self._workers: dict[bool, Worker] = {}
        self._loop: LoopThread | None = None
        # All streams that this context's workers open are numbered in one row, also those of a worker that follows one
        # that has ended: the server may read them in any order.
        self._generations = itertools.count(1)

    def record(self, declared: Declared) -> None:
        """Has it offered by `serve`, in place of what was recorded by that name before."""
        with self._lock:
            self._recorded[declared.name, declared.everywhere] = declared

    async def offer(self, waiting: Waiting, declared: Declared) -> Tool:
        """Offers one tool; gives it as the server lists it."""
        (worker,) = await self._offer(waiting, [declared])
        try:
            tool = (await calls.status(self._session, waiting, declared.name)).tool
        except BaseException:
            worker.retract([declared.name])
            raise
        if tool.everywhere == declared.everywhere:
            return tool
        # The session has one of its own by that name, which hides this one from it.
        return tool_from_wire(pb.Tool(spec=declared.spec, workers=1, **{"global": declared.everywhere}))

    async def _offer(self, waiting: Waiting, tools: Sequence[Declared]) -> list[Worker]:
        """Offers tools, and gives the workers that do; all are offered or none."""
        await self._session.open(waiting)
        done: list[tuple[Worker, list[str]]] = []
        try:
            for everywhere in (False, True):
                offers = [self._offered(waiting, one) for one in tools if one.everywhere is everywhere]
                if offers:
                    worker = self._worker(everywhere=everywhere)
                    await worker.offer(waiting, offers)
                    done.append((worker, [one.declared.name for one in offers]))
        except BaseException:
            for worker, names in done:
                worker.retract(names)
            raise
        return [worker for worker, _ in done]

    def _offered(self, waiting: Waiting, declared: Declared) -> Offer:
        loop = None
        if declared.kind in {"coroutine", "async_generator"}:
            loop = asyncio.get_running_loop() if waiting is ASYNCIO else self._own_loop()
        return Offer(declared, contextvars.copy_context(), loop)

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = LoopThread()
            return self._loop.loop

    def _worker(self, *, everywhere: bool) -> Worker:
        session = self._session
        with self._lock:
            session.adopt(self)
            worker = self._workers.get(everywhere)
            if worker is None or worker.ended.done():
                hello = pb.WorkerHello(
                    session_id="" if everywhere else session.session_id,
                    incarnation=b"" if everywhere else session.incarnation,
                    worker_id=self.worker_id,
                    label=self.label[:_LABEL_CHARACTERS],
                    max_concurrency=session.settings.tool_concurrency,
                    instance=session.client_id.encode(),
                )
                worker = self._workers[everywhere] = Worker(session, hello, self._generations)
            return worker

    async def withdraw(self, waiting: Waiting, name: str) -> None:
        """Offers a tool no longer."""
        await self._session.open(waiting)
        with self._lock:
            workers = [worker for worker in self._workers.values() if worker.has(name)]
            offered = sorted({other for worker in self._workers.values() for other in worker.names()})
        if not workers:
            raise InvalidRequestError(
                f"this context offers no tool {name!r}; it offers {', '.join(offered) or 'none'}",
                {"field": "name", "tool": name},
            )
        for worker in workers:
            await worker.withdraw(waiting, [name])

    async def serve(self, waiting: Waiting, drain: float) -> None:
        """Offers what was recorded, and serves until the context is closed, or whoever waits here is stopped."""
        await self._session.open(waiting)
        with self._lock:
            working = [worker for worker in self._workers.values() if not worker.ended.done()]
            offered = {(name, it) for it, worker in self._workers.items() for name in worker.names()}
            new = [one for key, one in self._recorded.items() if key not in offered]
        if not new and not offered:
            raise InvalidRequestError(
                "there is no tool to serve; record functions with @ctx.tool, or offer them", {"field": "tools"}
            )
        try:
            started = await self._offer(waiting, new)
            await waiting.result(_all_ended({*working, *started}), None)
        finally:
            await self.drain(waiting, drain)

    async def drain(self, waiting: Waiting, within: float | None) -> bool:
        """Takes no more calls, and waits for those that run; tells whether all of them ended in time."""
        if self._session.closing.is_set() or not self._workers:
            return True
        await self._session.open(waiting)
        deadline = None if within is None else time.monotonic() + within
        with self._lock:
            workers = [worker for worker in self._workers.values() if not worker.ended.done()]
        for worker in workers:
            worker.stop_taking()
        all_ended = True
        try:
            for worker in workers:
                left = None if deadline is None else max(deadline - time.monotonic(), 0)
                all_ended &= await worker.drained(waiting, left)
        finally:
            for worker in workers:
                worker.close(0)
        return all_ended

    def close(self, within: float) -> None:
        """Ends everything at once; the session is closing."""
        deadline = time.monotonic() + within
        # Without a lock: whoever holds it may be waiting for what this ends.
        for worker in list(self._workers.values()):
            worker.close(max(deadline - time.monotonic(), 0))
        if self._loop is not None:
            self._loop.close(max(deadline - time.monotonic(), 0))


def _all_ended(workers: Collection[Worker]) -> Future[None]:
    """Done when all of them have ended, or one of them for a reason."""
    over: Future[None] = Future()
    lock = threading.Lock()

    def look(_: object) -> None:
        with lock:
            if over.done():
                return
            errors = [worker.ended.exception() for worker in workers if worker.ended.done()]
            first = next((error for error in errors if error is not None), None)
            if first is not None:
                over.set_exception(first)
            elif len(errors) == len(workers):
                over.set_result(None)

    for worker in workers:
        worker.ended.add_done_callback(look)
    return over
