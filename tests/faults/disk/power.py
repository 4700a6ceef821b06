"""Cuts the power of a server's disk in the middle of what its clients write, and says what has to be true then.

A cut comes at one operation of the disk, chosen beforehand: the power is off before anybody is answered. The server is
killed, what was not synced survives in part, and one that has nothing to do with the writers opens what is left, on
another port, so that nothing is written while it is compared with what was acknowledged. Then the writers get their
server back, on the same directory, in which damage would add up; now and then on a new one.

In a copy of what is left a bit is turned, in the log, where a sync had covered it: that has to be told.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import threading
from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from snakepit_bridge import SessionContext
from tests.faults.disk.load import Counter, Maker, Pages, Writer
from tests.faults.disk.mounted import Mounted, Serving
from tests.faults.disk.volume import Survived
from tests.support.waiting import PATIENCE

JOURNAL, LOG, MARK = "journal.db", "journal.db-wal", "journal.db-mark"
# What comes before the frames of a log, and how long a frame is: 24 bytes and a page.
_LOG_HEADER, _FRAME = 32, 24 + 4096
# After so many cuts the directory is a new one.
_CUTS_OF_A_DIRECTORY = 20
# How long the load may take to get to the operation that was chosen, before any is good enough.
_LOAD_SECONDS = 4.0
# The server's upkeep: its own, or such that it folds and checkpoints all the time.
_UPKEEPS: list[dict[str, str]] = [{}, {"SNAKEPIT_FOLD_EVENTS": "20", "SNAKEPIT_CHECKPOINT_PAGES": "50"}]


@dataclass
class Seen:
    """What came of a run."""

    cuts: Tally[str] = field(default_factory=Tally)
    at: Tally[str] = field(default_factory=Tally)
    torn: int = 0
    acknowledged: int = 0
    survived: Survived = field(default_factory=Survived)
    checkpoints: int = 0
    folded: int = 0
    turned: int = 0
    reopening: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, survived: Survived) -> None:
        for name, amount in vars(survived).items():
            setattr(self.survived, name, getattr(self.survived, name) + amount)


class Power:
    """Cuts the power of one disk; `seed` decides where, and what survives."""

    def __init__(self, disk: Mounted, binary: Path, scratch: Path, seed: int) -> None:
        self.seen = Seen()
        self._disk, self._binary, self._scratch, self._seed = disk, binary, scratch, seed
        self._chance = random.Random(seed)
        self._directories = 0
        self._data = disk.path
        self._address = "127.0.0.1:0"
        self._upkeep: dict[str, str] = {}
        self._writers: list[Writer] = []
        self._may_write = threading.Event()

    def run(self, cuts: int) -> Seen:
        """Cuts the power that many times, or until something is wrong."""
        while sum(self.seen.cuts.values()) < cuts and not self.seen.problems:
            left = cuts - sum(self.seen.cuts.values())
            self._directory(min(left, _CUTS_OF_A_DIRECTORY, max(cuts // 2, 1)))
        self.seen.checkpoints = self._disk.counted().checkpoints
        return self.seen

    def _directory(self, cuts: int) -> None:
        """The life of a directory: perhaps a cut while it is made, cuts under load, then it is compared once more."""
        self._directories += 1
        self._data, self._address = self._disk.path / f"data{self._directories}", "127.0.0.1:0"
        self._upkeep = _UPKEEPS[self._directories % 2]
        self._writers = []
        if self._directories % 2 == 0:
            self._opening("making")
        server = self._serve()
        if server is None:
            return
        self._address = server.address() or ""
        writers: list[Writer] = [Counter("counters", f"n{number}") for number in range(3)]
        writers += [Pages(f"pages{number}") for number in range(3)]
        writers += [Maker("maker")]
        over = threading.Event()
        self._may_write.set()
        threads = [writer.start(self._address, self._may_write, over) for writer in writers]
        self._writers = writers
        try:
            for _ in range(cuts):
                server = self._under_load(server)
                if server is None:
                    return
            over.set()
            for writer, thread in zip(writers, threads, strict=True):
                thread.join(PATIENCE)
                if thread.is_alive():
                    self._wrong("at the end", [f"{writer}: never answered"])
            server.ask_to_stop()
            server.wait()
            self.seen.folded += self._folded()
            self._compare("at the end")
        finally:
            over.set()
            for writer in writers:
                # Whatever is under way is given up.
                writer.close()
            self.seen.acknowledged += sum(writer.acknowledged for writer in writers)
        if not self.seen.problems:
            self._disk.remove(self._data)

    def _under_load(self, server: Serving) -> Serving | None:
        kind = self._chance.choices(["load", "checkpoint", "stopping", "opening"], [10, 6, 2, 2])[0]
        match kind:
            case "checkpoint":
                kinds = self._chance.choice([["sync"], ["truncate"], ["write"], ["write"]])
                self._disk.arm(self._chance.randint(1, 120) if kinds == ["write"] else 1, files=[JOURNAL], kinds=kinds)
            case "stopping":
                self._disk.arm()
            case _:
                self._disk.arm(self._chance.randint(1, 4_000))
        began = perf_counter()
        self._may_write.set()
        while not self._disk.frozen.wait(0.3) and perf_counter() - began < _LOAD_SECONDS and kind != "stopping":
            # A checkpoint comes when nobody writes.
            self._may_write.clear()
            self._disk.frozen.wait(0.05)
            self._may_write.set()
        if kind == "stopping":
            self._disk.arm(self._chance.randint(1, 60))
            server.ask_to_stop()
        elif not self._disk.frozen.is_set():
            self._disk.freeze()
        self._disk.frozen.wait(1)
        self._go_dark(server, kind)
        if kind == "opening":
            self._opening(kind)
        self._compare(kind)
        self._turn_a_bit(kind)
        return None if self.seen.problems else self._serve()

    def _opening(self, kind: str) -> None:
        """A cut while a server opens the directory, or makes it."""
        self._disk.arm(self._chance.randint(1, 60 if kind == "making" else 12))
        opening = self._disk.serve(self._binary, self._data, self._scratch / "opening.log", env=self._upkeep)
        watching = threading.Thread(target=opening.address, daemon=True)
        watching.start()
        while watching.is_alive() and not self._disk.frozen.wait(0.01):
            watching.join(0.01)
        self._go_dark(opening, kind)
        watching.join()

    def _go_dark(self, server: Serving, kind: str) -> None:
        """The power is off: nobody is answered any more, and then it is back."""
        server.kill()
        self._disk.release()
        server.wait()
        if server.panicked():
            self._wrong(kind, [f"a panic: {server.said()}"])
        number = sum(self.seen.cuts.values())
        torn = number % 2 == 1
        self.seen.add(self._disk.cut(self._seed * 1_000_000 + number, torn=torn))
        self.seen.cuts[kind] += 1
        self.seen.torn += torn
        self.seen.at[self._disk.frozen_at or "nothing"] += 1

    def _serve(self) -> Serving | None:
        """The server of the writers, back again."""
        began = perf_counter()
        server = self._disk.serve(
            self._binary, self._data, self._scratch / "server.log", listen=self._address, env=self._upkeep
        )
        if server.address() is None:
            self._wrong("opening", [f"UNOPENABLE: {server.said()}"])
            return None
        self.seen.reopening.append(perf_counter() - began)
        return server

    def _compare(self, kind: str) -> None:
        """What is there, with what was acknowledged; nobody is writing."""
        if not self._data.exists() and not self._writers:
            return
        checked = subprocess.run(
            [self._binary, "data", "check", "--data-dir", self._data], check=False, capture_output=True
        )
        if checked.returncode:
            self._wrong(kind, [f"data check: {checked.stdout.decode()}{checked.stderr.decode()}"])
        with self._examiner(kind) as address:
            if address is None:
                return
            for writer in self._writers:
                try:
                    with SessionContext.connect(address, session_id=writer.session, create=False) as ctx:
                        self._wrong(kind, writer.wrong + writer.problems(ctx))
                except Exception as error:
                    self._wrong(kind, [f"{writer}: LOST, cannot be read: {error!r}"])

    def _turn_a_bit(self, kind: str) -> None:
        """Turns a bit of the log in a copy, in a frame that the mark says was synced: that has to be told."""
        copy = self._scratch / "turned"
        shutil.copytree(self._data, copy)
        try:
            files = (copy / LOG, copy / MARK)
            log, mark = (bytearray(file.read_bytes() if file.exists() else b"") for file in files)
            frames = int.from_bytes(mark[16:24], "little") if mark[8:16] == log[16:24] else 0
            if not frames:
                return
            at = self._chance.randrange(_LOG_HEADER, _LOG_HEADER + frames * _FRAME)
            log[at] ^= 1 << self._chance.randrange(8)
            (copy / LOG).write_bytes(log)
            self.seen.turned += 1
            checked = subprocess.run(
                [self._binary, "data", "check", "--data-dir", copy], check=False, capture_output=True
            )
            if checked.returncode != 1:
                self._wrong(kind, [f"NOT TOLD: a bit turned at byte {at} of the log, and data check finds nothing"])
        finally:
            shutil.rmtree(copy)

    @contextmanager
    def _examiner(self, kind: str) -> Iterator[str | None]:
        began = perf_counter()
        server = self._disk.serve(self._binary, self._data, self._scratch / "examiner.log", env=self._upkeep)
        address = server.address()
        if address is None:
            self._wrong(kind, [f"UNOPENABLE: {server.said()}"])
        else:
            self.seen.reopening.append(perf_counter() - began)
        yield None if address == self._address else address
        # Mostly killed: a server that stops empties the log, which is to grow.
        if self._chance.random() < 0.8:
            server.kill()
        else:
            server.ask_to_stop()
        server.wait()

    def _wrong(self, kind: str, problems: list[str]) -> None:
        number = sum(self.seen.cuts.values())
        where = f"cut {number} of seed {self._seed} ({kind}, at {self._disk.frozen_at or 'nothing'})"
        self.seen.problems += [f"{where}: {problem[:1000]}" for problem in problems]

    def _folded(self) -> int:
        """How many events have been folded, at least; seen in a copy, since looking at it would fold the log."""
        copy = self._scratch / "copy"
        shutil.copytree(self._data, copy)
        try:
            with sqlite3.connect(copy / JOURNAL) as db:
                folded: int = db.execute(
                    "SELECT coalesce(sum(folded), 0) FROM sessions WHERE ended IS NULL"
                ).fetchone()[0]
            db.close()
        finally:
            shutil.rmtree(copy)
        return folded


def summary(seen: Seen) -> str:
    """The figures, in two lines."""
    survived, cuts = seen.survived, sum(seen.cuts.values())
    kinds = ", ".join(f"{number} {kind}" for kind, number in seen.cuts.most_common())
    signs = {"lost": "LOST", "applied twice": "TWICE", "in part": "IN PART", "unopenable": "UNOPENABLE"}
    signs["not told"] = "NOT TOLD"
    found = ", ".join(f"{what} {sum(sign in problem for problem in seen.problems)}" for what, sign in signs.items())
    unsynced = survived.kept + survived.dropped + survived.torn
    return (
        f"{cuts:,} power cuts, {seen.torn:,} torn ({kinds}); {seen.acknowledged:,} writes acknowledged: {found}\n"
        f"of {unsynced:,} unsynced bytes {survived.kept:,} kept, {survived.dropped:,} dropped, {survived.torn:,} torn; "
        f"names {survived.names_kept:,} kept, {survived.names_dropped:,} dropped; {seen.checkpoints:,} checkpoints, "
        f"cut in {sum(number for at, number in seen.at.items() if at.endswith(' ' + JOURNAL)):,}; "
        f"{seen.folded:,} events folded; {seen.turned:,} bits turned; "
        f"reopening took at most {max(seen.reopening, default=0) * 1000:.0f} ms"
    )
