"""What a client sees of a failing disk and of missing rights: a real server over a journal that fails as told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snakepit_bridge import LocalServer, SessionContext
from snakepit_bridge.exceptions import OutcomeUnknownError, PermissionDeniedError, ServerReadOnlyError
from snakepit_bridge.server import start
from snakepit_bridge.session_context import session_of

# It starts servers of its own, with faults and without tokens.
pytestmark = pytest.mark.transport("open")

Faulty = Callable[..., LocalServer]


@pytest.fixture
def faulty(server_binary: Path) -> Iterator[Faulty]:
    """Starts servers that fail as the arguments say: the example `faulty_server`, built along with the server."""
    binary = server_binary.parent / "examples" / "faulty_server"
    if not binary.is_file():
        pytest.fail(f"no {binary}: run `cargo build --examples`", pytrace=False)
    started: list[LocalServer] = []

    def run(*arguments: str) -> LocalServer:
        started.append(start(binary, arguments))
        return started[-1]

    yield run
    for server in started:
        server.close()


async def test_a_full_disk_refuses_writes_for_certain_and_goes_on_reading(faulty: Faulty) -> None:
    server = faulty("--fault", "disk-full", "--after", "2")
    async with SessionContext.connect(server.address, timeout=60) as ctx:
        await ctx.register_variable("x", "integer", 1)
        for _ in range(2):
            with pytest.raises(ServerReadOnlyError) as refused:
                await ctx.set_variable("x", 2)
            assert refused.value.facts["cause"]
        assert await ctx.get_variable("x") == 1
        session_of(ctx).track(["x"])
        assert session_of(ctx).take().variables["x"].value == 1


async def test_a_failed_sync_leaves_the_outcome_unknown_and_what_follows_refused(faulty: Faulty) -> None:
    server = faulty("--fault", "failed-fsync", "--after", "2")
    async with SessionContext.connect(server.address, timeout=60) as ctx:
        await ctx.register_variable("x", "integer", 1)
        with pytest.raises(OutcomeUnknownError) as unknown:
            await ctx.set_variable("x", 2)
        assert unknown.value.facts["cause"]
        with pytest.raises(ServerReadOnlyError):
            await ctx.set_variable("x", 3)
        assert await ctx.get_variable("x") == 1


async def test_what_needs_the_admin_role_is_denied_without_it(faulty: Faulty) -> None:
    async with SessionContext.connect(faulty("--no-admin").address) as ctx:
        await ctx.register_variable("x", "integer", 1)
        with pytest.raises(PermissionDeniedError) as refused:
            await ctx.register_variable("x", "string", "s", replace=True)
        assert refused.value.facts["role"]
        assert await ctx.get_variable("x") == 1


async def test_a_secret_is_withheld_from_lists_and_denied_to_who_may_not_read_it(
    faulty: Faulty, ctx: SessionContext
) -> None:
    await ctx.register_variable("key", "string", "hidden", secret=True)
    assert await ctx.get_variable("key") == "hidden"
    (listed,) = await ctx.list_variables()
    assert (listed.value, listed.redacted, listed.secret) == (None, True, True)
    async with SessionContext.connect(faulty("--no-secrets").address) as other:
        await other.register_variable("key", "string", "hidden", secret=True)
        for attempt in (other.get_variable("key"), other.modify("key", str.upper)):
            with pytest.raises(PermissionDeniedError) as refused:
                await attempt
            assert refused.value.facts["variable"] == "key"
        session_of(other).track(["key"])
        state = session_of(other).take().variables["key"]
        assert (state.value, state.redacted) == (None, True)


async def test_a_slow_journal_delays_the_answer_and_reads_do_not_wait(faulty: Faulty) -> None:
    async with SessionContext.connect(faulty("--delay", "300").address) as ctx:
        await ctx.register_variable("x", "integer", 1)
        session_of(ctx).track(["x"])
        value = 1
        reads_passed_a_write = False
        # A loaded machine may need longer for the reads than the journal for a write.
        while not reads_passed_a_write and value < 100:
            value += 1
            writing = asyncio.create_task(ctx.set_variable("x", value))
            await asyncio.sleep(0.05)
            read = await ctx.get_variable("x"), (await session_of(ctx).take_async()).variables["x"].value
            if not writing.done():
                assert read == (value - 1, value - 1)
                reads_passed_a_write = True
            assert (await writing).version == value
            assert await ctx.get_variable("x") == value
        assert reads_passed_a_write
