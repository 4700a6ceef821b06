"""How values and records are shown: short, without secrets, and in a notebook as tables without markup."""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

__all__ = ["WITHHELD", "Brief", "Listing", "facts", "record_repr", "table"]

T = TypeVar("T")

WITHHELD = "(secret)"

_COLUMNS = {
    "Variable": ("name", "type", "value", "version", "updated_at", "updated_by", "reason"),
    "VariableVersion": ("version", "kind", "value", "updated_at", "updated_by", "reason"),
    "Change": ("name", "kind", "value", "old", "version", "by", "reason"),
}
_ROWS = 100
_LONGEST = 200


class Brief(reprlib.Repr):
    """Reprs that do not grow with their value."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 400

    def repr_bytes(self, value: bytes, _level: int) -> str:
        """The first bytes."""
        return repr(value[: self.maxother])

    def repr_ndarray(self, value: Any, _level: int) -> str:
        """An array's type and shape."""
        return f"{value.dtype}{list(value.shape)}"


_brief = Brief()


def record_repr(record: Any, *, secret: bool) -> str:
    """The repr of a dataclass, without its `value` and its `old` one if those are secrets."""
    shown = {field.name: repr(getattr(record, field.name)) for field in dataclasses.fields(record) if field.repr}
    if secret:
        shown |= {name: WITHHELD for name in ("value", "old") if name in shown}
    return f"{type(record).__name__}({', '.join(f'{name}={text}' for name, text in shown.items())})"


class Listing(list[T]):
    """A list of records, which a notebook shows as a table; in all else a list."""

    def _repr_html_(self) -> str:
        if not self:
            return "<p>none</p>"
        more = f"<p>and {len(self) - _ROWS} more</p>" if len(self) > _ROWS else ""
        return table(islice(self, _ROWS)) + more


def table(records: Iterable[Any]) -> str:
    """Variables, versions or changes, of one kind and at least one, as an HTML table."""
    records = list(records)
    columns = _COLUMNS[type(records[0]).__name__]
    rows = [[_cell(record, name) for name in columns] for record in records]
    return _html(rows, columns)


def facts(named: dict[str, object]) -> str:
    """Facts as an HTML table of one row."""
    return _html([[str(value) for value in named.values()]], list(named))


def _cell(record: Any, name: str) -> str:
    value = getattr(record, name)
    if name in {"value", "old"}:
        withheld = getattr(record, "secret", False) or getattr(record, "redacted", False)
        return WITHHELD if withheld else _brief.repr(value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return str(getattr(value, "name", value))


def _html(rows: Iterable[Iterable[str]], columns: Iterable[str]) -> str:
    # Here, where it is needed: nobody else pays for its table of entities.
    import html

    def line(tag: str, cells: Iterable[str]) -> str:
        return f"<tr>{''.join(f'<{tag}>{html.escape(_cut(cell))}</{tag}>' for cell in cells)}</tr>"

    head = line("th", (name.replace("_", " ") for name in columns))
    body = "".join(line("td", cells) for cells in rows)
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
