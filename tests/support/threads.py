"""What a test leaves behind in this process."""

from __future__ import annotations

import threading

from tests.support.waiting import PATIENCE

_before: set[threading.Thread] = set()


def note_threads() -> None:
    """Those there are now are not the coming test's: a tool that ignores its cancellation keeps its loop."""
    _before.clear()
    _before.update(threading.enumerate())


def threads_left() -> set[str]:
    """Our threads, begun since, that do not end by themselves."""
    ours = [thread for thread in set(threading.enumerate()) - _before if thread.name.startswith("snakepit")]
    for thread in ours:
        thread.join(PATIENCE)
    return {thread.name for thread in ours if thread.is_alive()}
