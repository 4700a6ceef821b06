"""A worker: offers tools over a stream, answers their calls, and does so again whenever the stream is lost.

Each stream has a higher generation than those before, so that a server that was suspended, and then reads several of
them at once, keeps the newest. What ends a worker for good is a refusal that another stream would meet as well; what
may only mean that somebody was suspended or cut off does not.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from snakepit_bridge._client.backoff import FIRST_PAUSE, LONGEST_PAUSE, jittered
from snakepit_bridge._tools.invocation import Offer
from snakepit_bridge._tools.worker_stream import Link
from snakepit_bridge._tools.worker_threads import Threads
from snakepit_bridge.exceptions import (
    BridgeError,
    CallTimeoutError,
    InvalidRequestError,
    LimitExceededError,
    ServerUnavailableError,
    SessionError,
    from_reason,
)
from snakepit_bridge.v1 import tool_pb2 as pb

if TYPE_CHECKING:
    from snakepit_bridge._client.session import SessionClient
    from snakepit_bridge._client.transport import Waiting

__all__ = ["Worker"]

logger = logging.getLogger("snakepit_bridge.worker")

# Fields of a refusal that says that a message came too late, or that a newer stream has the place.
_LATE = frozenset({"event", "generation"})


class _Group:
    """Tools that were offered at once: the server takes all of them or none."""

    def __init__(self, offers: Sequence[Offer]) -> None:
        self.offers = list(offers)
        self.answered: Future[None] = Future()

    @property
    def specs(self) -> list[pb.ToolSpec]:
        return [offer.declared.spec for offer in self.offers]


class Worker:
    """Serves tools of one session, or global ones, from one daemon thread. Usable from every thread and loop.

    Attributes:
        ended: done when it serves no more; with an exception if that is none of our doing.
    """

    def __init__(self, session: SessionClient, hello: pb.WorkerHello, generations: Iterator[int]) -> None:
        self.ended: Future[None] = Future()
        self._session = session
        self._hello = hello
        self._generations = generations
        self._threads = Threads(hello.max_concurrency)
        self._wake = threading.Event()
        # Guards what follows.
        self._lock = threading.Lock()
        self._groups: list[_Group] = []
        # What a dispatch may be for: also what is being withdrawn, until the server says so.
        self._offers: dict[str, Offer] = {}
        self._link: Link | None = None
        self._draining = False
        self._leaving: Link | None = None
        # Whether the server has taken an offer ever, and since the stream was lost.
        self._served = self._serves = False
        self._thread: threading.Thread | None = None

    def has(self, name: str) -> bool:
        """Whether it offers a tool of that name."""
        with self._lock:
            return any(offer.declared.name == name for group in self._groups for offer in group.offers)

    def names(self) -> list[str]:
        """What it offers."""
        with self._lock:
            return [offer.declared.name for group in self._groups for offer in group.offers]

    def find(self, name: str) -> Offer | None:
        """What is to be run for a call of this tool."""
        return self._offers.get(name)

    async def offer(self, waiting: Waiting, offers: Sequence[Offer]) -> None:
        """Offers tools, and returns once everyone can call them.

        Raises:
            ToolExistsError, InvalidRequestError, LimitExceededError: the server does not take one of them.
            CallTimeoutError: it did not answer in time; then nothing is offered.
        """
        group = _Group(offers)
        specs = group.specs
        with self._lock:
            self._add(group)
        within = self._session.settings.timeout
        try:
            await waiting.result(group.answered, within)
        except BaseException as error:
            if group.answered.done():
                raise
            link = self._link
            self.retract(spec.name for spec in specs)
            if not isinstance(error, TimeoutError):
                raise
            names = ", ".join(spec.name for spec in specs)
            raise CallTimeoutError(
                f"the server at {self._session.address} did not take the offer of {names} within {within:g} s",
                {"address": self._session.address, "timeout": within},
                request_id=link.request_id if link is not None else None,
            ) from None

    def _add(self, group: _Group) -> None:
        if self._draining or self.ended.done():
            raise InvalidRequestError(
                "this context is being drained and takes no more offers; offer again when drain() has returned",
                {"field": "tools"},
            )
        known = {offer.declared.name for other in self._groups for offer in other.offers}
        for offer in group.offers:
            if offer.declared.name in known:
                raise InvalidRequestError(
                    f"this context offers a tool {offer.declared.name!r} already; withdraw it first, or name this one "
                    "otherwise with name=",
                    {"field": "name", "tool": offer.declared.name},
                )
            known.add(offer.declared.name)
        self._groups.append(group)
        self._offers.update({offer.declared.name: offer for offer in group.offers})
        if self._link is not None:
            self._send(self._link, group)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="snakepit-worker", daemon=True)
            self._thread.start()

    def retract(self, names: Iterable[str]) -> None:
        """Offers tools no longer, without waiting until the server knows."""
        gone = set(names)
        with self._lock:
            self._drop(gone)
            if self._link is not None:
                self._link.withdraw(sorted(gone), lambda _: self._forget(gone))

    def _drop(self, names: set[str]) -> None:
        for group in self._groups:
            group.offers = [offer for offer in group.offers if offer.declared.name not in names]
        self._groups = [group for group in self._groups if group.offers]

    def _forget(self, names: set[str]) -> None:
        with self._lock:
            kept = {offer.declared.name for group in self._groups for offer in group.offers}
            for name in names - kept:
                self._offers.pop(name, None)

    async def withdraw(self, waiting: Waiting, names: Iterable[str]) -> None:
        """Offers tools no longer; returns when no more calls of them come. Those that run go on."""
        gone = set(names)
        done: Future[None] = Future()

        def answered(_: object) -> None:
            self._forget(gone)
            done.set_result(None)

        with self._lock:
            self._drop(gone)
            link = self._link
            if link is not None:
                link.withdraw(sorted(gone), answered)
        if link is None:
            answered(None)
        try:
            await waiting.result(done, self._session.settings.timeout)
        except TimeoutError:
            # Lost with its stream, whose successor does not offer them.
            self._forget(gone)

    def stop_taking(self) -> None:
        """Asks the server for no more calls."""
        with self._lock:
            if not self._draining:
                self._draining = True
                self._leaving = self._link
                if self._leaving is not None:
                    self._leaving.drain()

    async def drained(self, waiting: Waiting, within: float | None) -> bool:
        """After `stop_taking`: waits for the calls that run, and ends; tells whether all of them did."""
        link = self._leaving
        try:
            return link is None or await waiting.result(link.drained, within)
        except TimeoutError:
            return False
        finally:
            self.close(0)

    def close(self, within: float) -> None:
        """Ends it at once; the session is closing."""
        self._end(None)
        with self._lock:
            link = self._link
        if link is not None:
            link.cut()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(within)

    def _end(self, error: BridgeError | None) -> None:
        with self._lock:
            if self.ended.done():
                return
            if error is None:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(error)
            groups, self._groups = self._groups, []
        self._wake.set()
        self._threads.close()
        for group in groups:
            if not group.answered.done():
                group.answered.set_exception(error or self._session.closed())

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as broken:
            # A mistake of ours must not leave anyone waiting.
            self._end(BridgeError(f"the worker broke: {broken!r}"))
            raise
        self._end(None)

    def _serve(self) -> None:
        pause = FIRST_PAUSE
        while not self.ended.done():
            self._hello.generation = next(self._generations)
            link = Link(self._session, self._hello, self._threads, self)
            with self._lock:
                if self._draining:
                    break
                self._link = link
                for group in self._groups:
                    self._send(link, group)
            failure = link.follow()
            with self._lock:
                self._link = None
            if not link.drained.done():
                link.drained.set_result(not link.runs)
            if self.ended.done() or self._session.closing.is_set() or self._draining:
                break
            if failure is not None and self._is_final(link, failure):
                if self._served:
                    logger.warning("serves %s no longer: %s", ", ".join(self.names()) or "no tools", failure)
                self._end(failure)
                break
            if link.welcomed:
                pause = FIRST_PAUSE
            if self._serves:
                self._serves = False
                names, why = ", ".join(self.names()), failure or "the server ended it"
                logger.warning("lost the stream that serves %s, will offer again: %s", names, why)
            self._wake.wait(jittered(pause))
            pause = min(pause * 2, LONGEST_PAUSE)

    def _is_final(self, link: Link, failure: BridgeError) -> bool:
        field = failure.facts.get("field")
        # Of the worker's id: what another program that has it too, and connected later, leads to.
        lasting = isinstance(failure, SessionError) or field == "worker_id"
        if link.welcomed:
            # Whatever else the server says may only mean that this process, or the server, was suspended for long.
            return lasting
        if isinstance(failure, ServerUnavailableError) or field in _LATE:
            return False
        # A worker that has served before may be too early: its last connection still counts. And what has no reason of
        # the server's is about the connection.
        early = isinstance(failure, LimitExceededError) or type(failure) is BridgeError
        return lasting or not (self._served and early)

    def _send(self, link: Link, group: _Group) -> None:
        link.offer(group.specs, lambda refused: self._answered(link, group, refused))

    def _answered(self, link: Link, group: _Group, refused: Sequence[pb.OfferRefusal]) -> None:
        before = group.answered.done()
        if not refused:
            if self._served and not self._serves:
                logger.info("serves again: %s", ", ".join(self.names()))
            self._serves = self._served = True
            if not before:
                group.answered.set_result(None)
            return
        first = refused[0]
        error = from_reason(first.reason, first.message, {"tool": first.tool, **first.facts}, link.request_id)
        names = {refusal.tool for refusal in refused}
        with self._lock:
            # All of a new group is refused. Of one that was offered before, only what is another's by now.
            self._drop(names if before else {spec.name for spec in group.specs})
            if before and group.offers:
                self._send(link, group)
            left = bool(self._groups)
        self._forget(names)
        if not before:
            group.answered.set_exception(error)
            return
        logger.error("%s cannot be offered again: %s", ", ".join(sorted(names)), error)
        if not left:
            self._end(error)
            link.cut()
