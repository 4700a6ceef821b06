"""The `snakepit` commands of the demo: run as another process, and written for a person to paste."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from snakepit_bridge import BlockingContext
from snakepit_bridge.server import find_binary


class Printed(NamedTuple):
    """What a command printed, and whether it succeeded."""

    text: str
    succeeded: bool


def activation() -> str | None:
    """The command that activates the environment of this Python, if it is one."""
    script = Path(sys.prefix, "bin", "activate")
    return f"  source {_from_here(script)}" if script.is_file() else None


def _from_here(path: Path) -> str:
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


class Terminal:
    """A terminal whose environment names the server and the session. It shares nothing else with this process."""

    def __init__(self, ctx: BlockingContext) -> None:
        self._binary = find_binary().absolute()
        self._variables = {"SNAKEPIT_ADDRESS": ctx.address, "SNAKEPIT_SESSION": ctx.session_id}

    def run(self, arguments: Sequence[str]) -> Printed:
        """Runs `snakepit` with these arguments."""
        done = subprocess.run(
            [self._binary, *arguments],
            env=os.environ | self._variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Printed(done.stdout.rstrip(), done.returncode == 0)

    def preparation(self) -> str:
        """The lines that make a terminal like this one."""
        path = f'{shlex.quote(str(self._binary.parent))}:"$PATH"'
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in self._variables.items())
        return f"  cd {shlex.quote(str(Path.cwd()))}\n  export PATH={path} {variables}"

    def written(self, arguments: Sequence[str]) -> str:
        """A command as a person types it."""
        return f"  {shlex.join(['snakepit', *arguments])}"

    def in_python(self, code: str) -> str:
        """A line of Python, without double quotes in it, as a person runs it."""
        return f'  {_from_here(Path(sys.executable))} -c "{code}"'
