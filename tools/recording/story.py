"""What is done in the two terminals."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from snakepit_bridge import local_server
from tools.recording.terminal import Frame, Stage, Terminal, without_waits

COLUMNS, ABOVE, BELOW = 110, 12, 13
# Seconds: a wait for the LM that is longer is shown as so long, and so long stands the end.
LONGEST_WAIT, LAST = 1.8, 4.0
ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("assistant.py")


class Recording(NamedTuple):
    """What the two terminals have shown, and what they show in the end.

    Attributes:
        program: the frames of the program's.
        commands: the frames of the other.
        length: seconds.
        text: both screens in the end.
    """

    program: list[Frame]
    commands: list[Frame]
    length: float
    text: str


def record(lm: str, environment: Mapping[str, str], *, fast: bool) -> Recording:
    """Runs the program and, beside it, the commands, on a server of their own.

    Args:
        lm: "local" or "scripted".
        environment: of this process; its `snakepit` is the one that is recorded.
        fast: without the pauses for whoever watches.
    """
    with tempfile.TemporaryDirectory() as directory, local_server() as server, Stage(fast=fast) as stage:
        here = Path(directory)
        shutil.copy(PROGRAM, here)
        shown = _environment(environment, server.address, here)
        shown |= {"RECORDED_LM": lm, "RECORDED_EVERY": "0.3" if fast else "2.5"}
        program = stage.add(Terminal(COLUMNS, ABOVE, directory=here, environment=shown))
        commands = stage.add(Terminal(COLUMNS, BELOW, directory=here, environment=shown))
        stage.begin()
        _tell(stage, program, commands)
        above, below = without_waits([program.frames, commands.frames], LONGEST_WAIT)
        length = max(above[-1].at, below[-1].at) + LAST
        text = "\n\n".join("\n".join(filter(None, terminal.text)) for terminal in (program, commands))
        return Recording(above, below, length, text)


def _tell(stage: Stage, program: Terminal, commands: Terminal) -> None:
    def answered(temperature: float, times: int) -> None:
        stage.until(lambda: _temperatures(program)[-times:] == [temperature] * times, program)

    def done(command: str) -> None:
        stage.run(commands, command)
        stage.until(lambda: commands.waits, commands)

    stage.hold(0.6)
    stage.run(program, "python assistant.py")
    answered(0.0, 2)
    stage.hold(0.8)
    done("snakepit var set llm_temperature 1.0 --reason livelier")
    answered(1.0, 3)
    stage.hold(0.8)
    done("snakepit var set llm_temperature 9")
    stage.hold(2.5)
    done("snakepit var history llm_temperature")
    stage.hold(2.0)
    done('snakepit var rollback llm_temperature --reason "calm again"')
    answered(0.0, 2)


def _temperatures(program: Terminal) -> list[float]:
    """Those of the forwards on the screen."""
    found = (re.match(r"revision \d+  temperature (\S+)  ", line) for line in program.text)
    return [float(forward[1]) for forward in found if forward]


def _environment(given: Mapping[str, str], address: str, home: Path) -> dict[str, str]:
    """What the shells know: the programs to run, and nothing of who records."""
    binaries = Path(given["SNAKEPIT_SERVER_BINARY"]).parent
    return {
        "PATH": f"{binaries}:{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LANG": "C.UTF-8",
        "USER": "ada",
        "HOME": str(home),
        "XDG_CACHE_HOME": given.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
        "SNAKEPIT_ADDRESS": address,
        "SNAKEPIT_SESSION": "demo",
    }
