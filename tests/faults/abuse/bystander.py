"""An ordinary client that writes, reads and watches all the while."""

from __future__ import annotations

import contextlib
import threading
from time import sleep
from types import TracebackType
from typing import Self

from snakepit_bridge import SessionContext
from snakepit_bridge.exceptions import BridgeError
from tests.support.waiting import PATIENCE


class Bystander:
    """Counts a variable up, reads it, and watches it, until it is stopped.

    Attributes:
        done: how many writes and reads were answered, each as it had to be.
        seen: the numbers that the watch told, in order.
        wrong: what was not as it had to be.
    """

    def __init__(self, address: str, session: str, victim: str) -> None:
        self.done = 0
        self.seen: list[int] = []
        self.wrong: list[str] = []
        self._over = threading.Event()
        self._last = -1
        self._address, self._session, self._victim = address, session, victim
        self._threads = [threading.Thread(target=self._work), threading.Thread(target=self._watch)]
        self._registered = threading.Event()

    def ready(self) -> None:
        """Waits until it is at work, its watch included."""
        while not (self.seen and self.done) and not self.wrong:
            sleep(0.01)

    def _work(self) -> None:
        try:
            with (
                SessionContext.connect(self._address, session_id=self._session) as ctx,
                SessionContext.connect(self._address, session_id=self._victim) as victim,
            ):
                ctx.register_variable("n", "integer", 0)
                self._registered.set()
                count = 0
                while not self._over.is_set():
                    count += 1
                    if (counted := ctx.increment("n")) != count or (read := ctx.get_variable("n")) != count:
                        self.wrong.append(f"{count} was counted as {counted} and read as {read}")
                    # The attackers' session is in use too, and has changes for their watches.
                    victim.increment("n")
                    self.done += 3
                    self._over.wait(0.002)
                self._last = count + 1
                ctx.increment("n")
        except BridgeError as error:
            self.wrong.append(f"a call failed: {error!r}")
        self._registered.set()

    def _watch(self) -> None:
        self._registered.wait()
        try:
            with SessionContext.connect(self._address, session_id=self._session, create=False) as ctx:
                for change in ctx.watch_variables("n"):
                    if self.seen and change.value != self.seen[-1] + 1:
                        self.wrong.append(f"the watch told {change.value} after {self.seen[-1]}")
                    self.seen.append(change.value)
                    if change.value == self._last:
                        return
        except BridgeError as error:
            self.wrong.append(f"the watch ended: {error!r}")

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with contextlib.suppress(RuntimeError):
            for thread in self._threads:
                thread.join(PATIENCE)
        if any(thread.is_alive() for thread in self._threads):
            self.wrong.append("a call or the watch never ended")
