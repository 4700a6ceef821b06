"""A worker started from a command line, and what it says."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Self

from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[3]
_SERVING = re.compile(r"serving (?P<name>\S+) at (?P<address>\S+), (?P<where>.+) \(pid (?P<pid>\d+)\)")


class WorkerProcess:
    """`python -m snakepit_bridge worker …`, run in a directory; killed with all its processes at the end."""

    def __init__(self, directory: Path, *arguments: str, **environment: str) -> None:
        command = [sys.executable, "-m", "snakepit_bridge", "worker", *arguments]
        # The package is found in this tree, the target in the directory.
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        self.process = subprocess.Popen(
            command,
            cwd=directory,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self.pids: list[int] = []

    def serving(self) -> re.Match[str]:
        """Waits until one more process says that it serves."""
        line = _line(self.process.stdout)
        found = _SERVING.fullmatch(line)
        assert found is not None, line + self.complaints()
        self.pids.append(int(found["pid"]))
        return found

    def complaint(self) -> str:
        """The next line of its standard error."""
        return _line(self.process.stderr)

    def complaints(self) -> str:
        """The rest of its standard error; it has to end."""
        self.process.kill()
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Sends it a signal."""
        self.process.send_signal(number)

    def ended(self) -> int:
        """Waits for its end and that of all its processes, who share its standard output; gives the exit code."""
        while _line(self.process.stdout):
            pass
        return self.process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        # What it started notices, and ends too.
        if self.process.stdin is not None and self.process.stdin.closed:
            self.process.stdin = None
        self.process.communicate(timeout=PATIENCE)


def _line(stream: IO[bytes] | None) -> str:
    """One line, without its end; "" at the end of the stream."""
    assert stream is not None
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([stream], [], [], PATIENCE)
        assert ready, f"nothing said within {PATIENCE:g} s but {line!r}"
        byte = stream.read(1)
        if not byte:
            break
        line += byte
    return line.decode().rstrip("\n")
