"""Editions of what is bound: a call goes on with the bindings that it began with.

Each `bind` and `unbind` begins an edition. The one before then notes the views that are no longer in effect, for the
calls that began in it; it goes when the last of them has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

lock = threading.RLock()
"""Held while bindings change. Whoever holds it waits for no callback and no rpc."""


class Edition:
    """From one change of bindings to the next.

    Attributes:
        replaced: the views that the next edition replaced, by overlay.
        next: the edition after this one.
    """

    __slots__ = ("__weakref__", "next", "replaced")

    def __init__(self) -> None:
        self.replaced: Mapping[object, Any] = {}
        self.next: Edition | None = None


_current = Edition()


def current() -> Edition:
    """The edition that a call beginning now is in."""
    return _current


def begin(edition: Edition) -> None:
    """Puts an edition into effect, for calls that begin from now on. The caller holds the lock."""
    global _current  # noqa: PLW0603
    _current = edition
