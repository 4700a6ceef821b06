"""Writing down what may hold a secret: programs use the value, nobody prints it."""

from __future__ import annotations

import dataclasses
from typing import Any

WITHHELD = "(secret)"


def record_repr(record: Any, *, secret: bool) -> str:
    """The repr of a dataclass, without its `value` and its `old` one if those are secrets."""
    shown = {field.name: repr(getattr(record, field.name)) for field in dataclasses.fields(record) if field.repr}
    if secret:
        shown |= {name: WITHHELD for name in ("value", "old") if name in shown}
    return f"{type(record).__name__}({', '.join(f'{name}={text}' for name, text in shown.items())})"
