"""The snapshot that a call runs with, and the answers made in it.

It lives in DSPy's own context overrides under one private key, because those are what DSPy carries into the threads of
`dspy.Parallel`, `batch` and `asyncify`, and into tasks. A ContextVar of our own would be lost there.
"""

from __future__ import annotations

from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any

import dspy

from snakepit_bridge._variables.mirror import Snapshot
from snakepit_bridge.dspy_integration._dspy_internals import CALLER_MODULES, dotdict, thread_local_overrides
from snakepit_bridge.dspy_integration.overlay.versions import Edition
from snakepit_bridge.dspy_integration.revisions import REVISION
from snakepit_bridge.session_context import session_of

if TYPE_CHECKING:
    from snakepit_bridge._context.session import Session

KEY = "_snakepit"


class Scope:
    """One session's snapshot in a call, and the scope around it. Immutable while the call goes on.

    While it is active it is also one of DSPy's `caller_modules`: DSPy appends the row of each LM request to the
    `history` of all of them, and that is where a row learns its revision.

    Attributes:
        edition: that of the bindings in effect; None inside an `sb.snapshot` that no call has been made in, and once
            the call has ended: a task or thread that outlives it goes on with the snapshot, but what was bound then
            need not be kept for it.
        pinned: whether it holds for `refresh="step"` too.
        opener: the overlay of the module whose call it is.
    """

    __slots__ = ("edition", "opener", "outer", "pinned", "session", "snapshot")

    def __init__(
        self,
        session: Session,
        snapshot: Snapshot,
        outer: Scope | None,
        edition: Edition | None,
        *,
        pinned: bool = False,
        opener: object = None,
    ) -> None:
        self.edition = edition
        self.opener = opener
        self.session = session
        self.snapshot = snapshot
        self.outer = outer
        self.pinned = pinned

    @property
    def revision(self) -> int | None:
        """The snapshot's revision. None if no server answered, so that there are only defaults."""
        return self.snapshot.revision if self.snapshot.incarnation else None

    @property
    def history(self) -> Rows:
        """Where DSPy puts the rows of requests made in this scope."""
        return Rows(self)


class Rows:
    """What DSPy takes for a module's history: keeps no row, but writes into each which snapshot it was made with."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __len__(self) -> int:
        return 0

    def append(self, row: Any) -> None:
        """Names the revision. Scopes inside this one come later, so that the innermost has the last word."""
        if isinstance(row, dict):
            row["snakepit_revision"] = self._scope.revision
            row["snakepit_session"] = self._scope.session.session_id


def active() -> Scope | None:
    """The scope this code runs in."""
    scope: Scope | None = thread_local_overrides.get().get(KEY)
    return scope


def find(scope: Scope | None, session: Session) -> Scope | None:
    """The innermost scope of a session."""
    while scope is not None and scope.session is not session:
        scope = scope.outer
    return scope


def joined(kept: Snapshot, more: Snapshot) -> Snapshot:
    """A snapshot, and from another one only the variables that it does not speak of."""
    if kept.incarnation != more.incarnation:
        return more
    added = {name: state for name, state in more.variables.items() if name not in kept.names}
    variables = {**kept.variables, **added}
    return Snapshot(kept.session_id, kept.incarnation, kept.revision, variables, kept.names | more.names)


def enter(scope: Scope | None) -> Token[Any]:
    """Makes a scope the active one; None: reads are plain, as outside of any call.

    What `dspy.context(_snakepit=scope, caller_modules=...)` does, without copying all global settings: the module's
    own call does that.
    """
    overrides = dotdict(thread_local_overrides.get())
    callers = overrides.get(CALLER_MODULES) or []
    overrides[KEY], overrides[CALLER_MODULES] = scope, callers if scope is None else [*callers, scope]
    token: Token[Any] = thread_local_overrides.set(overrides)
    return token


def leave(token: Token[Any]) -> None:
    """Makes the scope before the one entered active again."""
    thread_local_overrides.reset(token)


def end(scope: Scope | None, outer: Scope | None) -> None:
    """Notes that the call is over which opened the scopes from `scope` out to `outer`."""
    while scope is not None and scope is not outer:
        scope.edition = scope.opener = None
        scope = scope.outer


def mark(result: Any, scope: Scope | None) -> None:
    """Notes in a prediction the revision that it was made with."""
    if scope is not None and isinstance(result, dspy.Prediction):
        vars(result)[REVISION] = scope.revision


class snapshot:  # noqa: N801 - used like a function
    """Runs several bound programs with one snapshot of a session: `with sb.snapshot(ctx): ...`, also `async with`.

    Costs what one forward costs. Inside, `refresh="step"` takes none either. Gives the snapshot; its `revision` tells
    which it is. A program bound inside to a name that was not tracked before takes that one anew.

    Args:
        session: a SessionContext or its blocking twin.
    """

    def __init__(self, session: Any) -> None:
        self._session = session_of(session)
        self._token: Token[Any] | None = None

    def __enter__(self) -> Snapshot:
        outer = find(active(), self._session)
        return self._enter(outer.snapshot if outer is not None else self._session.take())

    async def __aenter__(self) -> Snapshot:
        outer = find(active(), self._session)
        return self._enter(outer.snapshot if outer is not None else await self._session.take_async())

    def _enter(self, taken: Snapshot) -> Snapshot:
        outer = active()
        edition = outer.edition if outer is not None else None
        self._token = enter(Scope(self._session, taken, outer, edition, pinned=True))
        return taken

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token, self._token = self._token, None
        if token is not None:
            leave(token)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)
