"""What a server's process holds, as Linux tells it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from tests.support.waiting import PATIENCE


@dataclass(frozen=True)
class Process:
    """A process that runs."""

    pid: int

    @property
    def alive(self) -> bool:
        return Path(f"/proc/{self.pid}/fd").exists() and "\nState:\tZ" not in self._status()

    def _status(self) -> str:
        return Path(f"/proc/{self.pid}/status").read_text()

    @property
    def descriptors(self) -> int:
        """Open files and sockets."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    @property
    def threads(self) -> int:
        return int(re.findall(r"^Threads:\s+(\d+)", self._status(), re.MULTILINE)[0])

    @property
    def mebibytes(self) -> float:
        """Resident memory."""
        return int(re.findall(r"^VmRSS:\s+(\d+)", self._status(), re.MULTILINE)[0]) / 1024

    @property
    def said(self) -> str:
        """What it has written to stderr, which is a file."""
        return Path(f"/proc/{self.pid}/fd/2").read_text(errors="replace")

    def settles_at(self, descriptors: int, within: float = PATIENCE) -> int:
        """Waits until no more are open; how many are."""
        _until(lambda: self.descriptors <= descriptors, within)
        return self.descriptors

    def shrinks_to(self, mebibytes: float, within: float = PATIENCE) -> float:
        """Waits until it has no more memory: what was dropped may be freed a little later. How much it has."""
        _until(lambda: self.mebibytes <= mebibytes, within)
        return self.mebibytes


def _until(true: Callable[[], bool], within: float) -> None:
    end = monotonic() + within
    while not true() and monotonic() < end:
        sleep(0.05)
