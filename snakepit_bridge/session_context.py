"""A session's variables and tools, for async code; `.blocking` is the same for any other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from os import PathLike
from typing import Any, Literal, Self

from snakepit_bridge._client.settings import (
    Freshness,
    Settings,
    address_or_default,
    session_id_or_default,
    token_or_default,
)
from snakepit_bridge._client.transport import ASYNCIO, BLOCKING, finish
from snakepit_bridge._context.session import Session
from snakepit_bridge._context.tool_methods import ToolMethods
from snakepit_bridge._variables import operations
from snakepit_bridge._variables.batch import Batch
from snakepit_bridge._variables.variables import Outcome, Variable, VariableVersion
from snakepit_bridge._variables.watch import Watch
from snakepit_bridge.blocking import BlockingContext
from snakepit_bridge.tls import TLS, tls_or_default

__all__ = ["Session", "SessionContext", "session_of"]


class SessionContext(ToolMethods):
    """One session on one server. Usable from every event loop and thread at once, with or without `async with`.

    `connect` and `local` do no I/O; the first use, or entering it, opens the session. Plain `with` yields the blocking
    twin. Every method raises SessionNotFoundError or SessionExpiredError when the session is gone,
    ServerUnavailableError or CallTimeoutError when the server does not answer, and what is named at the method.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._blocking = BlockingContext(session)

    @classmethod
    def connect(
        cls,
        address: str | None = None,
        *,
        session_id: str | None = None,
        freshness: Freshness = "latest",
        max_staleness: float = 30.0,
        sync_timeout: float = 2.0,
        timeout: float = 10.0,
        strict: bool = True,
        create: bool = True,
        ttl: float | None = None,
        metadata: Mapping[str, str] | None = None,
        tool_concurrency: int = 16,
        token: str | None = None,
        tls: bool | str | PathLike[str] | TLS | None = None,
    ) -> Self:
        """A session on a running server. Times are in seconds.

        Args:
            address: HOST:PORT; else $SNAKEPIT_ADDRESS, else 127.0.0.1:50051.
            session_id: which session; else $SNAKEPIT_SESSION, else a new one with a generated id.
            freshness: "latest": each forward asks the server once; "streamed": a stream keeps this client up to date.
            max_staleness: how old a forward's values may get while the server is away; 0: not at all.
            sync_timeout: how long a forward waits for the server.
            timeout: for every other call, retries included.
            strict: whether setting an unknown variable is an error, rather than registering it by its value's type.
            create: whether the first use makes the session if there is none.
            ttl: how long a session made here outlives its last use; None: for ever.
            metadata: labels for a session made here.
            tool_concurrency: how many calls of the tools offered here run at once.
            token: for a server that takes tokens; else $SNAKEPIT_TOKEN. The first use raises UnauthenticatedError if it
                is none of the server's, PermissionDeniedError if it is not for this session.
            tls: True to trust whom gRPC trusts, the file of a certificate to trust whom it has signed, or a `TLS`; else
                what $SNAKEPIT_TLS, $SNAKEPIT_TLS_CA, $SNAKEPIT_TLS_CLIENT_CERT and $SNAKEPIT_TLS_CLIENT_KEY say.
        """
        labels, token, known = dict(metadata or {}), token_or_default(token), tls_or_default(tls)
        settings = Settings(
            freshness, max_staleness, sync_timeout, timeout, strict, create, ttl, labels, tool_concurrency, token, known
        )
        return cls(Session(address_or_default(address), session_id_or_default(session_id), settings))

    @classmethod
    def local(
        cls,
        *,
        session_id: str | None = None,
        freshness: Freshness = "latest",
        max_staleness: float = 30.0,
        sync_timeout: float = 2.0,
        timeout: float = 10.0,
        strict: bool = True,
        ttl: float | None = None,
        metadata: Mapping[str, str] | None = None,
        tool_concurrency: int = 16,
        data_dir: str | PathLike[str] | None = None,
    ) -> Self:
        """A session on a server of its own, started at the first use and ended with this context; like `connect`.

        With a `data_dir` the session is kept there, for the next context of the same `session_id`. `address` is ""
        until the server runs. Raises ServerStartError, at the first use, if there is none to start, or if another
        server has the directory.
        """
        labels = dict(metadata or {})
        settings = Settings(
            freshness,
            max_staleness,
            sync_timeout,
            timeout,
            strict,
            ttl=ttl,
            metadata=labels,
            tool_concurrency=tool_concurrency,
        )
        from snakepit_bridge.server import local_server

        launch = partial(local_server, data_dir=data_dir)
        return cls(Session("", session_id_or_default(session_id), settings, launch))

    @property
    def blocking(self) -> BlockingContext:
        """The same session for blocking code: from any thread, inside a running event loop too."""
        return self._blocking

    async def register_variable(
        self,
        name: str,
        type: str,  # noqa: A002
        value: Any,
        *,
        constraints: Mapping[str, Any] | None = None,
        description: str = "",
        metadata: Mapping[str, str] | None = None,
        nullable: bool = False,
        secret: bool = False,
        read_only: bool = False,
        replace: bool = False,
        reason: str = "",
    ) -> Outcome:
        """Declares a variable with its first value; declaring it the same way again changes nothing.

        Args:
            name: letters, digits, `_`, `.`, `-`, not beginning with a digit, `.` or `-`.
            type: "float", "integer", "string", "boolean", "choice", "module", "embedding", "tensor", "list", "map" or
                "bytes".
            value: the first value.
            constraints: limits on the value, by name; which ones there are depends on the type.
            description: for people.
            metadata: labels.
            nullable: whether None is a value, too.
            secret: whether to withhold the value from lists, histories and logs.
            read_only: whether to refuse every change but a registration with `replace`.
            replace: whether to take the new spec and value even if the variable exists.
            reason: why, for histories and watchers.

        Raises:
            VariableExistsError: there is one of another spec.
            TypeMismatchError, ConstraintError: the value does not fit.
            InvalidRequestError: the name, the type or a constraint is not possible.
        """
        batch = Batch().register(
            name,
            type,
            value,
            constraints=constraints,
            description=description,
            metadata=metadata,
            nullable=nullable,
            secret=secret,
            read_only=read_only,
            replace=replace,
        )
        return (await operations.write(self._session, ASYNCIO, batch.operations, reason))[0]

    async def get_variable(self, name: str) -> Any:
        """A variable's value now: always one rpc, never the mirror.

        Raises:
            VariableNotFoundError: there is none; with the closest names.
        """
        return (await operations.get(self._session, ASYNCIO, [name]))[name]

    async def get_variables(self, names: Sequence[str], *, allow_missing: bool = False) -> dict[str, Any]:
        """The values of several variables, all from one revision, by one rpc.

        Raises:
            VariableNotFoundError: one is missing, unless `allow_missing` leaves it out.
        """
        return await operations.get(self._session, ASYNCIO, names, allow_missing=allow_missing)

    async def set_variable(
        self, name: str, value: Any, *, expected_version: int | None = None, reason: str = ""
    ) -> Outcome:
        """Gives a variable a value; one equal to the old, of the same type, changes nothing.

        Raises:
            VariableNotFoundError: there is none, unless the context is not strict.
            VersionConflictError: it does not have the expected version.
            TypeMismatchError, ConstraintError, VariableReadOnlyError: it does not take this value.
        """
        outcomes = await operations.set_all(
            self._session, ASYNCIO, {name: value}, expected_version=expected_version, reason=reason
        )
        return outcomes[0]

    async def set_variables(self, values: Mapping[str, Any], *, reason: str = "") -> list[Outcome]:
        """Gives several variables values as one atomic write, by one rpc. Raises like `set_variable`."""
        return await operations.set_all(self._session, ASYNCIO, values, reason=reason)

    async def increment(self, name: str, amount: float = 1, *, reason: str = "") -> Any:
        """Adds to an integer or float variable; returns the new value. Of a secret it takes the role `read_secret`."""
        batch = Batch().increment(name, amount)
        return (await operations.write(self._session, ASYNCIO, batch.operations, reason))[0].value

    async def append(self, name: str, items: Iterable[Any], *, reason: str = "") -> Any:
        """Appends each of the items to a list; returns the new value. Of a secret it takes the role `read_secret`."""
        batch = Batch().append(name, items)
        return (await operations.write(self._session, ASYNCIO, batch.operations, reason))[0].value

    async def modify(self, name: str, change: Callable[[Any], Any], *, reason: str = "") -> Any:
        """Sets a variable to `change(its value)`; returns the new value.

        `change` is called again with the newer value whenever another writer came first.
        """
        return await operations.modify(self._session, ASYNCIO, name, change, reason=reason)

    async def delete_variable(self, name: str, *, expected_version: int | None = None, reason: str = "") -> Outcome:
        """Deletes a variable; its history is kept, and its versions go on counting should it come back.

        A secret is deleted by an admin only.
        """
        batch = Batch().delete(name, expected_version=expected_version)
        return (await operations.write(self._session, ASYNCIO, batch.operations, reason))[0]

    async def rollback(
        self, name: str, *, version: int, expected_version: int | None = None, reason: str = ""
    ) -> Outcome:
        """Gives a variable the value it had at an earlier version, as a new version.

        Raises:
            InvalidRequestError: that version is not kept.
            PermissionDeniedError: the variable is a secret, and the token lacks the role `read_secret`.
        """
        batch = Batch().rollback(name, version=version, expected_version=expected_version)
        return (await operations.write(self._session, ASYNCIO, batch.operations, reason))[0]

    async def history(self, name: str) -> list[VariableVersion]:
        """The kept versions of a variable, newest first, also of a deleted one."""
        return await operations.history(self._session, ASYNCIO, name)

    async def list_variables(self, pattern: str = "") -> list[Variable]:
        """The variables whose name matches a glob (`*`, `?`), by name; all without one."""
        return await operations.list_variables(self._session, ASYNCIO, pattern)

    def watch_variables(
        self,
        pattern: str = "",
        *,
        names: Sequence[str] = (),
        after: int = 0,
        on_compacted: Literal["snapshot", "raise"] = "snapshot",
    ) -> Watch:
        """Every change of the variables named, or matching the glob, in order; begins with those there are.

        It goes on by itself when the stream or the server is lost and comes back.

        Args:
            pattern: a glob (`*`, `?`); with no names either: all variables.
            names: variables, whether they exist yet or not.
            after: begins after this revision instead, with what changed since.
            on_compacted: what to do when changes were missed because the server no longer keeps them: start again
                with the present state, each `Change` flagged `gap`; or raise CompactedError.
        """
        return Watch(self._session, pattern, names, after, on_compacted)

    @asynccontextmanager
    async def batch_updates(self, *, reason: str = "") -> AsyncIterator[Batch]:
        """Collects operations, written as one when the block ends, discarded if it raises."""
        batch = Batch()
        yield batch
        batch.outcomes = await operations.write(self._session, ASYNCIO, batch.operations, reason)

    async def aclose(self) -> None:
        """Ends streams and connection, within a second; never raises, and does nothing the second time."""
        await self._session.close_async()

    async def __aenter__(self) -> Self:
        await self._session.open(ASYNCIO)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __enter__(self) -> BlockingContext:
        finish(self._session.open(BLOCKING))
        return self._blocking

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def __repr__(self) -> str:
        return f"<SessionContext {self.session_id!r} at {self.address or 'a local server'}>"


def session_of(context: object) -> Session:
    """The session behind a context or its blocking twin; TypeError for anything else."""
    if isinstance(context, (SessionContext, BlockingContext)):
        return context._session  # noqa: SLF001
    raise TypeError(
        f"session must be a SessionContext or its .blocking twin, not {type(context).__qualname__}; "
        "make one with SessionContext.connect(address)"
    )
