"""Starts the shipped server as a child of this process, for one's own use and for tests."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from snakepit_bridge.exceptions import ServerStartError

_READY = "listening on "
_READY_SECONDS = 10.0
# What the environment says of a server that is shared.
_OTHERS = frozenset(
    f"SNAKEPIT_{name}"
    for name in ("EPHEMERAL", "AUTH_TOKEN_FILE", "AUDIT_LOG", "METRICS_LISTEN", "TLS_CERT", "TLS_KEY", "TLS_CLIENT_CA")
)
_CLOSE_SECONDS = 1.0


class LocalServer:
    """A running server that ends with this process, however that ends.

    Attributes:
        address: where it listens, HOST:PORT.
        pid: its process id.
    """

    def __init__(self, address: str, process: subprocess.Popen[bytes]) -> None:
        self.address = address
        self.pid = process.pid
        self._process = process

    def close(self) -> None:
        """Has it stop, gracefully for up to a second; does nothing the second time."""
        _stop(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def local_server(
    *, listen: str = "127.0.0.1:0", binary: str | Path | None = None, data_dir: str | os.PathLike[str] | None = None
) -> LocalServer:
    """Starts a server of its own, and returns once it accepts connections.

    Args:
        listen: HOST:PORT; port 0 picks a free one.
        binary: the server; else $SNAKEPIT_SERVER_BINARY, this Python's scripts directory, PATH.
        data_dir: the directory in which it keeps its sessions; else they end with it.

    Raises:
        ServerStartError: there is no such binary, or it did not start; for example because another server has the
            directory.
    """
    keep = ["--ephemeral"] if data_dir is None else ["--data-dir", os.fspath(data_dir)]
    return start(find_binary(binary), ["serve", *keep, "--listen", listen, "--until-stdin-closes"])


def start(binary: Path, arguments: Sequence[str]) -> LocalServer:
    """Starts a program that says `listening on HOST:PORT` and ends when its stdin closes."""
    import tempfile

    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                [binary, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # What it keeps is said by the arguments, and it is this process's own.
                env={name: value for name, value in os.environ.items() if name not in _OTHERS},
                # Ctrl-C is for us: the server stops when we do, not before.
                start_new_session=True,
            )
        except OSError as error:
            raise ServerStartError(f"cannot run {binary}: {error}", {"binary": binary}) from error
        line = _first_line(process)
        if line.startswith(_READY):
            return LocalServer(line.removeprefix(_READY).strip(), process)
        _stop(process)
        log.seek(0)
        said = log.read().decode(errors="replace").strip()
    raise ServerStartError(
        f"{binary} did not listen within {_READY_SECONDS:g} s (exit code {process.returncode}): {said or line}",
        {"binary": binary, "exit_code": process.returncode},
    )


def find_binary(binary: str | Path | None = None) -> Path:
    """The server's program: the one given, else $SNAKEPIT_SERVER_BINARY, this Python's scripts directory, PATH."""
    import shutil
    import sysconfig

    named = binary or os.environ.get("SNAKEPIT_SERVER_BINARY")
    if named:
        if not Path(named).is_file():
            raise ServerStartError(
                f"there is no server at {named}; build or install it, or name another", {"binary": named}
            )
        return Path(named)
    for directory in (sysconfig.get_path("scripts"), Path(sys.executable).parent):
        found = shutil.which("snakepit", path=str(directory))
        if found:
            return Path(found)
    found = shutil.which("snakepit")
    if found:
        return Path(found)
    raise ServerStartError(
        "no `snakepit` next to this Python nor on PATH; pip install snakepit-bridge brings it, "
        "or set SNAKEPIT_SERVER_BINARY",
        {"binary": "snakepit"},
    )


def _first_line(process: subprocess.Popen[bytes]) -> str:
    if process.stdout is None:
        raise AssertionError("its stdout is a pipe")
    # A program that says nothing must not hang us: killing it ends the read.
    deadline = threading.Timer(_READY_SECONDS, process.kill)
    deadline.daemon = True
    deadline.start()
    try:
        return process.stdout.readline().decode(errors="replace")
    finally:
        deadline.cancel()


def _stop(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(_CLOSE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
