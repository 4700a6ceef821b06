"""Changes of variables, as a watch tells them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

from snakepit_bridge._variables.display import record_repr, table
from snakepit_bridge._variables.values import decode
from snakepit_bridge._variables.variables import Author, author_from_wire, kind_from_wire
from snakepit_bridge.v1 import variable_pb2 as pb

Kind = Literal["initial", "registered", "set", "deleted"]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one variable. Its repr does not show a secret.

    Attributes:
        value: the value after it; None for a deletion, and for a secret that this client may not read.
        old: the value before it, if this watch has seen it; else None.
        kind: "initial" (it was so when the watch began), "registered", "set" or "deleted".
        gap: whether this is part of a new start after changes that the server no longer kept.
        secret: whether its values are those of a secret, or were.
    """

    name: str
    value: Any
    old: Any
    version: int
    revision: int
    kind: Kind
    by: Author
    reason: str
    gap: bool = False
    secret: bool = False

    def __repr__(self) -> str:
        return record_repr(self, secret=self.secret)

    def _repr_html_(self) -> str:
        return table([self])


class Teller:
    """Turns what the stream says into changes, remembering the values told so far."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[Any, int, bool]] = {}

    def snapshot(self, variables: Iterable[pb.Variable], revision: int, *, gap: bool) -> list[Change]:
        """The state to start from; after a gap also the deletions that happened in it."""
        variables = list(variables)
        gone = self._told.keys() - {variable.name for variable in variables}
        nobody = Author("", verified=False)
        deleted = []
        for name in sorted(gone):
            old, version, secret = self._told.pop(name)
            deleted.append(Change(name, None, old, version, revision, "deleted", nobody, "", gap, secret))
        return deleted + [self._change(variable, "initial", gap=gap) for variable in variables]

    def changes(self, changes: Iterable[pb.Change]) -> list[Change]:
        """What one revision changed."""
        return [self._change(change.variable, cast("Kind", kind_from_wire(change.kind))) for change in changes]

    def _change(self, variable: pb.Variable, kind: Kind, *, gap: bool = False) -> Change:
        value = decode(variable.value) if variable.HasField("value") else None
        old, _, was_secret = self._told.pop(variable.name, (None, 0, False))
        # A deletion says nothing of what the variable was.
        secret = variable.spec.secret
        if kind != "deleted":
            self._told[variable.name] = value, variable.version, secret
        by = author_from_wire(variable.updated_by)
        version, revision = variable.version, variable.revision
        either = secret or was_secret
        return Change(variable.name, value, old, version, revision, kind, by, variable.reason, gap, either)
