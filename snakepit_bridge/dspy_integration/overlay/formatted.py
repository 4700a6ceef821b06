"""Values on one line, for messages, logs and tables."""

from __future__ import annotations

import unicodedata
from typing import Any

import dspy

from snakepit_bridge._variables.display import WITHHELD, Brief


def written(value: Any, longest: int, *, secret: bool) -> str:
    """A value on one line of at most `longest` columns; a secret is withheld."""
    return WITHHELD if secret else cut(_brief.repr(value), longest)


class _Brief(Brief):
    """DSPy's values too."""

    def repr_instance(self, value: Any, level: int) -> str:
        """An adapter by its class: it has nothing else to tell."""
        return type(value).__name__ if isinstance(value, dspy.Adapter) else super().repr_instance(value, level)

    def repr_Example(self, value: Any, level: int) -> str:  # noqa: N802 - reprlib finds it by the name of the class
        """A `dspy.Example` as the map that it was made from."""
        return self.repr1(dict(value.items()), level)


_brief = _Brief()


def width_of(text: str) -> int:
    """The columns that a text takes in a terminal."""
    return sum(_columns(letter) for letter in text)


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def cut(text: str, width: int) -> str:
    """A text on one line of at most so many columns."""
    # A repr may have lines, an array's does.
    text = " ".join(text.split("\n"))
    if width_of(text) <= width:
        return text
    kept = width - len("...")
    for position, letter in enumerate(text):
        kept -= _columns(letter)
        if kept < 0:
            return text[:position] + "..."
    return text
