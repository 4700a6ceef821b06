"""Editions of what is bound: a call goes on with the bindings that it began with.

Each `bind` and `unbind` begins an edition. The one before then notes the views that are no longer in effect, for the
calls that began in it; it goes when the last of them has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING
from weakref import ref

if TYPE_CHECKING:
    from snakepit_bridge.dspy_integration.overlay.overlay import Overlay
    from snakepit_bridge.dspy_integration.overlay.view import View

lock = threading.RLock()
"""Held while bindings change. Whoever holds it waits for no callback and no rpc."""


class Edition:
    """From one change of bindings to the next.

    Attributes:
        replaced: the views that the next edition replaced.
        next: the edition after this one.
    """

    __slots__ = ("__weakref__", "next", "replaced")

    def __init__(self) -> None:
        self.replaced: Mapping[Overlay, View] = {}
        self.next: Edition | None = None


_current = Edition()


def current() -> Edition:
    """The edition that a call beginning now is in."""
    return _current


def publish(views: Mapping[Overlay, View]) -> ref[Edition]:
    """Puts views into effect, for a call that begins from now on all of them at once. The caller holds the lock.

    Where nothing was bound, calls in progress see what is bound now: otherwise a program that is bound while such a
    call runs, and then used by it, would run unbound.

    Returns:
        The edition that has ended, by a reference that is dead if no call is in progress that began in it or before.
    """
    global _current  # noqa: PLW0603
    ended, begun = _current, Edition()
    # First the note, then the view: `Overlay.view_at` reads them the other way round.
    ended.replaced = {overlay: overlay.newest_view for overlay in views if overlay.newest_view.bindings}
    ended.next = begun
    for overlay, view in views.items():
        overlay.newest_view = view
    _current = begun
    return ref(ended)
