"""What a variable is: its description as Python sees it, and as the wire carries it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from snakepit_bridge._variables.constraints import constraints_from_wire, constraints_to_wire
from snakepit_bridge._variables.display import record_repr, table
from snakepit_bridge._variables.values import decode
from snakepit_bridge.exceptions import InvalidRequestError, TypeMismatchError
from snakepit_bridge.v1 import variable_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

_TYPES: dict[str, pb.VariableType.ValueType] = {
    name.removeprefix("VARIABLE_TYPE_").lower(): number for name, number in pb.VariableType.items() if number
}
_TYPE_NAMES: dict[pb.VariableType.ValueType, str] = {number: name for name, number in _TYPES.items()}
_KINDS: dict[pb.ChangeKind.ValueType, str] = {
    number: name.removeprefix("CHANGE_KIND_").lower() for name, number in pb.ChangeKind.items()
}


@dataclass(frozen=True, slots=True)
class Author:
    """Who changed something; `verified` tells whether the server knows it, or the client merely said so."""

    name: str
    verified: bool


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable, in full. Its repr does not show a secret; a notebook shows a table.

    Attributes:
        type: "float", "integer", "string", "boolean", "choice", "module", "embedding", "tensor", "list", "map" or
            "bytes".
        value: None also if `redacted`.
        constraints: the ones given, by name.
        version: counts the changes of this name, from 1.
        revision: the session's revision that made this version.
        updated_at: by the server's clock, in UTC.
        redacted: whether the value is withheld because the variable is secret.
    """

    name: str
    type: str
    value: Any
    constraints: dict[str, Any]
    description: str
    metadata: dict[str, str]
    nullable: bool
    secret: bool
    read_only: bool
    version: int
    revision: int
    updated_at: datetime
    updated_by: Author
    reason: str
    redacted: bool

    def __repr__(self) -> str:
        return record_repr(self, secret=self.secret)

    def _repr_html_(self) -> str:
        return table([self])


@dataclass(frozen=True, slots=True)
class VariableVersion:
    """One kept version of a variable.

    Attributes:
        kind: what made it: "registered", "set" or "deleted".
        value: None also for a deletion and if `redacted`.
    """

    version: int
    revision: int
    kind: str
    value: Any
    updated_at: datetime
    updated_by: Author
    reason: str
    redacted: bool

    def _repr_html_(self) -> str:
        return table([self])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one write did to one variable. Its repr does not show a secret.

    Attributes:
        changed: False if the variable already had that value, or that spec.
        version: the variable's version after the write.
        revision: the session's revision after the write.
        value: what the server computed, for increment, append and rollback; else None. None for a secret that this
            client may not read.
        secret: whether what the server computed is a secret's.
    """

    name: str
    changed: bool
    version: int
    revision: int
    value: Any = None
    secret: bool = False

    def __repr__(self) -> str:
        return record_repr(self, secret=self.secret)


def spec_to_wire(
    name: str,
    kind: str,
    *,
    constraints: Mapping[str, Any] | None = None,
    description: str = "",
    metadata: Mapping[str, str] | None = None,
    nullable: bool = False,
    secret: bool = False,
    read_only: bool = False,
) -> pb.VariableSpec:
    """Puts a variable's description on the wire.

    Raises:
        InvalidRequestError: the type, or a constraint's name or value, is not one there is.
    """
    number = _TYPES.get(kind.lower()) if isinstance(kind, str) else None
    if number is None:
        raise InvalidRequestError(
            f"{name} cannot be of type {kind!r}; types are {', '.join(_TYPES)}", {"field": "type", "variable": name}
        )
    return pb.VariableSpec(
        type=number,
        constraints=constraints_to_wire(name, kind.lower(), constraints or {}),
        description=description,
        metadata=metadata or {},
        nullable=nullable,
        secret=secret,
        read_only=read_only,
    )


def infer_type(name: str, value: object) -> str:
    """The type that `strict=False` gives a variable whose first value this is.

    Raises:
        TypeMismatchError: none can be told from this value.
    """
    for kinds, variable_type in _INFERRED:
        if isinstance(value, kinds):
            return variable_type
    numpy_type = _infer_numpy(value)
    if numpy_type:
        return numpy_type
    got = type(value).__name__
    raise TypeMismatchError(
        f"cannot tell a type for the new variable {name} from {got}; register_variable({name!r}, ...) names it",
        {"variable": name, "expected": "a value that tells its type", "got": got},
    )


# In this order: True is an int too.
_INFERRED: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "float"),
    (str, "string"),
    ((bytes, bytearray, memoryview), "bytes"),
    ((list, tuple), "list"),
    (dict, "map"),
)


def _infer_numpy(value: object) -> str:
    if type(value).__module__ != "numpy":
        return ""
    import numpy as np

    kinds = ((np.ndarray, "tensor"), (np.bool_, "boolean"), (np.integer, "integer"), (np.floating, "float"))
    return next((variable_type for kind, variable_type in kinds if isinstance(value, kind)), "")


def variable_from_wire(message: pb.Variable) -> Variable:
    """Takes a variable off the wire."""
    spec = message.spec
    return Variable(
        name=message.name,
        type=_TYPE_NAMES.get(spec.type, f"type {spec.type}"),
        value=_value(message),
        constraints=constraints_from_wire(spec.constraints),
        description=spec.description,
        metadata=dict(spec.metadata),
        nullable=spec.nullable,
        secret=spec.secret,
        read_only=spec.read_only,
        version=message.version,
        revision=message.revision,
        updated_at=time_from_wire(message.updated_at),
        updated_by=author_from_wire(message.updated_by),
        reason=message.reason,
        redacted=message.redacted,
    )


def version_from_wire(message: pb.VariableVersion) -> VariableVersion:
    """Takes a kept version off the wire."""
    return VariableVersion(
        version=message.version,
        revision=message.revision,
        kind=kind_from_wire(message.kind),
        value=_value(message),
        updated_at=time_from_wire(message.updated_at),
        updated_by=author_from_wire(message.updated_by),
        reason=message.reason,
        redacted=message.redacted,
    )


def outcomes_from_wire(message: pb.WriteVariablesResponse) -> list[Outcome]:
    """Takes the outcomes of a write off the wire, in the order of its operations."""
    return [
        Outcome(
            outcome.name,
            outcome.changed,
            outcome.version,
            message.revision,
            decode(outcome.value) if outcome.HasField("value") else None,
            outcome.secret,
        )
        for outcome in message.outcomes
    ]


def _value(message: pb.Variable | pb.VariableVersion) -> Any:
    return decode(message.value) if message.HasField("value") else None


def kind_from_wire(number: pb.ChangeKind.ValueType) -> str:
    """The name of a kind of change: "registered", "set" or "deleted"."""
    return _KINDS.get(number, f"kind {number}")


def author_from_wire(message: pb.Author) -> Author:
    """Takes an author off the wire."""
    return Author(message.name, message.verified)


def time_from_wire(message: Timestamp) -> datetime:
    """Takes a point in time off the wire, to the microsecond, in UTC."""
    return message.ToDatetime(tzinfo=UTC)
