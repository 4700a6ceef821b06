"""Results and chunks that are no larger than the server takes."""

from __future__ import annotations

from typing import Any

from snakepit_bridge._tools.jsonable import put
from snakepit_bridge.exceptions import LimitExceededError
from snakepit_bridge.v1 import value_pb2

__all__ = ["Kept", "check_size"]


class Kept:
    """What a generator yielded, for a caller who wants the result alone; bounded like a result."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0
        self._message = value_pb2.Value()
        self._message.list_value.SetInParent()

    def add(self, item: Any) -> None:
        """Keeps one more, while there is room."""
        items = self._message.list_value.items
        if self._bytes > self._most:
            return
        added = items.add()
        put(added, item, f"chunk {len(items) - 1}")
        self._bytes += added.ByteSize()
        if self._bytes > self._most:
            # It may yet return a result of its own; then none of this is needed.
            self._message.list_value.Clear()

    def into(self, message: value_pb2.Value) -> None:
        """Puts the list of all of it into an empty message; LimitExceededError if there was no room."""
        if self._bytes > self._most:
            _refuse_size(self._bytes, self._most, "all that it yielded")
        message.MergeFrom(self._message)


def check_size(message: value_pb2.Value, most: int, what: str) -> None:
    """Raises LimitExceededError for what the server would not take; `what` says what it is."""
    size = message.ByteSize()
    if size > most:
        _refuse_size(size, most, what)


def _refuse_size(size: int, most: int, what: str) -> None:
    raise LimitExceededError(
        f"{what} has {size} bytes or more, and the server takes {most}; return less, or yield it in parts",
        {"limit": "value_bytes", "max": most},
    )
