"""A shell in a terminal, and everything that its screen has shown."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

PROMPT = "$"
PATIENCE = 600.0


@dataclass(frozen=True)
class Cell:
    """One character, and how it is shown."""

    text: str = " "
    colour: str = "default"
    bold: bool = False


@dataclass(frozen=True)
class Frame:
    """What a terminal shows from a moment on.

    Attributes:
        at: seconds since the recording began.
        cells: its lines.
        cursor: column and line.
    """

    at: float
    cells: tuple[tuple[Cell, ...], ...]
    cursor: tuple[int, int]


class Terminal:
    """A shell whose screen is recorded while it is pumped.

    Attributes:
        frames: what has been shown, in order.
    """

    def __init__(self, columns: int, lines: int, *, directory: Path, environment: Mapping[str, str]) -> None:
        self.frames: list[Frame] = []
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.descriptor, user = os.openpty()
        fcntl.ioctl(user, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "--noediting", "-i"],
            stdin=user,
            stdout=user,
            stderr=user,
            cwd=directory,
            env={**environment, "PS1": rf"\[\033[32m\]{PROMPT}\[\033[0m\] ", "TERM": "xterm-256color"},
            # Its own session, whose terminal this is: what it runs ends with it.
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(user)

    def take(self, at: float) -> None:
        """Shows what the shell has written by now."""
        with contextlib.suppress(OSError):
            self._stream.feed(os.read(self.descriptor, 65536))
        buffer, columns, lines = self._screen.buffer, self._screen.columns, self._screen.lines
        cells = tuple(
            tuple(Cell(buffer[y][x].data, buffer[y][x].fg, buffer[y][x].bold) for x in range(columns))
            for y in range(lines)
        )
        self.frames.append(Frame(at, cells, (self._screen.cursor.x, self._screen.cursor.y)))

    def type(self, text: str) -> None:
        """Presses keys."""
        os.write(self.descriptor, text.encode())

    @property
    def text(self) -> list[str]:
        """The lines on the screen, without what is blank at their ends."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def waits(self) -> bool:
        """Whether the shell waits for a command."""
        return self.text[self._screen.cursor.y] == PROMPT

    def close(self) -> None:
        """Ends the shell and what it runs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(os.tcgetpgrp(self.descriptor), signal.SIGINT)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGHUP)
        self._shell.wait()
        os.close(self.descriptor)


class Stage:
    """Terminals that are recorded together.

    Args:
        fast: types at once and holds nothing, for a test.
    """

    def __init__(self, *, fast: bool) -> None:
        self._fast = fast
        self._began = time.monotonic()
        self._terminals: list[Terminal] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for terminal in self._terminals:
            terminal.close()

    @property
    def now(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    def add(self, terminal: Terminal) -> Terminal:
        """Records this one too, and waits until its shell is ready."""
        self._terminals.append(terminal)
        self.until(lambda: terminal.waits, terminal)
        return terminal

    def begin(self) -> None:
        """What was shown so far is how the recording begins."""
        self._began = time.monotonic()
        for terminal in self._terminals:
            terminal.frames = [Frame(0.0, terminal.frames[-1].cells, terminal.frames[-1].cursor)]

    def hold(self, seconds: float) -> None:
        """Goes on for a while, for whoever watches."""
        end = self.now + (0.0 if self._fast else seconds)
        while (left := end - self.now) > 0:
            self._pump(left)

    def until(self, shown: Callable[[], bool], terminal: Terminal) -> None:
        """Goes on until this is shown."""
        end = time.monotonic() + PATIENCE
        while not shown():
            if time.monotonic() > end:
                screen = "\n".join(terminal.text)
                raise TimeoutError(f"what was waited for is not shown after {PATIENCE:.0f} s:\n{screen}")
            self._pump(0.1)

    def run(self, terminal: Terminal, command: str) -> None:
        """Types a command as a person does."""
        for key in command:
            terminal.type(key)
            self.hold(0.09 if key == " " else 0.045)
        # Echoed, so that the line is no longer that of a shell that waits.
        self.until(lambda: any(line == f"{PROMPT} {command}" for line in terminal.text), terminal)
        self.hold(0.4)
        terminal.type("\n")

    def _pump(self, seconds: float) -> None:
        readable, _, _ = select.select([it.descriptor for it in self._terminals], [], [], seconds)
        for terminal in self._terminals:
            if terminal.descriptor in readable:
                terminal.take(self.now)


def without_waits(recorded: list[list[Frame]], longest: float) -> list[list[Frame]]:
    """The frames of terminals that were recorded together, with what nothing happened in made as short as that."""
    moments = sorted({frame.at for frames in recorded for frame in frames})
    cut, moved = 0.0, {0.0: 0.0}
    for before, at in pairwise(moments):
        cut += max(0.0, at - before - longest)
        moved[at] = at - cut
    return [[replace(frame, at=moved[frame.at]) for frame in frames] for frames in recorded]
