"""The threads of a worker: those in which plain functions run, and the loop for coroutines that have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["LoopThread", "Threads"]


class Threads:
    """Up to so many daemon threads, started as they are needed and used again. What is beyond waits for one.

    A function that never returns keeps its thread; nothing can take it away.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._started = 0
        # Threads that wait for work, less what waits for a thread.
        self._free = 0

    def run(self, function: Callable[[], None]) -> None:
        """Runs a function that never raises."""
        with self._lock:
            start = self._free <= 0 and self._started < self._most
            if start:
                self._started += 1
            else:
                self._free -= 1
        self._work.put(function)
        if start:
            threading.Thread(target=self._serve, name="snakepit-tool", daemon=True).start()

    def close(self) -> None:
        """Lets each thread end as soon as it is free."""
        for _ in range(self._most):
            self._work.put(None)

    def _serve(self) -> None:
        while (function := self._work.get()) is not None:
            function()
            # What it refers to is not to live until the next one comes.
            del function
            with self._lock:
                self._free += 1


class LoopThread:
    """An event loop in a daemon thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="snakepit-tool-loop", daemon=True)
        self._thread.start()

    def close(self, within: float) -> None:
        """Cancels what runs in it and ends it; left alone if a tool blocks it."""
        try:
            self.loop.call_soon_threadsafe(self.loop.stop)
        except RuntimeError:
            return
        if self._thread is not threading.current_thread():
            self._thread.join(within)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self.loop.run_until_complete(asyncio.wait(tasks))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()
