"""Writers that know what was acknowledged to them, and what a server that opens their journal has to have of it.

Each of them writes on through power cuts: a call that is under way then is sent again until it is answered. So whatever
is acknowledged is acknowledged once, and the next number tells whether it was applied once.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from snakepit_bridge import BlockingContext, SessionContext
from snakepit_bridge._client.transport import BLOCKING, finish
from snakepit_bridge.exceptions import (
    BridgeError,
    ServerUnavailableError,
    SessionClosedError,
    SessionExpiredError,
    SessionNotFoundError,
)
from snakepit_bridge.session_context import session_of
from snakepit_bridge.v1 import server_pb2, session_pb2
from tests.faults.disk.looking import sessions, variables

# Longer than a server is ever away.
_TIMEOUT = 120.0


class Writer(ABC):
    """One thread that writes; `acknowledged` counts its writes."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.acknowledged = 0
        self.wrong: list[str] = []
        self.close: Callable[[], None] = lambda: None

    def start(self, address: str, may_write: threading.Event, over: threading.Event) -> threading.Thread:
        """Prepares what is written, on a server that is there, and then writes until it is over."""
        ctx = SessionContext.connect(address, session_id=self.session, timeout=_TIMEOUT).__enter__()
        self.prepare(ctx)

        def run() -> None:
            try:
                while not over.is_set():
                    if may_write.wait(0.1):
                        self.write(ctx)
            except Exception as error:
                # Unless it was closed: then something else was wrong before.
                if not isinstance(error, SessionClosedError):
                    self.wrong.append(f"{self}: {error!r}")

        self.close = ctx.close
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    @abstractmethod
    def prepare(self, ctx: BlockingContext) -> None:
        """Makes what is written."""

    @abstractmethod
    def write(self, ctx: BlockingContext) -> None:
        """Does one write, and notes that it was acknowledged."""

    @abstractmethod
    def problems(self, ctx: BlockingContext) -> list[str]:
        """What a server has that it must not have, or has not. No write can be answered meanwhile."""

    def _took(self, number: int) -> None:
        if number != self.acknowledged + 1:
            self.wrong.append(f"{self}: write {self.acknowledged + 1} was acknowledged as {number}, LOST or TWICE")
        self.acknowledged = number

    def _in_bounds(self, number: int) -> list[str]:
        """One more than was acknowledged may be there: the one that is under way."""
        if number < self.acknowledged:
            return [f"{self}: LOST {self.acknowledged - number} acknowledged writes after {number}"]
        if number > self.acknowledged + 1:
            return [f"{self}: TWICE, {number} writes are there, {self.acknowledged} acknowledged, one under way"]
        return []

    def __str__(self) -> str:
        return self.session


class Counter(Writer):
    """Increments a variable; several do so in one session."""

    def __init__(self, session: str, name: str) -> None:
        super().__init__(session)
        self._name = name

    def prepare(self, ctx: BlockingContext) -> None:
        ctx.register_variable(self._name, "integer", 0)

    def write(self, ctx: BlockingContext) -> None:
        self._took(ctx.increment(self._name))

    def problems(self, ctx: BlockingContext) -> list[str]:
        return self._in_bounds(ctx.get_variable(self._name))

    def __str__(self) -> str:
        return f"{self.session}/{self._name}"


class Pages(Writer):
    """Writes batches: a number, a text of many pages that says the number, a variable that comes, one that goes."""

    def prepare(self, ctx: BlockingContext) -> None:
        with ctx.batch_updates() as batch:
            batch.register("n", "integer", 0)
            batch.register("text", "string", self._text(0))

    def write(self, ctx: BlockingContext) -> None:
        number = self.acknowledged + 1
        with ctx.batch_updates() as batch:
            batch.increment("n", 1)
            batch.set("text", self._text(number))
            if number % 3 == 0:
                batch.register(f"v{number}", "integer", number)
                if number > 3:
                    batch.delete(f"v{number - 3}")
        self._took(batch.outcomes[0].value)

    def problems(self, ctx: BlockingContext) -> list[str]:
        values = ctx.get_variables([variable.name for variable in ctx.list_variables()])
        number = values["n"]
        last = number - number % 3
        whole = {"n": number, "text": self._text(number), **({f"v{last}": last} if last else {})}
        torn = [] if values == whole else [f"{self}: batch {number} is there IN PART: {sorted(values)}"]
        return self._in_bounds(number) + torn

    def _text(self, number: int) -> str:
        # Mostly some pages; now and then a tenth of what is folded at once.
        size = 200_000 if number % 37 == 36 else (number * 7919) % 32_000
        said = f"{self.session} {number} "
        return said * (size // len(said) + 1)


class Maker(Writer):
    """Makes sessions and deletes them again, three behind."""

    def __init__(self, session: str) -> None:
        super().__init__(session)
        self._numbers = count(1)
        self._live: dict[str, int] = {}
        self._making = self._deleting = ""
        self._deleted: set[str] = set()

    def prepare(self, ctx: BlockingContext) -> None:
        """Its own session is only what it asks through."""

    def write(self, ctx: BlockingContext) -> None:
        number, asking = next(self._numbers), session_of(ctx)
        self._making = f"made-{number}"
        while True:
            try:
                with SessionContext.connect(ctx.address, session_id=self._making, timeout=_TIMEOUT) as made:
                    made.register_variable("x", "integer", number)
                break
            except ServerUnavailableError:
                # It was not there when this context came: that is told at once.
                finish(asking.call(BLOCKING, asking.connection.server.GetServerInfo, server_pb2.GetServerInfoRequest()))
        self._live[self._making] = number
        self._making = ""
        self.acknowledged += 1
        if len(self._live) > 3:
            self._delete(ctx, next(iter(self._live)))

    def _delete(self, ctx: BlockingContext, session: str) -> None:
        self._deleting = session
        request = session_pb2.DeleteSessionRequest(session_id=session)
        asking = session_of(ctx)
        # Refused if it was sent again after it had been done.
        with suppress(SessionNotFoundError, SessionExpiredError):
            finish(asking.call(BLOCKING, asking.connection.session.DeleteSession, request))
        del self._live[session]
        self._deleted.add(session)
        self._deleting = ""
        self.acknowledged += 1

    def problems(self, ctx: BlockingContext) -> list[str]:
        found = sessions(ctx.address, "made-*")
        problems = [f"{session}: LOST its deletion" for session in found & self._deleted]
        unknown = {self._making, self._deleting}
        problems += [f"{session} was never asked for" for session in found - {*self._live, *self._deleted} - unknown]
        for session, number in list(self._live.items()):
            if session == self._deleting:
                continue
            try:
                if variables(ctx.address, session) != {"x": number}:
                    problems.append(f"{session}: LOST its variable")
            except BridgeError as error:
                problems.append(f"LOST session {session}: {error!r}")
        return problems
