"""How records look in a notebook: as small tables in which no secret stands and nothing is markup."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from snakepit_bridge._variables.redacted import WITHHELD
from snakepit_bridge._variables.short_repr import Brief

__all__ = ["Listing", "facts", "table"]

T = TypeVar("T")

_COLUMNS = {
    "Variable": ("name", "type", "value", "version", "updated_at", "updated_by", "reason"),
    "VariableVersion": ("version", "kind", "value", "updated_at", "updated_by", "reason"),
    "Change": ("name", "kind", "value", "old", "version", "by", "reason"),
}
_ROWS = 100
_LONGEST = 200
_brief = Brief()


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
