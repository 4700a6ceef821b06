"""Keeps processes running: starts again what ends, lets calls finish when it is to end itself."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from snakepit_bridge._client.backoff import jittered
from snakepit_bridge.command_line.work import DRAIN, GRACE_SECONDS, READY, UNUSABLE, Work

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_WELL = 10.0
"""Seconds after which a process that serves has run well: what happens then is no longer about how it started."""


class _Process:
    """One process, from its start to its end."""

    def __init__(self, work: Work, on_ready: Callable[[], None]) -> None:
        self._work = work
        self._on_ready = on_ready
        self._process: asyncio.subprocess.Process | None = None
        self._line: asyncio.StreamWriter | None = None
        self._finishing = False
        self._ready_at: float | None = None

    @property
    def pid(self) -> int:
        """Its id; 0 before it has one."""
        return self._process.pid if self._process is not None else 0

    @property
    def served_for(self) -> float:
        """For how many seconds it has served."""
        return 0.0 if self._ready_at is None else asyncio.get_running_loop().time() - self._ready_at

    async def run(self) -> int:
        """Starts it and waits for its end; gives its exit code."""
        # The process reads the other end of this from its standard input, and so hears of our end, however that comes.
        ours, theirs = socket.socketpair()
        reader, self._line = await asyncio.open_connection(sock=ours)
        command = (sys.executable, "-m", "snakepit_bridge.command_line.process", self._work.to_text())
        try:
            with theirs:
                # In a session of its own: Ctrl-C in a terminal is for the supervisor.
                self._process = await asyncio.create_subprocess_exec(
                    *command, stdin=theirs.fileno(), start_new_session=True
                )
            if self._finishing:
                self.finish()
            if await reader.readline() == READY:
                self._ready_at = asyncio.get_running_loop().time()
                self._on_ready()
            return await self._process.wait()
        finally:
            self._line.close()

    def finish(self) -> None:
        """Tells it to let its calls finish; one that has had none yet ends at once."""
        self._finishing = True
        if self._ready_at is not None and self._line is not None:
            self._line.write(DRAIN)
        elif self._process is not None and self._process.returncode is None:
            self._process.terminate()

    def kill(self) -> None:
        """Ends it at once, and what it has started."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


class Supervisor:
    """Runs one process for each piece of work.

    Args:
        work: what each is to do.
        drain_timeout: how many seconds running calls get to finish.
        until_stdin_closes: whether to end with whoever holds the other end of stdin, too.
    """

    def __init__(self, work: Sequence[Work], drain_timeout: float, *, until_stdin_closes: bool = False) -> None:
        self._work = work
        self._until_stdin_closes = until_stdin_closes
        self._drain_timeout = drain_timeout
        self._running: dict[int, _Process] = {}
        self._stopping = asyncio.Event()
        # Whether the first process serves, or has ended: it alone finds out whether there is anything to serve.
        self._tried = asyncio.Event()
        self._served = False
        self._code = 0

    async def run(self) -> int:
        """Serves until a signal comes; gives the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        if self._until_stdin_closes:
            await loop.connect_read_pipe(lambda: _StdinEnd(self._stop), sys.stdin)
        async with asyncio.TaskGroup() as slots:
            for slot in range(len(self._work)):
                slots.create_task(self._keep(slot))
            await self._stopping.wait()
            for process in self._running.values():
                process.finish()
            overdue = loop.call_later(self._drain_timeout + GRACE_SECONDS, self._kill)
        overdue.cancel()
        return self._code

    async def _keep(self, slot: int) -> None:
        if slot:
            await self._tried.wait()
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            process = self._running[slot] = _Process(self._work[slot], self._ready)
            try:
                how = _ended(code := await process.run())
            except OSError as error:
                code, how = 0, f"cannot be started: {error}"
            del self._running[slot]
            if self._stopping.is_set():
                break
            if code == UNUSABLE and not self._served:
                self._stop(1)
                break
            self._tried.set()
            if process.served_for >= _WELL:
                pause = _FIRST_PAUSE
            what = f"process {slot + 1} (pid {process.pid}) {how}; starting it again in {pause:g} s"
            sys.stderr.write(f"snakepit_bridge worker: {what}\n")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), jittered(pause, most=1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _ready(self) -> None:
        self._served = True
        self._tried.set()

    def _signalled(self) -> None:
        if self._stopping.is_set():
            self._stop(1)
            self._kill()
        self._stop(self._code)

    def _stop(self, code: int) -> None:
        self._code = code
        self._stopping.set()
        self._tried.set()

    def _kill(self) -> None:
        for process in self._running.values():
            process.kill()


class _StdinEnd(asyncio.Protocol):
    def __init__(self, stop: Callable[[int], None]) -> None:
        self._stop = stop

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._stop(0)


def _ended(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
