"""Programs that are run to their end."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_LAST_LINES = 25


class CheckError(Exception):
    """Something is not as a release has to be."""


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    refused: bool = False,
) -> str:
    """What a program prints, on stderr too.

    Args:
        command: the program and its arguments.
        cwd: where it runs.
        env: all of its environment; else this process's.
        log: where all that it says is added while it runs, for whoever waits.
        refused: it has to fail.

    Raises:
        CheckError: it failed, or did not although it has to.
    """
    shown = " ".join(str(part) for part in command)
    if shutil.which(str(command[0]), path=(env or os.environ).get("PATH")) is None:
        raise CheckError(f"`{shown}`: there is no program {command[0]}")
    said = ""
    with subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env=None if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        if process.stdout is None:
            raise AssertionError("its stdout is a pipe")
        for line in process.stdout:
            said += line
            if log is not None:
                with log.open("a", encoding="utf-8") as file:
                    file.write(line)
    if (process.returncode != 0) is not refused:
        last = "\n".join(said.splitlines()[-_LAST_LINES:])
        raise CheckError(f"`{shown}` ended with {process.returncode}:\n{last}")
    return said


def without_rust(path: str) -> str:
    """A PATH on which there is no Rust: who installs a wheel has none."""
    kept = [
        directory
        for directory in path.split(os.pathsep)
        if not any(shutil.which(tool, path=directory) for tool in ("cargo", "rustc", "rustup"))
    ]
    return os.pathsep.join(kept)
