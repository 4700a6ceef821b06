"""A session's variables and tools, for blocking code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Self

from snakepit_bridge._client.transport import BLOCKING, finish
from snakepit_bridge._context.blocking_tool_methods import BlockingToolMethods
from snakepit_bridge._context.session import Session
from snakepit_bridge._variables import operations
from snakepit_bridge._variables.batch import Batch
from snakepit_bridge._variables.variables import Outcome, Variable, VariableVersion
from snakepit_bridge._variables.watch import BlockingWatch


class BlockingContext(BlockingToolMethods):
    """The twin of a `SessionContext`: the same session, mirror and connection, as plain calls.

    From any thread, inside a running event loop too, which it then blocks for one rpc. Every method is described, with
    what it raises, at the same method of `SessionContext`. `ctx[name]` reads a variable, `ctx[name] = value` sets it,
    `name in ctx` tells whether there is one, and iterating gives all names: one rpc each.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def blocking(self) -> Self:
        """Itself."""
        return self

    def register_variable(
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
        """Declares a variable with its first value; declaring it the same way again changes nothing."""
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
        return finish(operations.write(self._session, BLOCKING, batch.operations, reason))[0]

    def get_variable(self, name: str) -> Any:
        """A variable's value now: always one rpc, never the mirror."""
        return finish(operations.get(self._session, BLOCKING, [name]))[name]

    def get_variables(self, names: Sequence[str], *, allow_missing: bool = False) -> dict[str, Any]:
        """The values of several variables, all from one revision, by one rpc."""
        return finish(operations.get(self._session, BLOCKING, names, allow_missing=allow_missing))

    def set_variable(self, name: str, value: Any, *, expected_version: int | None = None, reason: str = "") -> Outcome:
        """Gives a variable a value; one equal to the old, of the same type, changes nothing."""
        outcomes = operations.set_all(
            self._session, BLOCKING, {name: value}, expected_version=expected_version, reason=reason
        )
        return finish(outcomes)[0]

    def set_variables(self, values: Mapping[str, Any], *, reason: str = "") -> list[Outcome]:
        """Gives several variables values as one atomic write, by one rpc. Raises like `set_variable`."""
        return finish(operations.set_all(self._session, BLOCKING, values, reason=reason))

    def increment(self, name: str, amount: float = 1, *, reason: str = "") -> Any:
        """Adds to an integer or float variable; returns the new value."""
        batch = Batch().increment(name, amount)
        return finish(operations.write(self._session, BLOCKING, batch.operations, reason))[0].value

    def append(self, name: str, items: Iterable[Any], *, reason: str = "") -> Any:
        """Appends each of the items to a list variable; returns the new value."""
        batch = Batch().append(name, items)
        return finish(operations.write(self._session, BLOCKING, batch.operations, reason))[0].value

    def modify(self, name: str, change: Callable[[Any], Any], *, reason: str = "") -> Any:
        """Sets a variable to `change(its value)`; returns the new value."""
        return finish(operations.modify(self._session, BLOCKING, name, change, reason=reason))

    def delete_variable(self, name: str, *, expected_version: int | None = None, reason: str = "") -> Outcome:
        """Deletes a variable; its history is kept, and its versions go on counting should it come back."""
        batch = Batch().delete(name, expected_version=expected_version)
        return finish(operations.write(self._session, BLOCKING, batch.operations, reason))[0]

    def rollback(self, name: str, *, version: int, expected_version: int | None = None, reason: str = "") -> Outcome:
        """Gives a variable the value it had at an earlier version, as a new version."""
        batch = Batch().rollback(name, version=version, expected_version=expected_version)
        return finish(operations.write(self._session, BLOCKING, batch.operations, reason))[0]

    def history(self, name: str) -> list[VariableVersion]:
        """The kept versions of a variable, newest first, also of a deleted one."""
        return finish(operations.history(self._session, BLOCKING, name))

    def list_variables(self, pattern: str = "") -> list[Variable]:
        """The variables whose name matches a glob (`*`, `?`), by name; all without one."""
        return finish(operations.list_variables(self._session, BLOCKING, pattern))

    def watch_variables(
        self,
        pattern: str = "",
        *,
        names: Sequence[str] = (),
        after: int = 0,
        on_compacted: Literal["snapshot", "raise"] = "snapshot",
    ) -> BlockingWatch:
        """Every change of the variables named, or matching the glob, in order; begins with those there are."""
        return BlockingWatch(self._session, pattern, names, after, on_compacted)

    @contextmanager
    def batch_updates(self, *, reason: str = "") -> Iterator[Batch]:
        """Collects operations, written as one when the block ends, discarded if it raises."""
        batch = Batch()
        yield batch
        batch.outcomes = finish(operations.write(self._session, BLOCKING, batch.operations, reason))

    def close(self) -> None:
        """Ends streams and connection, within a second; never raises, and does nothing the second time."""
        self._session.close()

    def __enter__(self) -> Self:
        finish(self._session.open(BLOCKING))
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getitem__(self, name: str) -> Any:
        return self.get_variable(name)

    def __setitem__(self, name: str, value: Any) -> None:
        self.set_variable(name, value)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._session.describe([name], allow_missing=True)

    def __iter__(self) -> Iterator[str]:
        return iter([variable.name for variable in self.list_variables()])

    def __repr__(self) -> str:
        return f"<BlockingContext {self.session_id!r} at {self.address or 'a local server'}>"
