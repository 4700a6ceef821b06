"""A disk that fails under a real server: full, broken, a sync that fails; strace has the kernel's answers changed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from snakepit_bridge import LocalServer, SessionContext
from snakepit_bridge.blocking import BlockingContext
from snakepit_bridge.exceptions import OutcomeUnknownError, ServerReadOnlyError
from snakepit_bridge.server import start
from snakepit_bridge.session_context import session_of
from snakepit_bridge.v1 import server_pb2
from tests.support.waiting import PATIENCE

# It makes connections of its own, in the open.
pytestmark = pytest.mark.transport("open")

Start = Callable[..., LocalServer]

LOG = "journal.db-wal"
JOURNAL = "journal.db"
SERVING = b"\x08\x01"
NOT_SERVING = b"\x08\x02"


@pytest.fixture(scope="session")
def strace() -> Path:
    """A strace that may trace; without one the test is skipped."""
    found = shutil.which("strace")
    if found is None:
        pytest.skip("there is no strace to make the disk fail")
    if subprocess.run([found, "-qq", "-o", "/dev/null", "true"], check=False, capture_output=True).returncode:
        pytest.skip("strace may not trace here")
    return Path(found)


@pytest.fixture
def failing(strace: Path, server_binary: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts servers for which some system calls on one of the journal's files fail."""
    started: list[LocalServer] = []

    def run(file: str, *injected: str) -> LocalServer:
        inject = [word for fault in injected for word in ("-e", f"inject={fault}")]
        traced = ["-f", "-qq", "-o", str(tmp_path / "trace"), "-P", str(tmp_path / "data" / file), *inject]
        serve = [str(server_binary), "serve", "--listen", "127.0.0.1:0", "--until-stdin-closes"]
        started.append(start(strace, [*traced, *serve, "--data-dir", str(tmp_path / "data")]))
        return started[-1]

    yield run
    for server in started:
        server.close()


def health(ctx: BlockingContext) -> tuple[bytes, str]:
    """What the health service says of the journal, and why nothing can be written."""
    with grpc.insecure_channel(ctx.address) as channel:
        check: Callable[..., bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        status = check(b"\n\x07journal", timeout=PATIENCE)
        assert check(b"", timeout=PATIENCE) == SERVING, "reads go on"
    info = session_of(ctx).connection.server.GetServerInfo(server_pb2.GetServerInfoRequest(), timeout=PATIENCE)
    return status, info.read_only_cause


def count(ctx: BlockingContext, most: int) -> int:
    """Counts `n` up until that fails; how often it was acknowledged."""
    for done in range(most):
        try:
            assert ctx.increment("n") == done + 1
        except (OutcomeUnknownError, ServerReadOnlyError):
            return done
    pytest.fail("the fault never came")


def fill(ctx: BlockingContext, size: int) -> int:
    """Counts `n` up, each time with a text of this size, until that fails; how often it was acknowledged."""
    ctx.register_variable("text", "string", "")
    for done in range(200):
        try:
            ctx.set_variable("text", str(done % 10) * size)
            assert ctx.increment("n") == done + 1
        except ServerReadOnlyError:
            return done
    pytest.fail("the fault never came")


def after_a_restart(start_server: Start, server: LocalServer, data: Path) -> int:
    """The value of `n` on a server that opens the directory, and whose disk works."""
    server.close()
    with SessionContext.connect(start_server(data_dir=data).address, session_id="s") as ctx:
        value: int = ctx.get_variable("n")
        assert ctx.increment("n") == value + 1
        assert health(ctx) == (SERVING, "")
    return value


def test_a_failed_sync_of_a_write_leaves_its_outcome_open_and_ends_writing(
    failing: Start, start_server: Start, tmp_path: Path
) -> None:
    server = failing(LOG, "fdatasync:error=EIO:when=10")
    with SessionContext.connect(server.address, session_id="s") as ctx:
        ctx.register_variable("n", "integer", 0)
        acknowledged = count(ctx, 100)
        for _ in range(3):
            with pytest.raises(ServerReadOnlyError):
                ctx.increment("n")
        assert ctx.get_variable("n") == acknowledged
        status, cause = health(ctx)
        assert status == NOT_SERVING
        assert cause
    assert after_a_restart(start_server, server, tmp_path / "data") in (acknowledged, acknowledged + 1)


def test_an_error_while_writing_ends_writing_too(failing: Start, start_server: Start, tmp_path: Path) -> None:
    server = failing(LOG, "pwrite64:error=EIO:when=40")
    with SessionContext.connect(server.address, session_id="s") as ctx:
        ctx.register_variable("n", "integer", 0)
        acknowledged = count(ctx, 100)
        with pytest.raises(ServerReadOnlyError):
            ctx.increment("n")
        assert ctx.get_variable("n") == acknowledged
    assert after_a_restart(start_server, server, tmp_path / "data") in (acknowledged, acknowledged + 1)


def test_a_full_disk_refuses_writes_for_certain_until_there_is_space(
    failing: Start, start_server: Start, tmp_path: Path
) -> None:
    server = failing(LOG, "pwrite64:error=ENOSPC:when=40..49")
    with SessionContext.connect(server.address, session_id="s") as ctx:
        ctx.register_variable("n", "integer", 0)
        acknowledged = count(ctx, 100)
        assert health(ctx) == (NOT_SERVING, "the disk is full")
        assert ctx.get_variable("n") == acknowledged
        refused = 1
        while True:
            try:
                assert ctx.increment("n") == acknowledged + 1
                break
            except ServerReadOnlyError:
                refused += 1
        assert refused > 1
        assert health(ctx) == (SERVING, "")
        acknowledged += 1
    assert after_a_restart(start_server, server, tmp_path / "data") == acknowledged


def test_a_failed_sync_of_a_checkpoint_ends_writing_and_loses_nothing(
    failing: Start, start_server: Start, tmp_path: Path
) -> None:
    server = failing(JOURNAL, "fdatasync:error=EIO:when=3+")
    with SessionContext.connect(server.address, session_id="s") as ctx:
        ctx.register_variable("n", "integer", 0)
        # A checkpoint comes once the log has 4 MiB.
        acknowledged = fill(ctx, 1024 * 1024)
        assert ctx.get_variable("n") == acknowledged
        status, cause = health(ctx)
        assert status == NOT_SERVING
        assert cause
    assert after_a_restart(start_server, server, tmp_path / "data") == acknowledged


def test_a_checkpoint_that_finds_no_space_is_tried_again(failing: Start, start_server: Start, tmp_path: Path) -> None:
    server = failing(JOURNAL, "pwrite64:error=ENOSPC:when=3..5")
    with SessionContext.connect(server.address, session_id="s") as ctx:
        ctx.register_variable("n", "integer", 0)
        ctx.register_variable("text", "string", "")
        for turn in range(20):
            ctx.set_variable("text", str(turn % 10) * 1024 * 1024)
            assert ctx.increment("n") == turn + 1
    assert after_a_restart(start_server, server, tmp_path / "data") == 20


def test_a_disk_that_is_really_full_refuses_and_recovers(start_server: Start, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(3 * 1024 * 1024))
        server = start_server(data_dir=disk / "data")
        with SessionContext.connect(server.address, session_id="s") as ctx:
            ctx.register_variable("n", "integer", 0)
            acknowledged = fill(ctx, 20_000)
            assert ctx.get_variable("n") == acknowledged
            ballast.unlink()
            assert ctx.increment("n") == acknowledged + 1
        assert after_a_restart(start_server, server, disk / "data") == acknowledged + 1
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
