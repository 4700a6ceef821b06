"""Operations on variables, collected to be written as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from snakepit_bridge._variables.values import encode
from snakepit_bridge._variables.variables import Outcome, spec_to_wire
from snakepit_bridge.v1 import variable_pb2 as pb


class Batch:
    """Operations to be applied as one atomic write: one revision, all or nothing. A name may occur only once.

    Every method takes `expected_version`: the version the variable has to have before the write; 0: it must not exist.

    Attributes:
        operations: what was collected, for the wire.
        outcomes: what each one did, in the same order, once the batch was written; else empty.
    """

    def __init__(self) -> None:
        self.operations: list[pb.Operation] = []
        self.outcomes: list[Outcome] = []

    def register(
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
        expected_version: int | None = None,
    ) -> Self:
        """Declares a variable with its first value; declaring it the same way again changes nothing."""
        spec = spec_to_wire(
            name,
            type,
            constraints=constraints,
            description=description,
            metadata=metadata,
            nullable=nullable,
            secret=secret,
            read_only=read_only,
        )
        register = pb.RegisterOperation(spec=spec, value=encode(value, name), replace=replace)
        return self._add(pb.Operation(name=name, register=register, expected_version=expected_version))

    def set(self, name: str, value: Any, *, expected_version: int | None = None) -> Self:
        """Gives a variable a value."""
        operation = pb.SetOperation(value=encode(value, name))
        return self._add(pb.Operation(name=name, set=operation, expected_version=expected_version))

    def increment(self, name: str, amount: float = 1, *, expected_version: int | None = None) -> Self:
        """Adds to an integer or float variable."""
        operation = pb.IncrementOperation(amount=encode(amount, name))
        return self._add(pb.Operation(name=name, increment=operation, expected_version=expected_version))

    def append(self, name: str, items: Iterable[Any], *, expected_version: int | None = None) -> Self:
        """Appends each of the items to a list variable."""
        operation = pb.AppendOperation(items=[encode(item, name) for item in items])
        return self._add(pb.Operation(name=name, append=operation, expected_version=expected_version))

    def delete(self, name: str, *, expected_version: int | None = None) -> Self:
        """Deletes a variable; its history is kept."""
        return self._add(pb.Operation(name=name, delete=pb.DeleteOperation(), expected_version=expected_version))

    def rollback(self, name: str, *, version: int, expected_version: int | None = None) -> Self:
        """Gives a variable the value it had at an earlier version, as a new version."""
        operation = pb.RollbackOperation(version=version)
        return self._add(pb.Operation(name=name, rollback=operation, expected_version=expected_version))

    def _add(self, operation: pb.Operation) -> Self:
        self.operations.append(operation)
        return self
