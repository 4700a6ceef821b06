"""The command line of a worker."""

from __future__ import annotations

import argparse
import asyncio
import functools
import secrets

from snakepit_bridge._client.settings import address_or_default, session_id_or_default
from snakepit_bridge.command_line.supervisor import Supervisor
from snakepit_bridge.command_line.work import Work, worker_id
from snakepit_bridge.exceptions import InvalidRequestError

_DESCRIPTION = """
Serves a DSPy program, a function or a dspy.Tool as a tool of a session, in processes that are started again when they
end. TARGET is package.module:attribute, looked for from the current directory: a program, a dspy.Module class, a
dspy.Tool, a function with arguments (it is the tool), or one that makes what is to be served: without arguments, or
with `ctx` alone, which is the SessionContext, for sb.bind(program, ..., session=ctx).
"""
_EPILOG = """
Each process prints `serving NAME at ADDRESS, session ID (pid N)` when it serves. SIGTERM and Ctrl-C let running calls
finish; a second one does not. Exit codes: 0 drained, 1 what is to be served cannot be, 2 wrong arguments.
"""


def add_worker(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `worker` to the commands."""
    parser = commands.add_parser(
        "worker", help="serve a program or a function as a tool", description=_DESCRIPTION, epilog=_EPILOG
    )
    add = parser.add_argument
    add("target", metavar="TARGET", type=_reference, help="package.module:attribute")
    add("--name", default="", help="the tool's name (default: that of the function, or of the attribute)")
    add("--address", help="HOST:PORT of the server (default: $SNAKEPIT_ADDRESS, else 127.0.0.1:50051)")
    add("--session", help="the session (default: $SNAKEPIT_SESSION, else a new one)")
    add("--everywhere", action="store_true", help="every session has the tool")
    add("--concurrency", type=_count, default=16, metavar="N", help="calls at once in each process (default: 16)")
    add("--processes", type=_count, default=1, metavar="M", help="how many processes (default: 1)")
    add("--stream", action="append", default=[], metavar="FIELD", help="stream this output field; may be repeated")
    add("--signature", default="", help="the fields of a program that does not tell them: 'question -> answer'")
    add("--description", default="", help="what the tool is for (default: what the program or the docstring says)")
    add("--idempotent", action="store_true", help="calling it twice does no harm, so that the server may try again")
    add("--timeout", type=_seconds, metavar="S", help="seconds that a call may take (default: 300 for a program)")
    add("--drain-timeout", type=_seconds, default=30.0, metavar="S", help="seconds for running calls (default: 30)")
    add("--configure", type=_reference, metavar="TARGET", help="a function to call first: dspy.configure")
    add("--until-stdin-closes", action="store_true", help="drain when stdin closes, so as not to outlive the starter")
    parser.set_defaults(run=functools.partial(_run, parser))


def _run(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    try:
        address = address_or_default(given.address)
    except InvalidRequestError as error:
        parser.error(str(error))
    supervisor_id = secrets.token_hex(4)
    # All processes serve one session, also where nobody has named it.
    session_id = session_id_or_default(given.session) or f"worker-{supervisor_id}"
    work = [
        Work(
            target=given.target,
            configure=given.configure or "",
            name=given.name,
            address=address,
            session_id=session_id,
            everywhere=given.everywhere,
            concurrency=given.concurrency,
            stream=tuple(given.stream),
            signature=given.signature,
            description=given.description,
            idempotent=given.idempotent,
            timeout=given.timeout,
            drain_timeout=given.drain_timeout,
            worker_id=worker_id(given.name or given.target, supervisor_id, slot),
        )
        for slot in range(given.processes)
    ]
    supervisor = Supervisor(work, given.drain_timeout, until_stdin_closes=given.until_stdin_closes)
    return asyncio.run(supervisor.run())


def _reference(text: str) -> str:
    module, _, attribute = text.partition(":")
    names = [*module.split("."), *attribute.split(".")]
    if not all(name.isidentifier() for name in names):
        raise argparse.ArgumentTypeError(f"{text!r} is not package.module:attribute")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 1 or more")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds
