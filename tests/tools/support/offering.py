"""A process that offers tools, to be killed, stopped and shared.

`python -m tests.tools.support.offering ADDRESS SESSION [WORKER_ID]` says `serving` once it does, and goes on until its
stdin closes, or until SIGINT, on which it drains and says `drained`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snakepit_bridge import SessionContext, current_call
from snakepit_bridge.session_context import session_of
from tests.support.waiting import wait_until


def who() -> int:
    """Says which process this is."""
    return os.getpid()


def wait(seconds: float) -> int:
    """Takes its time."""
    time.sleep(seconds)
    return os.getpid()


def steady(seconds: float) -> list[int]:
    """Takes its time, and may do so again."""
    call = current_call()
    assert call is not None
    time.sleep(seconds if call.attempt == 1 else 0)
    return [os.getpid(), call.attempt]


def hold(until: str) -> int:
    """Goes on until there is such a file."""
    wait_until(Path(until).exists)
    return os.getpid()


def count(n: int, until: str) -> Iterator[int]:
    """Counts: the first number at once, the others as soon as there is such a file."""
    for index in range(n):
        yield index
        wait_until(Path(until).exists)


def echo(**values: Any) -> dict[str, Any]:
    """Gives back what it gets."""
    return values


def main() -> None:
    address, session_id, *worker_id = sys.argv[1:]
    ctx = SessionContext.connect(address, session_id=session_id, create=False, tool_concurrency=4).blocking
    if worker_id:
        session_of(ctx).serving.worker_id = worker_id[0]
    for function in (who, wait, hold, count, echo):
        ctx.offer(function)
    ctx.offer(steady, idempotent=True)
    print("serving", flush=True)

    def until_told() -> None:
        sys.stdin.read()
        ctx.close()

    threading.Thread(target=until_told, daemon=True).start()
    try:
        ctx.serve()
    except KeyboardInterrupt:
        print("drained", flush=True)


if __name__ == "__main__":
    main()
