"""What sessions have to do with their process: they are closed at its exit, and refused in what it forks."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snakepit_bridge._client.session import Session

__all__ = ["adopt", "forked_after_connecting"]

_sessions: weakref.WeakSet[Session] = weakref.WeakSet()
_forked_after_connecting = False


def adopt(session: Session) -> None:
    """Sees to a session from now on."""
    _sessions.add(session)


def forked_after_connecting() -> bool:
    """Whether this process was forked from one that had a connection: then gRPC works no more in it."""
    return _forked_after_connecting


def _after_fork() -> None:
    global _forked_after_connecting  # noqa: PLW0603
    for session in list(_sessions):
        _forked_after_connecting |= session.forked()


def _at_exit() -> None:
    for session in list(_sessions):
        session.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
