"""What sessions have to do with their process: they are closed at its exit, and refused in what it forks."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Protocol

__all__ = ["adopt", "forked_after_connecting"]


class Adopted(Protocol):
    """What is looked after here: a session."""

    def forked(self) -> bool:
        """This process is a forked child; tells whether there is a connection."""

    def close(self) -> None:
        """This process is about to end."""


_sessions: weakref.WeakSet[Adopted] = weakref.WeakSet()
_forked_after_connecting = False


def adopt(session: Adopted) -> None:
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
