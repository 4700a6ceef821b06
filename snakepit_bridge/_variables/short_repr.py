"""Values on one line that does not grow with them."""

from __future__ import annotations

import reprlib
from typing import Any

__all__ = ["Brief"]


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
