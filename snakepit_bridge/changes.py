"""Changes of variables, as a watch tells them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

from snakepit_bridge.v1 import variable_pb2 as pb
from snakepit_bridge.values import decode
from snakepit_bridge.variables import Author, author_from_wire, kind_from_wire

Kind = Literal["initial", "registered", "set", "deleted"]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one variable.

    Attributes:
        value: the value after it; None for a deletion, and for a secret that this client may not read.
        old: the value before it, if this watch has seen it; else None.
        kind: "initial" (it was so when the watch began), "registered", "set" or "deleted".
        gap: whether this is part of a new start after changes that the server no longer kept.
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


class Teller:
    """Turns what the stream says into changes, remembering the values told so far."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[Any, int]] = {}

    def snapshot(self, variables: Iterable[pb.Variable], revision: int, *, gap: bool) -> list[Change]:
        """The state to start from; after a gap also the deletions that happened in it."""
        variables = list(variables)
        gone = self._told.keys() - {variable.name for variable in variables}
        deleted = [
            Change(name, None, *self._told[name], revision, "deleted", Author("", verified=False), "", gap)
            for name in sorted(gone)
        ]
        for change in deleted:
            del self._told[change.name]
        return deleted + [self._change(variable, "initial", gap=gap) for variable in variables]

    def changes(self, changes: Iterable[pb.Change]) -> list[Change]:
        """What one revision changed."""
        return [self._change(change.variable, cast("Kind", kind_from_wire(change.kind))) for change in changes]

    def _change(self, variable: pb.Variable, kind: Kind, *, gap: bool = False) -> Change:
        value = decode(variable.value) if variable.HasField("value") else None
        old, _ = self._told.pop(variable.name, (None, 0))
        if kind != "deleted":
            self._told[variable.name] = value, variable.version
        by = author_from_wire(variable.updated_by)
        return Change(variable.name, value, old, variable.version, variable.revision, kind, by, variable.reason, gap)
