"""Timing cases side by side, round by round, and writing down what came of it."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dspy
import grpc


class Case:
    """One thing to time: `call` is timed, `before` each call is not."""

    def __init__(self, name: str, calls: int, call: Callable[[], Any], before: Callable[[], Any] | None = None) -> None:
        self.name, self.calls, self.call, self.before = name, calls, call, before
        self.rounds: list[float] = []

    def run(self) -> None:
        """Times one round: the mean of a call, in microseconds."""
        call, clock = self.call, time.perf_counter_ns
        if self.before is None:
            start = clock()
            for _ in range(self.calls):
                call()
            spent = clock() - start
        else:
            spent = 0
            for _ in range(self.calls):
                self.before()
                start = clock()
                call()
                spent += clock() - start
        self.rounds.append(spent / self.calls / 1000)

    @property
    def median(self) -> float:
        """Microseconds a call."""
        return statistics.median(self.rounds)


def machine() -> str:
    """The line that says where the figures come from."""
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    return (
        f"{os.cpu_count()} cores {model}; {platform.system()} {platform.release()}; CPython "
        f"{platform.python_version()}; grpcio {grpc.__version__}; dspy {dspy.__version__}"
    )


def interleave(cases: Sequence[Case], rounds: int) -> None:
    """Runs all cases in turn, round by round, so that a drift of the machine meets all of them."""
    for case in cases:
        case.run()
        case.rounds.clear()
    for done in range(rounds):
        for case in cases:
            case.run()
        print(f"\rround {done + 1} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def write(name: str, out: Path, lines: Sequence[str], cases: Sequence[Case], **more: Any) -> None:
    """Prints a table; writes it, and every round's figure."""
    text = "\n".join(lines)
    print(text)
    out.mkdir(parents=True, exist_ok=True)
    stem = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}-{name}"
    # Never over what another run of the day has left.
    taken = len(list(out.glob(f"{stem}*.txt")))
    stem += f"-{taken + 1}" if taken else ""
    (out / f"{stem}.txt").write_text(text + "\n")
    raw = {"machine": machine(), "rounds": {case.name: case.rounds for case in cases}, **more}
    (out / f"{stem}.json").write_text(json.dumps(raw) + "\n")
