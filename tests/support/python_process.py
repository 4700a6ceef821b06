"""Other processes of this Python."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.support.waiting import PATIENCE, wait_until

ROOT = Path(__file__).parents[2]


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process of this Python, in this checkout."""
    command, pipe = [sys.executable, "-c", code, *arguments], subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def ends(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Waits for its end: its exit code, and what it wrote to stdout and stderr."""
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def wait_until_gone(pid: int) -> None:
    """Waits until the process has ended; it need not be a child of ours."""
    wait_until(lambda: _state(pid) in {"", "Z"})


def wait_until_blocked(pid: int) -> None:
    """Waits until the main thread waits for something, and not only for a processor, and goes on waiting."""
    since = time.monotonic()

    def blocked() -> bool:
        nonlocal since
        if _state(pid) != "S":
            since = time.monotonic()
        return time.monotonic() - since > 0.2

    wait_until(blocked)


def _state(pid: int) -> str:
    """The state of the main thread as Linux names it, "" if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""
