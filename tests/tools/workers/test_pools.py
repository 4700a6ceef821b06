"""Pools of worker processes: they share calls, and what fails in one goes to the others."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snakepit_bridge import BlockingContext, LocalServer, SessionContext
from snakepit_bridge.exceptions import ToolFailedError, ToolUnavailableError
from snakepit_bridge.server import start
from tests.support.waiting import PATIENCE, wait_until

ROOT = Path(__file__).parents[3]


@contextmanager
def workers(module: str, *arguments: str, count: int = 1) -> Iterator[list[int]]:
    """So many processes of a worker, each serving; their ids."""
    command = [sys.executable, "-m", f"tests.tools.support.{module}", *arguments]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe) for _ in range(count)]
    try:
        for worker in running:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"serving\n"
        yield [worker.pid for worker in running]
    finally:
        for worker in running:
            worker.communicate(timeout=PATIENCE)


def from_threads(call: Callable[[], int], total: int, threads: int) -> Counter[int]:
    """What that many calls answered, and how often, made from several threads."""
    numbers, seen, lock = itertools.count(), Counter[int](), threading.Lock()
    failed: list[BaseException] = []

    def caller() -> None:
        try:
            while next(numbers) < total:
                answer = call()
                with lock:
                    seen[answer] += 1
        except BaseException as error:
            failed.append(error)

    running = [threading.Thread(target=caller) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert failed == []
    return seen


def test_eight_workers_share_two_thousand_calls(address: str, session_id: str, blocking: BlockingContext) -> None:
    with workers("offering", address, session_id, count=8) as pids:
        seen = from_threads(lambda: int(blocking.call_tool("who")), 2_000, 16)
        status = blocking.tool_status("who")
    assert seen.total() == 2_000
    assert seen.keys() == set(pids)
    # The least loaded is chosen: nobody has half of what is fair, nobody twice as much.
    assert all(125 < calls < 500 for calls in seen.values()), seen
    stats = status.stats
    assert (stats.calls, stats.results, stats.in_flight, stats.late, stats.retries) == (2_000, 2_000, 0, 0, 0)
    assert sum(bucket.count for bucket in stats.latency) == 2_000


@contextmanager
def breaking(server_binary: Path, opens_for: float) -> Iterator[LocalServer]:
    """A server whose breakers open after three failures, for so many seconds."""
    breaker = ["--breaker-failures", "3", "--breaker-open", str(opens_for), "--breaker-successes", "2"]
    with start(
        server_binary, ["serve", "--ephemeral", "--listen", "127.0.0.1:0", "--until-stdin-closes", *breaker]
    ) as server:
        yield server


# The server has a breaker of its own, and no tokens.
@pytest.mark.transport("open")
def test_a_flapping_tool_opens_its_breaker_and_closes_it_again(server_binary: Path, tmp_path: Path) -> None:
    down = tmp_path / "down"
    down.touch()
    with (
        breaking(server_binary, opens_for=0.3) as server,
        SessionContext.connect(server.address, session_id="flapping") as ctx,
        workers("flapping_worker", server.address, "flapping", str(down)),
    ):

        def breaker() -> str:
            return ctx.tool_status("reach").workers[0].breaker

        def refused() -> bool:
            try:
                ctx.call_tool("reach")
            except ToolUnavailableError as error:
                return not error.dispatched
            except ToolFailedError:
                # It was half open by then, on a loaded machine, and is open again.
                return False
            return False

        for _ in range(2):
            for _ in range(3):
                with pytest.raises(ToolFailedError) as failed:
                    ctx.call_tool("reach")
                assert isinstance(failed.value, ConnectionError)
                if breaker() == "open":
                    break
            # Open: refused at once, without running it.
            wait_until(refused)
            wait_until(lambda: breaker() != "open")
            assert breaker() == "half_open"
        down.unlink()
        ctx.call_tool("reach")
        assert breaker() == "half_open"
        ctx.call_tool("reach")
        assert breaker() == "closed"
        assert ctx.tool_status("reach").stats.refused == 2


@pytest.mark.transport("open")
def test_while_one_worker_flaps_the_other_takes_its_calls(server_binary: Path, tmp_path: Path) -> None:
    down, up = tmp_path / "down", tmp_path / "up"
    down.touch()
    with (
        breaking(server_binary, opens_for=3600) as server,
        SessionContext.connect(server.address, session_id="half") as ctx,
        workers("flapping_worker", server.address, "half", str(down)),
        workers("flapping_worker", server.address, "half", str(up)) as (healthy,),
    ):
        failures = 0
        while ctx.tool_status("reach").workers[0].breaker != "open":
            try:
                ctx.call_tool("reach")
            except ConnectionError:
                failures += 1
        assert failures == 3
        assert ctx.call_tool("reach") == healthy
