"""The harnesses that have to notice planted faults, each in a size that CI has time for and over at the first find."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from snakepit_bridge import LocalServer, local_server
from tests.faults.disk.mounted import Mounted, needs_fuse
from tests.faults.disk.power import Power
from tests.faults.processes.crashing import problems, write_while_crashing

# Says what is wrong with this server, after so many rounds at the most. It may use the directory, which is empty.
Harness = Callable[[Path, Path, int], list[str]]


FAULT = "SNAKEPIT_INJECT_FAULT"

_REPOSITORY = Path(__file__).parents[3]
# As much as CI does of crashes and power cuts, and less of histories. After each round of crashes is a look at it.
ROUNDS = 5
_CRASHES = 4
_CUTS = 2
_HISTORIES = 16
# What is known to be wrong needs no long wait for a watch that will never end.
_PATIENCE = 30.0


def kills(binary: Path, scratch: Path, rounds: int) -> list[str]:
    """A kill -9 now and then, under writers and watchers."""
    started: list[LocalServer] = []

    def start(listen: str = "127.0.0.1:0", data_dir: Path | None = None) -> LocalServer:
        started.append(local_server(binary=binary, listen=listen, data_dir=data_dir))
        return started[-1]

    try:
        for number in range(rounds):
            seen = write_while_crashing(start, scratch / f"round{number}", crashes=_CRASHES, patience=_PATIENCE)
            if found := problems(seen):
                return found
    finally:
        for server in started:
            server.close()
    return []


def power_cuts(binary: Path, scratch: Path, rounds: int) -> list[str]:
    """Power cuts of the server's disk; skips the test where none can be mounted."""
    needs_fuse()
    with Mounted(scratch / "disk") as disk:
        return Power(disk, binary, scratch, random.SystemRandom().randrange(1_000_000)).run(rounds * _CUTS).problems


def histories(binary: Path, scratch: Path, rounds: int) -> list[str]:
    """Histories of clients, checked for linearizability, and the promises of watches."""
    environment = {
        **os.environ,
        "HISTORIES": str(rounds * _HISTORIES),
        "RUST_BACKTRACE": "0",
        "SNAKEPIT_SERVER_BINARY": str(binary),
        "TMPDIR": str(scratch),
    }
    run = subprocess.run(
        [_test_program("histories"), "histories_with_faults_on", "--nocapture"],
        check=False,
        capture_output=True,
        env=environment,
    )
    said = (run.stdout + run.stderr).decode(errors="replace")
    if run.returncode == 0:
        return []
    found = re.findall(r'^(?:a history of .* breaks|  also) "?([\w ]+?)"?: (.*)', said, re.MULTILINE)
    return [f"{rule}: {text}" for rule, text in found] or [f"the harness itself failed: {said[-4000:]}"]


def secrets(binary: Path, scratch: Path, rounds: int) -> list[str]:
    """What a token without `read_secret` is told by servers that differ in their secrets. They run in the harness."""
    run = subprocess.run(
        [_test_program("server"), "access::indistinguishable", "access::secret_sizes"],
        check=False,
        capture_output=True,
        env={**os.environ, "RUST_BACKTRACE": "0", "TMPDIR": str(scratch)},
    )
    said = (run.stdout + run.stderr).decode(errors="replace")
    if run.returncode == 0:
        return []
    failed = re.findall(r"^test access::(\S+) \.\.\. FAILED", said, re.MULTILINE)
    return failed or [f"the harness itself failed: {said[-4000:]}"]


@cache
def _test_program(name: str) -> Path:
    """Where cargo has put it, or puts it now; with the features that `cargo test` builds everything with."""
    command = ["cargo", "test", "--workspace", "--no-run", "--test", name, "--message-format=json"]
    built = subprocess.run(command, check=False, capture_output=True, cwd=_REPOSITORY)
    if built.returncode:
        pytest.fail(f"the test {name} cannot be built: {built.stderr.decode()}", pytrace=False)
    for line in built.stdout.splitlines():
        said = json.loads(line)
        if said.get("executable") and said["target"]["name"] == name:
            return Path(said["executable"])
    raise AssertionError(f"cargo has built no test {name}")
