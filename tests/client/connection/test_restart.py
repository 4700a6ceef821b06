"""A server that keeps its sessions on disk is killed and comes back: contexts, watches and retries go on."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from snakepit_bridge import LocalServer, SessionContext, local_server
from snakepit_bridge._variables.changes import Change
from snakepit_bridge._variables.watch import Watch
from snakepit_bridge.exceptions import ServerStartError
from snakepit_bridge.session_context import session_of
from snakepit_bridge.v1 import variable_pb2 as pb
from snakepit_bridge.v1.value_pb2 import Value
from tests.support.waiting import PATIENCE

Start = Callable[..., LocalServer]


def crash(server: LocalServer) -> str:
    """Kills it as a crash would; returns where it was."""
    os.kill(server.pid, signal.SIGKILL)
    server.close()
    return server.address


async def test_a_context_goes_on_when_the_server_comes_back(start_server: Start, tmp_path: Path) -> None:
    server = start_server(data_dir=tmp_path)
    async with SessionContext.connect(server.address, session_id="s") as ctx:
        await ctx.register_variable("n", "integer", 1)
        await ctx.set_variable("n", 2)
        revision = ctx.revision
        for turn in range(3):
            server = start_server(crash(server), tmp_path)
            assert await ctx.get_variable("n") == 2 + turn
            assert await ctx.increment("n") == 3 + turn
        assert ctx.revision == revision + 3
        assert [version.value for version in await ctx.history("n")] == [5, 4, 3, 2, 1]


async def test_a_write_made_while_the_server_is_away_is_done_once_it_is_back(
    start_server: Start, tmp_path: Path
) -> None:
    server = start_server(data_dir=tmp_path)
    async with SessionContext.connect(server.address, session_id="s", timeout=PATIENCE) as ctx:
        await ctx.register_variable("n", "integer", 0)
        address = crash(server)
        waiting = [asyncio.ensure_future(ctx.increment("n")) for _ in range(5)]
        await asyncio.to_thread(start_server, address, tmp_path)
        assert sorted(await asyncio.gather(*waiting)) == [1, 2, 3, 4, 5]
        assert await ctx.get_variable("n") == 5


async def test_a_repeat_after_the_restart_is_answered_as_the_original_was(start_server: Start, tmp_path: Path) -> None:
    server = start_server(data_dir=tmp_path)
    async with SessionContext.connect(server.address, session_id="s") as ctx:
        await ctx.register_variable("n", "integer", 0)
        add_one = pb.Operation(name="n", increment=pb.IncrementOperation(amount=Value(int64_value=1)))
        write = pb.WriteVariablesRequest(session_id="s", operations=[add_one], client_id="me", idempotency_key="once")
        connection = session_of(ctx).connection
        repeat = partial(connection.variable.WriteVariables, write, timeout=PATIENCE, metadata=connection.metadata)
        original = await asyncio.to_thread(repeat)
        await ctx.increment("n")
        start_server(crash(server), tmp_path)
        assert await ctx.get_variable("n") == 2
        repeated = await asyncio.to_thread(repeat)
        assert repeated == original
        assert await ctx.get_variable("n") == 2


async def until(watch: Watch, value: object) -> list[Change]:
    """The changes up to the one that makes this value."""
    changes = [await anext(watch)]
    while changes[-1].value != value:
        changes.append(await anext(watch))
    return changes


async def test_a_watch_tells_each_change_once_across_restarts(start_server: Start, tmp_path: Path) -> None:
    server = start_server(data_dir=tmp_path)
    async with SessionContext.connect(server.address, session_id="s") as ctx:
        await ctx.register_variable("n", "integer", 0)
        async with asyncio.timeout(PATIENCE), ctx.watch_variables("n") as watch:
            told = await until(watch, 0)
            for turn in range(3):
                for value in range(turn * 10 + 1, turn * 10 + 11):
                    await ctx.set_variable("n", value)
                server = start_server(crash(server), tmp_path)
            told += await until(watch, 30)
    assert [change.value for change in told] == list(range(31))
    assert not any(change.gap for change in told)


async def test_a_watch_that_missed_what_is_no_longer_kept_starts_again_with_the_present(
    start_server: Start, tmp_path: Path
) -> None:
    server = start_server(data_dir=tmp_path)
    async with SessionContext.connect(server.address, session_id="s") as ctx:
        await ctx.register_variable("n", "integer", 0)
        await ctx.register_variable("text", "string", "")
        async with asyncio.timeout(PATIENCE), ctx.watch_variables("n") as watch:
            assert (await anext(watch)).value == 0
            address = crash(server)
            # Meanwhile, where the watch cannot see it, more is written than the server keeps: 8 MiB.
            elsewhere = await asyncio.to_thread(start_server, data_dir=tmp_path)
            async with SessionContext.connect(elsewhere.address, session_id="s") as other:
                for turn in range(10):
                    await other.set_variable("text", str(turn) * 1024 * 1024)
                    await other.set_variable("n", turn)
            crash(elsewhere)
            await asyncio.to_thread(start_server, address, tmp_path)
            change = await anext(watch)
    assert (change.value, change.kind, change.gap) == (9, "initial", True)


def test_a_local_session_is_kept_in_a_directory_that_is_named(tmp_path: Path) -> None:
    for expected in (1, 2):
        with SessionContext.local(session_id="s", data_dir=tmp_path / "new") as ctx:
            ctx.register_variable("n", "integer", 0)
            assert ctx.increment("n") == expected


def test_a_directory_has_one_server_at_a_time(start_server: Start, tmp_path: Path) -> None:
    server = start_server(data_dir=tmp_path)
    with pytest.raises(ServerStartError) as refused:
        local_server(data_dir=tmp_path)
    assert str(server.pid) in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_what_the_environment_says_does_not_make_a_named_directory_forgetful(
    start_server: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNAKEPIT_EPHEMERAL", "1")
    start_server(data_dir=tmp_path)
    assert (tmp_path / "journal.db").is_file()
