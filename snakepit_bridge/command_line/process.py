"""One process of a worker: `python -m snakepit_bridge.command_line.process WORK`, started by its supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from snakepit_bridge._tools.models import Tool
from snakepit_bridge.command_line import target
from snakepit_bridge.command_line.work import DRAIN, GRACE_SECONDS, READY, UNUSABLE, Work
from snakepit_bridge.exceptions import BindingError, BridgeError, InvalidRequestError
from snakepit_bridge.session_context import SessionContext, session_of

_AGAIN = 75
"""How this ends when another try might go well: EX_TEMPFAIL."""


class _Line:
    """What connects this process with its supervisor: one end of a socket."""

    def __init__(self, line: socket.socket, drain_timeout: float) -> None:
        self._line = line
        self._drain_timeout = drain_timeout
        # Guards what follows.
        self._lock = threading.Lock()
        self._finish: Callable[[], None] | None = None
        self._told = False
        threading.Thread(target=self._listen, name="snakepit-supervisor", daemon=True).start()

    def ready(self, finish: Callable[[], None]) -> None:
        """Says that this process serves; `finish` is called from a thread once it is to end."""
        with self._lock:
            self._finish = finish
            told = self._told
        if told:
            finish()
        with suppress(OSError):
            # A supervisor that is gone is heard of below.
            self._line.sendall(READY)

    def _listen(self) -> None:
        try:
            gone = not self._line.recv(len(DRAIN))
        except OSError:
            gone = True
        with self._lock:
            self._told = True
            finish = self._finish
        if gone and finish is None:
            os._exit(1)
        if gone:
            # Nobody else is there to end what does not end by itself.
            late = threading.Timer(self._drain_timeout + GRACE_SECONDS, os._exit, (1,))
            late.daemon = True
            late.start()
        if finish is not None:
            finish()


def main() -> int:
    """Serves until told to finish; gives the exit code."""
    work = Work.from_text(sys.argv[1])
    line = _Line(_standard_input(), work.drain_timeout)
    try:
        context = SessionContext.connect(work.address, session_id=work.session_id, tool_concurrency=work.concurrency)
        session_of(context).serving.worker_id = work.worker_id
        # In the main thread and outside of any task, as DSPy wants it of who configures it.
        if work.configure:
            target.call(work.configure)
        thing = target.made(work.target, target.find(work.target), context)
        asyncio.run(_serve(work, context, thing, line))
    except (target.TargetError, BindingError, InvalidRequestError) as error:
        _complain(error)
        return UNUSABLE
    except BridgeError as error:
        _complain(error)
        return _AGAIN
    return 0


def _standard_input() -> socket.socket:
    """The socket given as standard input, which is nothing for the program to read, nor for what it starts."""
    line = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return line


async def _serve(work: Work, context: SessionContext, thing: Any, line: _Line) -> None:
    loop = asyncio.get_running_loop()
    finishing = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, finishing.set)
    async with context:
        tool = await _offered(work, context, thing)

        def finish() -> None:
            # A loop that is closed has finished already.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(finishing.set)

        line.ready(finish)
        where = "every session" if work.everywhere else f"session {context.session_id}"
        sys.stdout.write(f"serving {tool.name} at {context.address}, {where} (pid {os.getpid()})\n")
        sys.stdout.flush()
        serving = asyncio.create_task(context.serve(drain=work.drain_timeout))
        # It ends by itself only if its session does.
        serving.add_done_callback(lambda _: finishing.set())
        await finishing.wait()
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        # Cancelled before it began, it has not.
        await context.drain(timeout=work.drain_timeout)


async def _offered(work: Work, context: SessionContext, thing: Any) -> Tool:
    options: dict[str, Any] = {"everywhere": work.everywhere, "idempotent": work.idempotent}
    if work.timeout is not None:
        options["timeout"] = work.timeout
    if work.description:
        options["description"] = work.description
    attribute = work.target.rpartition(".")[2].rpartition(":")[2]
    if target.is_program(thing):
        from snakepit_bridge.dspy_integration.programs.serving import serve_program_async

        name = work.name or attribute
        return await serve_program_async(
            context, name, thing, stream=work.stream or None, signature=work.signature or None, **options
        )
    if work.stream or work.signature:
        raise target.TargetError(f"{work.target} is a tool, and --stream and --signature are for programs")
    if target.is_tool(thing):
        from snakepit_bridge.dspy_integration.programs.serving import offer_of_tool

        offer = offer_of_tool(thing)
        return await context.offer(offer.function, **{**offer.options, **options, "name": work.name or thing.name})
    return await context.offer(thing, name=work.name or getattr(thing, "__name__", attribute), **options)


def _complain(error: Exception) -> None:
    sys.stderr.write(f"snakepit_bridge worker: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
