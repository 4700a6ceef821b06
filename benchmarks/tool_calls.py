"""What a tool call costs: Python → server → Python worker, and a native tool, beside a bare grpcio unary and MCP.

    python benchmarks/tool_calls.py [--rounds 30] [--out benchmarks/results]

One caller, one call at a time, each answered by another process; interleaved in one run, round by round. What is
quoted is the median of the rounds, in microseconds a call, and ratios within the run. MCP is the SDK's own client and
server over streamable HTTP on loopback, left out where `mcp` is not installed (`pip install mcp`). The server is the
example that hosts a native tool: `SNAKEPIT_NATIVE_SERVER` names it, give a release build. Then streams: 10,000 chunks,
and a reader that is slower than its worker.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from measure import Case, interleave, machine, write

from snakepit_bridge import BlockingContext, SessionContext
from snakepit_bridge.v1 import tool_pb2

HERE = Path(__file__).parent
SIZES = {"small": 5, "100 kB": 100_000, "1 MB": 1_000_000}
MESSAGE_BYTES = 32 * 1024 * 1024


@contextmanager
def process(*command: str | Path) -> Iterator[tuple[str, int]]:
    """A process that says where it listens; the address and its id. It ends with its stdin."""
    running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert running.stdin is not None
    assert running.stdout is not None
    try:
        for line in running.stdout:
            if line.startswith("listening on "):
                yield line.removeprefix("listening on ").strip(), running.pid
                return
        raise SystemExit(f"{command} ended before it listened")
    finally:
        running.stdin.close()
        running.wait(10)


@contextmanager
def peer(*arguments: str) -> Iterator[tuple[str, int]]:
    """One of `tool_peers.py`."""
    with process(sys.executable, HERE / "tool_peers.py", *arguments) as started:
        yield started


class AsyncCase(Case):
    """A case of an async client: its loop runs for a whole round, so that no call pays for entering it."""

    def __init__(self, name: str, calls: int, call: Any, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name, calls, call)
        self.loop = loop

    def run(self) -> None:
        """Times one round: the mean of a call, in microseconds."""

        async def many() -> float:
            start = time.perf_counter_ns()
            for _ in range(self.calls):
                await self.call()
            return (time.perf_counter_ns() - start) / self.calls / 1000

        self.rounds.append(self.loop.run_until_complete(many()))


def bare_cases(address: str) -> list[Case]:
    """A unary rpc of the same messages, Python to Python, nothing between."""
    options = [("grpc.max_receive_message_length", MESSAGE_BYTES), ("grpc.max_send_message_length", MESSAGE_BYTES)]
    method = grpc.insecure_channel(address, options).unary_unary(
        "/bench.Echo/Call", tool_pb2.CallToolRequest.SerializeToString, tool_pb2.CallToolResponse.FromString
    )

    def call(text: str) -> str:
        request = tool_pb2.CallToolRequest(session_id="bench", tool="echo")
        request.arguments.entries.add(key="text").value.string_value = text
        return method(request, timeout=10).result.string_value

    return [case("grpcio unary", size, call) for size in SIZES]


def case(name: str, size: str, call: Any) -> Case:
    """Calls with a text of that size, whose answer has to be the text."""
    text = "x" * SIZES[size]
    assert call(text) == text
    return Case(f"{name}, {size}", 100 if size == "small" else 10, lambda: call(text))


def mcp_cases(address: str, loop: asyncio.AbstractEventLoop) -> tuple[list[Case], Callable[[], None]]:
    """The same by MCP; also how to close it."""
    from mcp import Client

    connected, over = loop.create_future(), asyncio.Event()

    async def hold() -> None:
        # Entered and left in one task, as it has to be.
        async with Client(f"http://{address}/mcp") as client:
            connected.set_result(client)
            await over.wait()

    holding = loop.create_task(hold())
    client = loop.run_until_complete(connected)

    def close() -> None:
        over.set()
        loop.run_until_complete(holding)

    async def call(text: str) -> str:
        return (await client.call_tool("echo", {"text": text})).content[0].text

    cases = []
    for size, length in SIZES.items():
        text = "x" * length
        assert loop.run_until_complete(call(text)) == text
        many = 20 if size == "small" else 5
        cases.append(AsyncCase(f"MCP streamable HTTP, {size}", many, lambda text=text: call(text), loop))
    return cases, close


def resident(pid: int) -> float:
    """The memory of a process, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def streams(ctx: BlockingContext, server: int, worker: int) -> list[str]:
    """10,000 chunks; and chunks of 64 KiB to a reader that pauses after each, with the memory they take meanwhile."""
    start = time.perf_counter()
    chunks = list(ctx.stream_tool("count", to=10_000))
    took = time.perf_counter() - start
    assert chunks == list(range(10_000)), "chunks were lost or mixed up"
    lines = [f"10,000 chunks, in order, none lost: {took:.2f} s, {took * 100:.0f} µs a chunk"]
    before, most = (resident(server), resident(worker)), [0.0, 0.0]
    many, size = 2_000, 64 * 1024
    for chunk in ctx.options(timeout=300).stream_tool("blobs", many=many, size=size):
        assert len(chunk) == size
        time.sleep(0.002)
        most = [max(most[0], resident(server)), max(most[1], resident(worker))]
    lines.append(
        f"{many:,} chunks of 64 KiB ({many * size / 2**20:.0f} MiB) to a reader that pauses 2 ms after each: "
        f"server {before[0]:.1f} → at most {most[0]:.1f} MiB, worker {before[1]:.1f} → at most {most[1]:.1f} MiB"
    )
    return lines


def main() -> None:
    """Runs the rounds, prints the table and writes the raw results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    loop = asyncio.new_event_loop()
    with (
        process(os.environ["SNAKEPIT_NATIVE_SERVER"]) as (address, server),
        peer("grpc") as (bare, _),
        SessionContext.connect(address, session_id="bench") as ctx,
        peer("worker", address, "bench") as (_, worker),
    ):
        cases = bare_cases(bare)
        cases += [case("Python worker", size, lambda text: ctx.call_tool("echo", text=text)) for size in SIZES]
        cases += [case("native tool", size, lambda text: ctx.call_tool("native_echo", text=text)) for size in SIZES]
        try:
            import mcp  # noqa: F401
        except ImportError:
            print("MCP left out: pip install mcp", file=sys.stderr)
            interleave(cases, options.rounds)
        else:
            with peer("mcp") as (web, _):
                more, close = mcp_cases(web, loop)
                cases += more
                interleave(cases, options.rounds)
                close()
        report(cases, options.out, streams(ctx, server, worker))


def report(cases: list[Case], out: Path, streamed: list[str]) -> None:
    """Prints medians and ratios; writes them with every round's figure."""
    median = {case.name: case.median for case in cases}
    lines = [machine(), f"{len(cases[0].rounds)} rounds, interleaved; microseconds a call", ""]
    lines += [f"{'case':36}{'median':>10}{'min':>10}{'max':>10}{'of unary':>10}{'MCP of it':>11}"]
    for case in cases:
        _, _, size = case.name.partition(", ")
        of_unary = f"{case.median / median[f'grpcio unary, {size}']:.2f}"
        by_mcp = median.get(f"MCP streamable HTTP, {size}")
        mcp_of_it = f"{by_mcp / case.median:.1f}" if by_mcp else ""
        row = f"{case.median:>10.1f}{min(case.rounds):>10.1f}{max(case.rounds):>10.1f}{of_unary:>10}{mcp_of_it:>11}"
        lines.append(f"{case.name:36}{row}")
    lines += ["", *streamed]
    write("tool-calls", out, lines, cases)


if __name__ == "__main__":
    main()
