"""What is in effect on a program, as a mapping that prints as a table."""

from __future__ import annotations

import html
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from snakepit_bridge._variables.display import record_repr
from snakepit_bridge.dspy_integration.overlay.formatted import cut, width_of, written
from snakepit_bridge.exceptions import BridgeError

_HEADER = ("path", "variable", "value", "version", "notes")
_VALUE, _VERSION = _HEADER.index("value"), _HEADER.index("version")
_GAP = 2
_LEAST = 16
_TEXT_VALUE, _HTML_VALUE = 60, 200
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Effective:
    """A binding as it is now. Its repr does not show a secret.

    Attributes:
        variable: the variable's name.
        value: what the variable, or the default, gives: in a call as of its snapshot, else the newest this context has
            seen. None if there is an `error`.
        version: the variable's version; None if it does not exist.
        detached: whether something else was assigned everywhere the binding had reached.
        uncovered: predictors that the binding would reach if it were made now, but does not: added later, or assigned.
        secret: whether the variable is one. The program uses the value; do not print it.
        error: what a call would raise: the variable is gone, or has a value that does not fit.
    """

    variable: str
    value: Any
    version: int | None
    detached: bool
    uncovered: tuple[str, ...] = ()
    secret: bool = False
    error: BridgeError | None = None

    @property
    def default(self) -> bool:
        """Whether the default of the binding is in use, because the variable does not exist."""
        return self.version is None and self.error is None

    @property
    def notes(self) -> str:
        """What a reader should know besides; the last column of the table."""
        found = [name for name in ("default", "detached") if getattr(self, name)]
        if self.error is not None:
            found.append(type(self.error).__name__)
        if self.uncovered:
            more = f" and {len(self.uncovered) - _NAMED} more" if len(self.uncovered) > _NAMED else ""
            found.append(f"uncovered: {', '.join(self.uncovered[:_NAMED])}{more}")
        return ", ".join(found)

    def __repr__(self) -> str:
        return record_repr(self, secret=self.secret)


class EffectiveTable(dict[str, Effective]):
    """A path's `Effective` by path. Prints as a table as wide as the terminal, or, in a notebook, as HTML."""

    def __repr__(self) -> str:
        return self.text(shutil.get_terminal_size().columns)

    def text(self, width: int) -> str:
        """The table in at most `width` columns, as far as paths and names allow.

        Where its columns do not fit side by side, there is a block of lines for each path.
        """
        if not self:
            return "nothing is bound"
        rows = self._rows(_TEXT_VALUE)
        widths = [max(map(width_of, column)) for column in zip(_HEADER, *rows, strict=True)]
        # Nobody misses an empty last column.
        shown = len(_HEADER) if any(row[-1] for row in rows) else len(_HEADER) - 1
        widths = widths[:shown]
        while sum(widths) + _GAP * (shown - 1) > width:
            widest = max((_VALUE, shown - 1), key=lambda column: widths[column])
            if widths[widest] <= _LEAST:
                return "\n".join(line for row in rows for line in _block(row, width))
            widths[widest] -= 1
        return "\n".join(line for row in (_HEADER, *rows) for line in _lines(row, widths))

    def _repr_html_(self) -> str:
        if not self:
            return "<p>nothing is bound</p>"
        head = "".join(f"<th>{name}</th>" for name in _HEADER)
        rows = (
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._rows(_HTML_VALUE)
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"

    def _rows(self, longest: int) -> list[tuple[str, ...]]:
        return [
            (
                path,
                found.variable,
                "" if found.error is not None else written(found.value, longest, secret=found.secret),
                "-" if found.version is None else str(found.version),
                found.notes,
            )
            for path, found in self.items()
        ]


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """A row: its value is cut, its notes go on in further lines."""
    first = [*row[:_VALUE], cut(row[_VALUE], widths[_VALUE]), row[_VERSION].rjust(widths[_VERSION])]
    notes = textwrap.wrap(row[-1], widths[-1]) if len(widths) == len(row) else []
    padded = [cell + " " * (width - width_of(cell)) for cell, width in zip(first, widths, strict=False)]
    line = (" " * _GAP).join([*padded, *notes[:1]]).rstrip()
    indent = " " * (sum(widths[:-1]) + _GAP * (len(widths) - 1))
    return [line, *(indent + note for note in notes[1:])]


def _block(row: Sequence[str], width: int) -> list[str]:
    label = max(map(len, _HEADER)) + _GAP
    lines = [row[0]]
    for name, cell in zip(_HEADER[1:], row[1:], strict=True):
        if cell:
            start = f"{'':{_GAP}}{name:{label}}"
            room = max(width, len(start) + _LEAST)
            lines += textwrap.wrap(start + cell, room, subsequent_indent=" " * len(start))
    return lines
