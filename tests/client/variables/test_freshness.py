"""How fresh a forward's snapshot is, what it costs on the wire, and what holds while the server is away."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import pytest

from snakepit_bridge import BlockingContext, LocalServer, SessionContext
from snakepit_bridge._context.session import Session
from snakepit_bridge.exceptions import BridgeError, ServerUnavailableError, SessionExpiredError, SessionNotFoundError
from snakepit_bridge.session_context import session_of
from tests.support.sessions import end_session
from tests.support.waiting import PATIENCE, wait_until
from tests.support.wire_proxy import WireProxy

# It reads what crosses the wire, which TLS would hide.
pytestmark = pytest.mark.transport("tokens")

NAMES = [f"v{index}" for index in range(12)]
Refused = TypeVar("Refused", bound=BridgeError)
Freshness = Literal["latest", "streamed"]
BOTH = pytest.mark.parametrize("freshness", ["latest", "streamed"])


@pytest.fixture
def writer(blocking: BlockingContext) -> BlockingContext:
    """Another client of the session, with twelve variables registered."""
    with blocking.batch_updates() as batch:
        for index, name in enumerate(NAMES):
            batch.register(name, "integer", index)
    return blocking


@contextmanager
def connected(proxy: WireProxy, session_id: str, freshness: Freshness, **settings: Any) -> Iterator[Session]:
    """A session by way of the proxy that tracks the twelve names and has taken its first snapshot."""
    with SessionContext.connect(proxy.address, session_id=session_id, freshness=freshness, **settings) as context:
        session = session_of(context)
        session.track(NAMES)
        assert values(session) == dict(zip(NAMES, range(12), strict=True))
        yield session


def values(session: Session) -> dict[str, Any]:
    return {name: state.value for name, state in session.take().variables.items()}


def eventually(session: Session, name: str, value: Any) -> None:
    """Takes snapshots until the variable has the value."""
    wait_until(lambda: values(session).get(name) == value)


def refusal(session: Session, kind: type[Refused]) -> Refused:
    """Takes snapshots until one is refused."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            session.take()
        except kind as error:
            return error
        assert time.monotonic() < deadline


def recovery(session: Session, name: str, value: Any) -> None:
    """Takes snapshots, at first refused, until the variable has the value."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return eventually(session, name, value)
        except ServerUnavailableError:
            assert time.monotonic() < deadline


@contextmanager
def away(proxy: WireProxy) -> Iterator[None]:
    """While it lasts, the server cannot be reached."""
    upstream, proxy.upstream = proxy.upstream, "127.0.0.1:1"
    proxy.cut()
    yield
    proxy.upstream = upstream


def test_latest_costs_exactly_one_sync_per_forward(proxy: WireProxy, writer: BlockingContext, session_id: str) -> None:
    with connected(proxy, session_id, "latest") as session:
        before = proxy.count()
        for index in range(20):
            writer["v3"] = 100 + index
            assert values(session)["v3"] == 100 + index
        assert proxy.rpcs()[before:] == ["SyncVariables"] * 20


def test_streamed_costs_no_rpc_per_forward(proxy: WireProxy, writer: BlockingContext, session_id: str) -> None:
    with connected(proxy, session_id, "streamed") as session:
        before = proxy.count()
        for index in range(20):
            writer["v3"] = 100 + index
            eventually(session, "v3", 100 + index)
        for _ in range(10_000):
            session.take()
        assert proxy.rpcs()[before:] == []


@BOTH
async def test_an_async_forward_costs_the_same(
    proxy: WireProxy, writer: BlockingContext, session_id: str, freshness: Freshness
) -> None:
    async with SessionContext.connect(proxy.address, session_id=session_id, freshness=freshness) as ctx:
        session = session_of(ctx)
        session.track(NAMES)
        assert (await session.take_async()).variables["v3"].value == 3
        before = proxy.count()
        taken = await asyncio.gather(*(session.take_async() for _ in range(10)))
        assert {snapshot.variables["v3"].value for snapshot in taken} == {3}
        assert session.take().variables["v3"].value == 3
        assert proxy.rpcs()[before:] == (["SyncVariables"] * 11 if freshness == "latest" else [])


@BOTH
def test_an_unchanged_session_gives_the_very_same_snapshot(
    proxy: WireProxy, writer: BlockingContext, session_id: str, freshness: Freshness
) -> None:
    with connected(proxy, session_id, freshness) as session:
        assert session.take() is session.take() is session.newest()


@BOTH
def test_an_own_write_is_in_the_next_forward(
    proxy: WireProxy, writer: BlockingContext, session_id: str, freshness: Freshness
) -> None:
    ctx = SessionContext.connect(proxy.address, session_id=session_id, freshness=freshness)
    session = session_of(ctx)
    session.track(NAMES)
    session.take()
    before = proxy.count()
    for index in range(50):
        ctx.blocking["v0"] = 1000 + index
        assert session.take().variables["v0"].value == 1000 + index
    expected = 50 if freshness == "latest" else 0
    assert proxy.rpcs()[before:].count("SyncVariables") == expected
    ctx.blocking.close()


@BOTH
def test_names_tracked_later_are_there_at_once_deleted_ones_gone(
    proxy: WireProxy, writer: BlockingContext, session_id: str, freshness: Freshness
) -> None:
    with connected(proxy, session_id, freshness) as session:
        writer.register_variable("later", "string", "x")
        session.track(["later", "missing"])
        assert values(session)["later"] == "x"
        assert "missing" not in values(session)
        writer.register_variable("missing", "string", "y")
        eventually(session, "missing", "y")
        writer.delete_variable("later")
        eventually(session, "later", None)
        assert "later" not in session.take().variables
        session.untrack(NAMES[6:])
        session.track(["v0"])
        session.untrack(["v0"])
        writer["v0"] = 77
        eventually(session, "v0", 77)


def test_a_state_larger_than_a_message_arrives_in_parts_as_one(
    proxy: WireProxy, writer: BlockingContext, session_id: str
) -> None:
    names = [f"big{index}" for index in range(12)]
    for index, name in enumerate(names):
        writer.register_variable(name, "bytes", bytes([index]) * 2**20)
    with connected(proxy, session_id, "streamed") as session:
        session.track(names)
        taken = session.take()
        assert [taken.variables[name].value[:1] for name in names] == [bytes([index]) for index in range(12)]


@BOTH
def test_a_forward_never_mixes_two_revisions(
    proxy: WireProxy, writer: BlockingContext, session_id: str, freshness: Freshness
) -> None:
    done = threading.Event()
    counts = [0] * 4

    def flip() -> int:
        index = 0
        # On a loaded machine a reader may come to it late.
        while not done.is_set() and (index < 100 or min(counts) <= 10):
            writer.set_variables({"v0": index, "v1": index})
            index += 1
        done.set()
        return index - 1

    def read(session: Session, reader: int) -> None:
        last = 0
        while not done.wait(0.0002):
            taken = session.take()
            counts[reader] += 1
            assert taken.revision >= last
            last = taken.revision
            pair = taken.variables["v0"].value, taken.variables["v1"].value
            assert pair[0] == pair[1] or pair == (0, 1)

    with connected(proxy, session_id, freshness) as session, ThreadPoolExecutor(5) as threads:
        reading = [threads.submit(read, session, reader) for reader in range(4)]
        for future in reading:
            future.add_done_callback(lambda _: done.set())
        last = flip()
        for future in reading:
            future.result()
        eventually(session, "v1", last)


def test_the_last_value_of_a_burst_always_arrives(proxy: WireProxy, writer: BlockingContext, session_id: str) -> None:
    with connected(proxy, session_id, "streamed") as session:
        for burst in range(20):
            for index in range(20):
                writer["v5"] = burst * 100 + index
            eventually(session, "v5", burst * 100 + 19)


def test_a_stream_cut_and_restarted_goes_on_where_it_was(
    proxy: WireProxy, writer: BlockingContext, session_id: str
) -> None:
    with connected(proxy, session_id, "streamed") as session:
        for index in range(10):
            proxy.cut()
            writer["v0"] = 100 + index
            eventually(session, "v0", 100 + index)
        wait_until(lambda: session.take() and session.mirror.live is not None)
        before = proxy.count()
        for _ in range(1000):
            session.take()
        assert proxy.rpcs()[before:] == []


@BOTH
def test_while_the_server_is_away_values_are_used_for_max_staleness_with_one_warning(
    proxy: WireProxy,
    writer: BlockingContext,
    session_id: str,
    freshness: Freshness,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with connected(proxy, session_id, freshness, max_staleness=2.0) as session, caplog.at_level(logging.WARNING):
        session.take()
        began = time.monotonic()
        with away(proxy):
            assert values(session)["v3"] == 3
            refused = refusal(session, ServerUnavailableError)
            assert time.monotonic() >= began + 1.95
            assert float(refused.facts["age"]) >= 2.0
            assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
            writer["v3"] = 33
        recovery(session, "v3", 33)


def test_while_it_is_away_forwards_do_not_wait_for_it(
    proxy: WireProxy, writer: BlockingContext, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected(proxy, session_id, "latest", sync_timeout=0.3) as session:
        proxy.freeze()
        sync, asked = session.connection.variable.SyncVariables, 0

        def counted(*request: Any, **options: Any) -> Any:
            nonlocal asked
            asked += 1
            return sync(*request, **options)

        monkeypatch.setattr(session.connection.variable, "SyncVariables", counted)
        for _ in range(1000):
            assert values(session)["v3"] == 3
        assert 1 <= asked <= 100
        proxy.thaw()
        writer["v3"] = 33
        eventually(session, "v3", 33)


@BOTH
def test_with_max_staleness_0_a_forward_fails_at_once(
    proxy: WireProxy, writer: BlockingContext, session_id: str, freshness: Freshness
) -> None:
    with connected(proxy, session_id, freshness, max_staleness=0.0) as session:
        with away(proxy):
            refusal(session, ServerUnavailableError)
        writer["v3"] = 33
        recovery(session, "v3", 33)


@BOTH
def test_a_context_that_never_synced_fails_at_once(
    start_server: Callable[..., LocalServer], session_id: str, freshness: Freshness
) -> None:
    server = start_server()
    settings: dict[str, Any] = {"freshness": freshness, "timeout": 3600.0, "sync_timeout": 3600.0}
    with SessionContext.connect(server.address, session_id=session_id, **settings) as context:
        session = session_of(context)
        session.track(NAMES)
        server.close()
        before = time.monotonic()
        with pytest.raises(ServerUnavailableError):
            session.take()
        assert time.monotonic() < before + PATIENCE


@BOTH
def test_a_server_killed_during_forwards_leaves_them_the_last_values(
    start_server: Callable[..., LocalServer], session_id: str, freshness: Freshness
) -> None:
    server = start_server()
    with SessionContext.connect(server.address, session_id=session_id, freshness=freshness) as context:
        context.register_variable("x", "integer", 1)
        session = session_of(context)
        session.track(["x"])
        session.take()
        done = threading.Event()
        seen: list[list[Any]] = [[], [], [], []]

        def read(reader: int) -> None:
            while not done.wait(0.0005):
                seen[reader].append(session.take().variables["x"].value)

        async def read_async(reader: int) -> None:
            while not done.is_set():
                seen[reader].append((await session.take_async()).variables["x"].value)
                await asyncio.sleep(0.0005)

        def until_all_have_read(more: int) -> None:
            wanted = [len(values) + more for values in seen]
            wait_until(lambda: done.is_set() or all(len(values) >= n for values, n in zip(seen, wanted, strict=True)))

        with ThreadPoolExecutor(4) as threads:
            reading = [threads.submit(read, reader) for reader in range(3)]
            reading.append(threads.submit(lambda: asyncio.run(read_async(3))))
            for future in reading:
                future.add_done_callback(lambda _: done.set())
            try:
                until_all_have_read(10)
                os.kill(server.pid, signal.SIGKILL)
                until_all_have_read(100)
            finally:
                done.set()
            for future in reading:
                future.result()
            assert [set(values) for values in seen] == [{1}] * 4
        session.track(["y"])
        with pytest.raises(ServerUnavailableError):
            session.take()


@BOTH
def test_a_restarted_server_that_lost_the_session_says_so(
    start_server: Callable[..., LocalServer], session_id: str, freshness: Freshness
) -> None:
    server = start_server()
    with SessionContext.connect(server.address, session_id=session_id, freshness=freshness) as context:
        context.register_variable("x", "integer", 1)
        session = session_of(context)
        session.track(["x"])
        assert values(session) == {"x": 1}
        server.close()
        assert values(session) == {"x": 1}
        start_server(listen=server.address)
        refusal(session, SessionNotFoundError)
        # Somebody opens the session anew: forwards follow it, this context's writes stay refused.
        with SessionContext.connect(server.address, session_id=session_id) as other:
            other.register_variable("x", "integer", 2)
            eventually(session, "x", 2)
            with pytest.raises(SessionExpiredError):
                context.set_variable("x", 3)
            other["x"] = 4
            eventually(session, "x", 4)


@BOTH
def test_a_deleted_session_fails_the_next_forward(
    proxy: WireProxy, writer: BlockingContext, session_id: str, freshness: Freshness
) -> None:
    ctx = SessionContext.connect(proxy.address, session_id=session_id, freshness=freshness)
    session = session_of(ctx)
    session.track(NAMES)
    session.take()
    end_session(ctx)
    refusal(session, SessionNotFoundError)
    ctx.blocking.close()


def test_missed_heartbeats_are_a_lost_connection(
    start_server: Callable[..., LocalServer], monkeypatch: pytest.MonkeyPatch, session_id: str
) -> None:
    monkeypatch.setenv("SNAKEPIT_HEARTBEAT", "0.2")
    server = start_server()
    with SessionContext.connect(server.address, session_id=session_id) as owner, WireProxy(server.address) as proxy:
        owner.register_variable("x", "integer", 1)
        settings: dict[str, Any] = {"freshness": "streamed", "max_staleness": 1.0, "sync_timeout": 0.2}
        with SessionContext.connect(proxy.address, session_id=session_id, **settings) as context:
            session = session_of(context)
            session.track(["x"])
            session.take()

            def kept() -> bool:
                quiet, before = time.monotonic(), proxy.count("SyncVariables")
                while time.monotonic() < quiet + 1.5:
                    session.take()
                return proxy.count("SyncVariables") == before

            # Heartbeats keep a quiet stream, for longer than silence may last; on a loaded machine one may be late.
            wait_until(kept)
            proxy.freeze()
            refusal(session, ServerUnavailableError)
            proxy.thaw()
            owner["x"] = 2
            recovery(session, "x", 2)
