"""Runs a scenario on a disk that fails at one operation, or from one on, and compares what was told with what is there.

Every operation that changes or syncs has a number: writes, truncations, new files and directories, removals, and syncs
of files and directories. Each is failed in turn, with no space (ENOSPC) and with an I/O error (EIO), once or from then
on. In the end either the disk gets well, something is written, and the server stops, or it is killed as it is: then
what it has refused last is still on the disk if it ever was. And either the power goes too, so that nothing is left of
what was not synced, or it does not. I/O errors of syncs meet all four ends, others one of them. Then a healthy disk
serves what is there.
"""

from __future__ import annotations

import errno
import signal
import subprocess
from collections import Counter as Tally
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import NamedTuple

from snakepit_bridge import SessionContext
from snakepit_bridge.exceptions import OutcomeUnknownError
from tests.faults.disk.looking import State, brief, state
from tests.faults.disk.mounted import Mounted
from tests.faults.disk.scenario import UPKEEP, Run

# What SQLite rolls back if there is no space for it, so that writing goes on when there is.
_ROLLED_BACK = {"write journal.db-wal", "write journal.db"}
# What ends all writing if it meets an I/O error. A single failed write need not: the kernel hands a write over in parts
# and tells of one that failed by a short count, whereupon SQLite asks for the rest again.
_BREAKING = {"sync journal.db-wal", "sync journal.db", "truncate journal.db"}


class Fault(NamedTuple):
    """What fails: the operation's number, with which errno, and whether all that follow do too; and how it ends."""

    at: int
    error: int
    onwards: bool
    killed: bool
    cut: bool

    def __str__(self) -> str:
        ends = [end for end, comes in (("killed", self.killed), ("a power cut", self.cut)) if comes]
        return " ".join([errno.errorcode[self.error], "from" if self.onwards else "at", f"operation {self.at}", *ends])


@dataclass
class Told:
    """What came of the runs."""

    operations: Tally[str] = field(default_factory=Tally)
    runs: int = 0
    unmade: int = 0
    acknowledged: int = 0
    failures: Tally[str] = field(default_factory=Tally)
    writing: int = 0
    read_only: int = 0
    cuts: int = 0
    killed: int = 0
    problems: list[str] = field(default_factory=list)


class Failing:
    """Runs scenarios on one disk, each in a directory of its own."""

    def __init__(self, disk: Mounted, binary: Path, scratch: Path) -> None:
        self.told = Told()
        self._disk, self._binary, self._scratch = disk, binary, scratch
        self._data = disk.path / "data"

    def operations(self) -> list[str]:
        """The operations of a run in which none fails, in order: each a kind and a file's name."""
        seen = self._run(None)
        self.told.operations.update(seen)
        return seen

    def faults(self) -> list[Fault]:
        """Every fault that is tried."""
        faults: list[Fault] = []
        for at, operation in enumerate(self.operations(), 1):
            for kind, (error, onwards) in enumerate(product([errno.ENOSPC, errno.EIO], [False, True])):
                every = error == errno.EIO and operation.startswith("sync")
                ends = range(4) if every else [(at + kind) % 4]
                faults += [Fault(at, error, onwards, killed=end % 2 == 1, cut=end > 1) for end in ends]
        return faults

    def run(self, fault: Fault) -> None:
        """One scenario with this fault."""
        self._run(fault)
        self.told.runs += 1

    def _run(self, fault: Fault | None) -> list[str]:
        if fault is None:
            self._disk.arm()
        else:
            self._disk.arm(fault.at, error=fault.error, onwards=fault.onwards)
        server = self._disk.serve(self._binary, self._data, self._scratch / "server.log", env=UPKEEP)
        address = server.address()
        wrong: list[str] = []
        possible: list[State] = [{}]
        if address is None:
            self.told.unmade += 1
        else:
            run = Run(self._disk, address)
            try:
                run.steps()
                run.read()
                if fault is None or not fault.killed:
                    self._disk.heal()
                    self._write_again(run, fault)
            finally:
                run.client.close()
            wrong, possible = run.wrong, run.possible
            self.told.acknowledged += run.acknowledged
            self.told.failures.update(type(failure).__name__ for failure in run.failures)
            if fault is not None and fault.killed:
                server.kill()
            else:
                server.ask_to_stop()
        code = server.wait()
        counted = self._disk.counted()
        killed = address is not None and fault is not None and fault.killed
        if code != (1 if address is None else -signal.SIGKILL if killed else 0) or server.panicked():
            wrong.append(f"PANIC or crash: exit code {code}: {server.said()}")
        if fault is None and (address is None or "Error" in str(self.told.failures)):
            wrong.append(f"nothing failed, and yet: {self.told.failures}, {server.said()}")
        self.told.killed += killed
        failed = "".join(counted.failed[:1])
        if fault is not None and fault.cut:
            self._disk.cut(self.told.runs, torn=False, keeping=0.0)
            self.told.cuts += 1
        wrong += self._afterwards(possible)
        where = f"{fault} ({failed})"
        self.told.problems += [f"{where}: {problem[:1000]}" for problem in wrong]
        return counted.seen

    def _write_again(self, run: Run, fault: Fault | None) -> None:
        """The disk is well again: writing goes on after a lack of space SQLite rolls back, not after an I/O error."""
        failed = set(self._disk.counted().failed)
        again = run.write_again()
        self.told.writing += again
        self.told.read_only += not again
        run.read()
        if again and fault is not None and fault.error == errno.EIO:
            breaking = _BREAKING | _ROLLED_BACK if fault.onwards else _BREAKING
            run.wrong += [f"a write is done after an I/O error of {what}" for what in failed & breaking]
        if failed <= _ROLLED_BACK and (fault is None or fault.error == errno.ENOSPC):
            if not again:
                run.wrong.append(f"there is space again, and no write is done: {run.failures[-1]!r}")
            if any(isinstance(failure, OutcomeUnknownError) for failure in run.failures):
                run.wrong.append(f"a lack of space left open whether a write was done: {run.failures}")

    def _afterwards(self, possible: list[State]) -> list[str]:
        """What a server finds wrong that opens the directory on the healthy disk."""
        self._disk.arm()
        server = self._disk.serve(self._binary, self._data, self._scratch / "afterwards.log", env=UPKEEP)
        address = server.address()
        wrong: list[str] = []
        if address is None:
            wrong.append(f"UNOPENABLE: {server.said()}")
        else:
            found = state(address)
            if found not in possible:
                wrong.append(
                    f"LOST or too much: {brief(found)} is there, possible was {' or '.join(map(brief, possible))}"
                )
            with SessionContext.connect(address, session_id="after"):
                pass
        server.kill()
        server.wait()
        checked = subprocess.run(
            [self._binary, "data", "check", "--data-dir", self._data], check=False, capture_output=True
        )
        if checked.returncode:
            wrong.append(f"data check: {checked.stdout.decode()}{checked.stderr.decode()}")
        self._disk.remove(self._data)
        return wrong


def summary(told: Told) -> str:
    """The figures, in lines."""
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(told.operations.items()))
    lost = {"lost": "LOST", "panics": "PANIC", "unopenable": "UNOPENABLE"}
    found = ", ".join(f"{what} {sum(sign in problem for problem in told.problems)}" for what, sign in lost.items())
    failures = ", ".join(f"{number:,} {name}" for name, number in told.failures.most_common())
    return (
        f"{told.runs:,} runs, each with a fault at one of {told.operations.total()} operations or from it on, "
        f"{told.killed:,} killed then, {told.cuts:,} with a power cut: {found}, other problems {len(told.problems)}\n"
        f"the operations: {kinds}\n"
        f"{told.acknowledged:,} steps acknowledged, {failures}; {told.unmade:,} servers did not start; writing went on "
        f"in {told.writing:,} runs, and in {told.read_only:,} only after a restart"
    )
