"""A shell that somebody pastes the commands of a page into, one block after another."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.support.waiting import PATIENCE

_SERVES = re.compile(r"^snakepit serve\b.*&", re.MULTILINE)


class Outcome(NamedTuple):
    """What a block printed, and which of its commands failed."""

    printed: str
    failed: list[str]


class Shell:
    """One bash, which keeps its directory, its variables and what it runs in the background until it is closed."""

    def __init__(self, directory: Path, scripts: Path, environment: dict[str, str]) -> None:
        self._scripts = scripts
        self._count = 0
        self._told, tells = os.pipe()
        self._printed, prints = os.pipe()
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            stdin=subprocess.PIPE,
            stdout=prints,
            stderr=prints,
            cwd=directory,
            env=environment,
            pass_fds=[tells],
            start_new_session=True,
        )
        os.close(prints)
        os.close(tells)
        # Not a number of its own: what is started in the background must not keep it open.
        self._send(f"_tell() {{ printf '%s\\n' \"$1\" >&{tells}; }}; trap '_tell \"failed $BASH_COMMAND\"' ERR")

    def run(self, commands: str) -> Outcome:
        """Runs a block to its end; a server that it starts in the background is waited for until it listens."""
        self._count += 1
        script = self._scripts / f"block-{self._count}.sh"
        script.write_text(commands, encoding="utf-8")
        self._send(f". {script}; _tell done")
        told, printed = b"", b""
        while not told.endswith(b"done\n"):
            readable = self._readable(PATIENCE)
            assert readable, f"it does not end:\n{commands}\n{printed.decode()}"
            told += os.read(self._told, 65536) if self._told in readable else b""
            printed += os.read(self._printed, 65536) if self._printed in readable else b""
        serves = bool(_SERVES.search(commands))
        while self._printed in self._readable(PATIENCE if serves and b"listening on " not in printed else 0):
            printed += os.read(self._printed, 65536)
        failed = [line.removeprefix("failed ") for line in told.decode().splitlines() if line.startswith("failed ")]
        return Outcome(printed.decode(), failed)

    def close(self) -> None:
        """Ends it, and all that it runs."""
        os.killpg(self._bash.pid, signal.SIGKILL)
        assert self._bash.stdin
        self._bash.stdin.close()
        self._bash.wait()
        os.close(self._told)
        os.close(self._printed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, line: str) -> None:
        assert self._bash.stdin
        self._bash.stdin.write(f"{line}\n".encode())
        self._bash.stdin.flush()

    def _readable(self, seconds: float) -> list[int]:
        return select.select([self._told, self._printed], [], [], seconds)[0]


def like(printed: str, shown: str) -> bool:
    """Whether this is what a page shows. `…` is anything on a line, and a line of its own any number of lines."""
    lines = [_pattern(line) for line in shown.rstrip("\n").split("\n")]
    return re.fullmatch("".join(lines), printed.rstrip("\n") + "\n") is not None


def _pattern(line: str) -> str:
    if line == "…":
        return r"(?:.*\n)*?"
    return r"[^\n]*".join(re.escape(part) for part in line.rstrip().split("…")) + r" *\n"
