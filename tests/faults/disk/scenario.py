"""A fixed run of one client, and what a server may have of it if some steps were refused or left open."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any, NamedTuple

from snakepit_bridge import BlockingContext, SessionContext
from snakepit_bridge._client.transport import BLOCKING, finish
from snakepit_bridge.exceptions import (
    BridgeError,
    CallTimeoutError,
    OutcomeUnknownError,
    ServerReadOnlyError,
    ServerUnavailableError,
)
from snakepit_bridge.session_context import session_of
from snakepit_bridge.v1 import session_pb2
from tests.faults.disk.looking import State, brief, state
from tests.faults.disk.mounted import Mounted

# With it a session folds, and the log is copied, several times in a scenario.
UPKEEP = {"SNAKEPIT_FOLD_EVENTS": "5", "SNAKEPIT_CHECKPOINT_PAGES": "6"}
# How long a checkpoint is waited for, which comes in a pause. Nothing depends on whether it does.
_PAUSE = 0.25


class Step(NamedTuple):
    """A write.

    Attributes:
        ask: how it is asked for.
        change: what it makes of the sessions.
        needs: the sessions, and the variables of `main`, that have to be there.
        lacks: the sessions that must not: to open one that is there is no write.
    """

    what: str
    ask: Callable[[Client], object]
    change: Callable[[State], object]
    needs: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


class Client:
    """The client's contexts, by session."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._contexts: dict[str, BlockingContext] = {}

    def open(self, session: str) -> None:
        ctx = SessionContext.connect(self.address, session_id=session).blocking
        try:
            ctx.__enter__()
        except BaseException:
            ctx.close()
            raise
        self._contexts[session] = ctx

    def __getitem__(self, session: str) -> BlockingContext:
        return self._contexts[session]

    def end(self, session: str) -> None:
        asking = session_of(self[session])
        request = session_pb2.DeleteSessionRequest(session_id=session)
        finish(asking.call(BLOCKING, asking.connection.session.DeleteSession, request))
        self._contexts.pop(session).close()

    def close(self) -> None:
        for ctx in self._contexts.values():
            ctx.close()


def _open(session: str) -> Step:
    def change(had: State) -> None:
        had[session] = {}

    return Step(f"create {session}", lambda client: client.open(session), change, lacks=(session,))


def _register(session: str, **values: Any) -> Step:
    def ask(client: Client) -> None:
        with client[session].batch_updates() as batch:
            for name, value in values.items():
                batch.register(name, "integer" if isinstance(value, int) else "string", value)

    return Step(f"register {', '.join(values)}", ask, lambda had: had[session].update(values), (session,))


def _increment() -> Step:
    def change(had: State) -> None:
        had["main"]["n"] += 1

    return Step("increment", lambda client: client["main"].increment("n"), change, ("main", "n"))


def _set(text: str) -> Step:
    def ask(client: Client) -> None:
        client["main"].set_variable("text", text)

    return Step("set", ask, lambda had: had["main"].update(text=text), ("main", "text"))


def _batch() -> Step:
    def ask(client: Client) -> None:
        with client["main"].batch_updates() as batch:
            batch.increment("n", 1)
            batch.set("text", "whole" * 800)
            batch.register("brought", "integer", 2)
            batch.delete("doomed")

    def change(had: State) -> None:
        main = had["main"]
        main.update(n=main["n"] + 1, text="whole" * 800, brought=2)
        main.pop("doomed", None)

    return Step("batch", ask, change, ("main", "n"))


def _delete(name: str) -> Step:
    def ask(client: Client) -> None:
        client["main"].delete_variable(name)

    return Step("delete", ask, lambda had: had["main"].pop(name, None), ("main", name))


def _end(session: str) -> Step:
    return Step(f"end {session}", lambda client: client.end(session), lambda had: had.pop(session, None), (session,))


STEPS: list[Step | None] = [
    _open("main"),
    _register("main", n=0, text="", doomed=1),
    *[_increment() for _ in range(5)],
    _batch(),
    _delete("brought"),
    _open("other"),
    _register("other", x=1),
    _end("other"),
    None,
    _set("a" * 12_000),
    _increment(),
    _set("b" * 12_000),
    None,
    _open("other"),
    _increment(),
]


@dataclass
class Run:
    """One run of the steps; None among them is a pause.

    Attributes:
        published: what readers have to find: all that was acknowledged.
        possible: what may be there after a restart: that, with or without each step that was left open.
        failures: of each step that was not done, why.
    """

    disk: Mounted
    address: str
    published: State = field(default_factory=dict)
    possible: list[State] = field(default_factory=lambda: [{}])
    acknowledged: int = 0
    failures: list[BridgeError] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = Client(self.address)

    def steps(self) -> None:
        """Takes all steps. One that was not done is tried once more."""
        for step in STEPS:
            if step is None:
                self._pause()
            elif not self.take(step):
                self.take(step)

    def take(self, step: Step) -> bool:
        """Takes a step, unless those failed that it builds on, and notes what that means."""
        known = {*self.published, *self.published.get("main", {})}
        if not known.issuperset(step.needs) or known.intersection(step.lacks):
            return True
        try:
            step.ask(self.client)
        except BridgeError as failure:
            self.failures.append(failure)
            if isinstance(failure, (OutcomeUnknownError, ServerUnavailableError, CallTimeoutError)):
                self.possible += [_changed(had, step) for had in self.possible]
            if not isinstance(failure, (OutcomeUnknownError, ServerReadOnlyError)):
                self.wrong.append(f"{step.what}: {failure!r}")
            if len(self.failures) <= 2:
                self.read()
            return False
        self.acknowledged += 1
        step.change(self.published)
        self.possible = [_changed(had, step) for had in self.possible]
        return True

    def write_again(self) -> bool:
        """Whether a write is done now."""
        if "n" in self.published.get("main", {}):
            return self.take(_increment())
        return self.take(_open("another"))

    def read(self) -> None:
        """Readers have to find all that was acknowledged, and nothing else, whatever the disk does."""
        found = state(self.address)
        if found != self.published:
            self.wrong.append(f"readers find {brief(found)}, where {brief(self.published)} was acknowledged")

    def _pause(self) -> None:
        """Lets a checkpoint happen."""
        before, until = self.disk.counted().checkpoints, monotonic() + _PAUSE
        while self.disk.counted().checkpoints == before and monotonic() < until:
            sleep(0.01)


def _changed(had: State, step: Step) -> State:
    changed = copy.deepcopy(had)
    step.change(changed)
    return changed
