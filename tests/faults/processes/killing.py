"""Calls while workers are killed and started again, and what has to be true of them afterwards."""

from __future__ import annotations

import random
import select
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from snakepit_bridge import BlockingContext, SessionContext
from snakepit_bridge.exceptions import (
    CallTimeoutError,
    InvalidRequestError,
    ToolNotFoundError,
    ToolUnavailableError,
)
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[3]

# How a call ended as its caller saw it. "refused": it was not accepted; it has no end.
End = Literal["result", "unavailable", "deadline", "refused"]


@dataclass
class Seen:
    """What the callers saw, and how often a worker was killed."""

    ends: dict[str, End] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    kills: int = 0

    def accepted(self) -> int:
        return sum(end != "refused" for end in self.ends.values())


class Workers:
    """Worker processes of which one is killed every now and then, and started again."""

    def __init__(self, address: str, session_id: str, ledger: Path, count: int) -> None:
        self._command = [sys.executable, "-m", "tests.faults.processes.ledger_worker", address, session_id, str(ledger)]
        self._running = [self._start() for _ in range(count)]

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def serving(self) -> int:
        """How many have said that they serve, which is all they ever say."""
        said, _, _ = select.select([worker.stdout for worker in self._running if worker.stdout], [], [], 0)
        return len(said)

    def ready(self) -> None:
        """Waits until all of them serve."""
        wait_until(lambda: self.serving() == len(self._running))

    def kill_one(self) -> None:
        """Kills one as kill -9 does, in the middle of whatever it does, and starts another."""
        slot = random.randrange(len(self._running))
        self._end(self._running[slot])
        self._running[slot] = self._start()

    @staticmethod
    def _end(worker: subprocess.Popen[bytes]) -> None:
        worker.kill()
        worker.wait()
        for pipe in (worker.stdin, worker.stdout):
            assert pipe is not None
            pipe.close()

    def close(self) -> None:
        for worker in self._running:
            self._end(worker)


@contextmanager
def _killing(workers: Workers, seen: Seen, every: float) -> Iterator[None]:
    over = threading.Event()

    def kill() -> None:
        while not over.wait(random.uniform(0.5, 1.5) * every):
            # On a loaded machine they start more slowly than they would be killed, and nobody would be left to call.
            if workers.serving() > 1:
                workers.kill_one()
                seen.kills += 1

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def call_while_killing(
    address: str, session_id: str, ledger: Path, *, calls: int, callers: int = 16, workers: int = 4, every: float = 0.2
) -> Seen:
    """Makes that many calls that are accepted, half of them of a tool that may not run twice."""
    seen = Seen()
    lock = threading.Lock()

    def one(ctx: BlockingContext, number: int) -> None:
        tool = random.choice(["charge", "look_up"])
        call_id = f"{tool}-{number}"
        end: End = "result"
        try:
            answer = ctx.options(call_id=call_id, timeout=60).call_tool(tool, number=number)
        except ToolNotFoundError:
            end = "refused"
        except ToolUnavailableError as error:
            end = "unavailable" if error.facts["call"] else "refused"
        except CallTimeoutError:
            end = "deadline"
        with lock:
            seen.ends[call_id], seen.tools[call_id] = end, tool
            if end == "result" and answer != number * 2:
                seen.wrong.append(f"{call_id} answered {answer}")

    numbers = iter(range(10**9))

    def caller() -> None:
        with SessionContext.connect(address, session_id=session_id, create=False) as ctx:
            while True:
                with lock:
                    number = next(numbers)
                    if seen.accepted() >= calls:
                        return
                one(ctx, number)

    with SessionContext.connect(address, session_id=session_id):
        processes = Workers(address, session_id, ledger, workers)
        try:
            processes.ready()
            threads = [threading.Thread(target=caller) for _ in range(callers)]
            with _killing(processes, seen, every):
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
        finally:
            processes.close()
    return seen


def problems(seen: Seen, ledger: Path, ctx: BlockingContext) -> list[str]:
    """What is not as it has to be, by what the callers saw, what the workers wrote and what the server recorded."""
    found = list(seen.wrong)
    runs = [line.split() for line in ledger.read_text().splitlines()]
    for attempt, times in Counter((call_id, attempt) for call_id, attempt, _ in runs).items():
        if times > 1:
            found.append(f"attempt {attempt} ran {times} times")
    ran = Counter(call_id for call_id, _, _ in runs)
    found += [f"{call_id} ran and nobody called it" for call_id in ran.keys() - seen.ends.keys()]
    for call_id, end in seen.ends.items():
        if seen.tools[call_id] == "charge" and ran[call_id] > 1:
            found.append(f"{call_id} may run once and ran {ran[call_id]} times")
        if end == "result" and not ran[call_id]:
            found.append(f"{call_id} has a result and never ran")
        if end == "refused" and ran[call_id]:
            found.append(f"{call_id} was refused and ran")
        try:
            recorded = ctx.call_status(call_id)
        except InvalidRequestError:
            if end != "refused":
                found.append(f"{call_id} ended as {end}, and the server does not know it")
            continue
        if recorded.state != end:
            found.append(f"{call_id} ended as {end} for its caller, and as {recorded.state} on record")
        if ran[call_id] > len(recorded.attempts):
            found.append(f"{call_id} ran {ran[call_id]} times in {len(recorded.attempts)} attempts")
    return found


def summary(seen: Seen, ledger: Path) -> str:
    """The figures, in a line."""
    ends = Counter(seen.ends.values())
    runs = [line.split()[0] for line in ledger.read_text().splitlines()]
    told = ", ".join(f"{ends[end]:,} {end}" for end in ("result", "unavailable", "deadline", "refused"))
    again = len(runs) - len(set(runs))
    return f"{seen.accepted():,} calls, {seen.kills:,} workers killed: {told}; {again:,} second runs"
