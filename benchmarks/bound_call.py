"""What binding costs: a bound call of an empty module beside the unbound one, a bare gRPC health Check and redis.

    python benchmarks/bound_call.py [--rounds 40] [--out benchmarks/results]

Everything is interleaved in one run, round by round, so that a drift of the machine meets all of it; what is quoted
is the median of the rounds, in microseconds a call, and ratios within the run. Redis is left out where no
redis-server answers. The server is the one that `SNAKEPIT_SERVER_BINARY` names: give a release build.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import dspy
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from measure import Case, interleave, machine, write

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import SessionContext, local_server

SIZES = (1, 10, 100, 1000)


class Empty(dspy.Module):
    """Does nothing, with attributes to bind."""

    def __init__(self, size: int) -> None:
        super().__init__()
        for index in range(size):
            setattr(self, f"a{index}", 0.0)

    def forward(self) -> None:
        """Returns at once."""


def redis_cases() -> list[Case]:
    """GET and MGET of as many keys, if a redis-server is at hand."""
    try:
        import redis

        client = redis.Redis()
        client.ping()
    except Exception as error:  # noqa: BLE001  absent or down: the peers are optional
        print(f"redis left out: {error}", file=sys.stderr)
        return []
    keys = [f"snakepit-bench-{index}" for index in range(max(SIZES))]
    client.mset(dict.fromkeys(keys, "0.5"))
    cases = [Case("redis GET", 50, lambda: client.get(keys[0]))]
    cases += [Case(f"redis MGET {n}", 50, lambda n=n: client.mget(keys[:n])) for n in SIZES[1:]]
    return cases


def bound_cases(address: str, freshness: str, size: int) -> list[Case]:
    """The bound call with nothing changed, and with one variable changed by another client before each call."""
    session = f"bench-{freshness}-{size}"
    context = SessionContext.connect(address, session_id=session, freshness=freshness).blocking
    other = SessionContext.connect(address, session_id=session).blocking
    names = [f"v{index}" for index in range(size)]
    for name in names:
        context.register_variable(name, "float", 0.5)
    module = sb.bind(Empty(size), {f"a{index}": name for index, name in enumerate(names)}, session=context)
    module()
    ticks = iter(range(1, 10**9))

    def change() -> None:
        tick = next(ticks)
        other.set_variable(names[tick % size], float(tick))
        while freshness == "streamed" and context.revision < other.revision:
            time.sleep(0)

    calls = 200 if freshness == "streamed" else 50
    return [
        Case(f"bound {freshness} {size}", calls, module),
        Case(f"bound {freshness} {size}, one changes", 20, module, change),
    ]


def main() -> None:
    """Runs the rounds, prints the table and writes the raw results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    with local_server() as server:
        stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(server.address))
        check = health_pb2.HealthCheckRequest()
        cases = [Case("health Check", 50, lambda: stub.Check(check))]
        cases += [Case(f"unbound {size}", 200, Empty(size)) for size in SIZES]
        for freshness in ("streamed", "latest"):
            for size in SIZES:
                cases += bound_cases(server.address, freshness, size)
        cases += redis_cases()
        interleave(cases, options.rounds)
    report(cases, options.out)


def report(cases: list[Case], out: Path) -> None:
    """Prints medians and ratios; writes them with every round's figure."""
    median = {case.name: case.median for case in cases}
    lines = [machine(), f"{len(cases[0].rounds)} rounds, interleaved; microseconds a call", ""]
    lines += [f"{'case':36}{'median':>10}{'min':>10}{'max':>10}{'over unbound':>14}{'of Check':>10}"]
    for case in cases:
        size = case.name.split(",")[0].split()[-1]
        over = f"{case.median - median[f'unbound {size}']:.1f}" if case.name.startswith("bound") else ""
        of_check = f"{case.median / median['health Check']:.2f}"
        row = f"{case.median:>10.1f}{min(case.rounds):>10.1f}{max(case.rounds):>10.1f}{over:>14}{of_check:>10}"
        lines.append(f"{case.name:36}{row}")
    write("bound-call", out, lines, cases)


if __name__ == "__main__":
    main()
