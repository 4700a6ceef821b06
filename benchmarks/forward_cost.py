"""What binding costs a forward with an LM that answers at once, and what changing instructions cost in memory.

    python benchmarks/forward_cost.py [--rounds 60] [--out benchmarks/results]

The forward is that of `dspy.ChainOfThought` with `dspy.utils.DummyLM`, bound in freshness "streamed" to four variables,
beside the same unbound, interleaved in one run. Memory is that of a process of its own: resident pages before and after
1,000 forwards with other instructions and another field description each time, beside 1,000 of the unbound program,
both after 2,000 more.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import time
from pathlib import Path
from typing import Any

import dspy
from dspy.utils.dummies import DummyLM
from measure import Case, interleave, machine, write

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import SessionContext, local_server

FORWARDS = 1000
BINDINGS = {"temperature": "t", "max_tokens": "n", "instructions": "p", "fields['answer'].desc": "d"}


def program() -> Any:
    """What is called."""
    return dspy.ChainOfThought("question -> answer")


def endless() -> Any:
    """An LM that always answers the same, and keeps no history."""
    answer = {"reasoning": "r", "answer": "a"}
    return DummyLM([answer] * 10**6)


def registered(address: str, session: str) -> Any:
    """A streamed session with the variables."""
    context = SessionContext.connect(address, session_id=session, freshness="streamed").blocking
    context.register_variable("t", "float", 0.5)
    context.register_variable("n", "integer", 100)
    context.register_variable("p", "string", "Answer briefly.")
    context.register_variable("d", "string", "a word")
    return context


def timed(address: str) -> list[Case]:
    """The forwards to time."""
    context = registered(address, "time")
    unbound, bound, nested = program(), sb.bind(program(), BINDINGS, session=context), program()
    sb.bind(nested, {"temperature": "t"}, session=context)
    bound(question="why?")
    ticks = iter(range(10**9))

    def change() -> None:
        context.set_variable("p", f"Answer briefly, {next(ticks)}.")

    return [
        Case("unbound", 100, lambda: unbound(question="why?")),
        Case("bound to one", 100, lambda: nested(question="why?")),
        Case("bound to four", 100, lambda: bound(question="why?")),
        Case("bound to four, new instructions each time", 20, lambda: bound(question="why?"), change),
    ]


def resident() -> float:
    """MiB of memory that this process has now."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def signatures() -> int:
    """How many signature classes are alive."""
    gc.collect()
    return sum(isinstance(one, type) and issubclass(one, dspy.Signature) for one in gc.get_objects())


def grown(address: str, found: Any, *, bound: bool) -> None:
    """In a process of its own: what 1,000 forwards add. Puts (MiB, signature classes) into `found`."""
    # DSPy's own trace of the last 10,000 answers would grow in both.
    with dspy.context(lm=endless(), disable_history=True, max_trace_size=0):
        called = program()
        if bound:
            context = registered(address, "memory")
            sb.bind(called, BINDINGS, session=context)

        def forward(number: int) -> None:
            if bound:
                context.set_variables({"p": f"Answer briefly, {number}.", "d": f"word {number}"})
            called(question="why?")

        for number in range(2 * FORWARDS):
            forward(number)
        before = resident(), signatures()
        for number in range(2 * FORWARDS, 3 * FORWARDS):
            forward(number)
        after = resident(), signatures()
    found.put((after[0] - before[0], after[1] - before[1]))


def memory(address: str, *, bound: bool) -> tuple[float, int]:
    """What `grown` finds."""
    spawn = multiprocessing.get_context("spawn")
    found = spawn.Queue()
    child = spawn.Process(target=grown, args=(address, found), kwargs={"bound": bound})
    child.start()
    result: tuple[float, int] = found.get(timeout=600)
    child.join()
    return result


def main() -> None:
    """Runs both parts, prints and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    with local_server() as server, dspy.context(lm=endless(), disable_history=True):
        plain, live = memory(server.address, bound=False), memory(server.address, bound=True)
        cases = timed(server.address)
        started = time.monotonic()
        interleave(cases, options.rounds)
        spent = time.monotonic() - started
    unbound = cases[0].median
    lines = [machine(), f"{options.rounds} rounds in {spent:.0f} s, interleaved; microseconds a forward", ""]
    lines += [f"{'case':44}{'median':>10}{'min':>10}{'max':>10}{'over unbound':>14}"]
    for case in cases:
        row = f"{case.median:>10.1f}{min(case.rounds):>10.1f}{max(case.rounds):>10.1f}{case.median - unbound:>14.1f}"
        lines.append(f"{case.name:44}{row}")
    lines += ["", f"{FORWARDS} forwards more add", f"{'':44}{'MiB':>10}{'signature classes':>20}"]
    for name, (mib, classes) in {"unbound": plain, "bound, new instructions each time": live}.items():
        lines.append(f"{name:44}{mib:>10.1f}{classes:>20}")
    write("forward-cost", options.out, lines, cases, memory={"unbound": plain, "bound": live})


if __name__ == "__main__":
    main()
