"""What a context offers, through the real server: async, blocking, and both at once."""

from __future__ import annotations

import asyncio
import copy
import itertools
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import snakepit_bridge
from snakepit_bridge import BlockingContext, SessionContext
from snakepit_bridge.exceptions import (
    InvalidRequestError,
    SessionClosedError,
    SessionNotFoundError,
    TypeMismatchError,
    VariableNotFoundError,
    VersionConflictError,
)
from snakepit_bridge.session_context import session_of
from tests.support.transports import OPEN, Transport
from tests.support.wire_proxy import WireProxy

# It reads what crosses the wire, which TLS would hide.
pytestmark = pytest.mark.transport("tokens")


def test_the_public_names_have_these_names() -> None:
    assert all(getattr(snakepit_bridge, name).__name__.endswith(name) for name in dir(snakepit_bridge))
    with pytest.raises(AttributeError):
        snakepit_bridge.Session  # noqa: B018
    methods = {
        "append", "batch_updates", "delete_variable", "get_variable", "get_variables", "history", "increment",
        "list_variables", "modify", "register_variable", "rollback", "set_variable", "set_variables", "watch_variables",
    }  # fmt: skip
    for context in (SessionContext, BlockingContext):
        assert {name for name in vars(context) if not name.startswith("_")} - {
            "address", "aclose", "blocking", "close", "connect", "local", "revision", "session_id",
        } == methods  # fmt: skip


async def test_a_variable_is_registered_set_and_read(ctx: SessionContext, transport: Transport) -> None:
    registered = await ctx.register_variable("t", "float", 0.7, constraints={"min": 0.0, "max": 2.0}, description="T")
    assert (registered.changed, registered.version) == (True, 1)
    before = datetime.now(UTC)
    outcome = await ctx.set_variable("t", 0.9, expected_version=1, reason="less dull")
    assert (outcome.name, outcome.changed, outcome.version) == ("t", True, 2)
    assert await ctx.get_variable("t") == 0.9
    (variable,) = await ctx.list_variables("t*")
    assert (variable.name, variable.type, variable.value, variable.version) == ("t", "float", 0.9, 2)
    assert (variable.constraints, variable.description) == ({"min": 0.0, "max": 2.0}, "T")
    assert variable.reason == "less dull"
    assert variable.updated_by.verified is (transport.name != OPEN)
    assert abs(variable.updated_at - before) < timedelta(seconds=30)
    assert ctx.revision == outcome.revision == variable.revision


async def test_an_equal_value_of_the_same_type_is_no_change(ctx: SessionContext) -> None:
    await ctx.register_variable("t", "float", 0.5)
    outcome = await ctx.set_variable("t", 0.5)
    assert (outcome.changed, outcome.version) == (False, 1)
    assert ctx.revision == outcome.revision


async def test_every_type_takes_and_gives_its_values(ctx: SessionContext) -> None:
    import numpy as np

    values = {
        "float": 1.5, "integer": -7, "string": "ä", "boolean": True, "choice": 2, "module": "ReAct",
        "list": [1, [None]], "map": {"b": 1, "a": {}}, "bytes": b"\0\xff",
    }  # fmt: skip
    constraints: dict[str, dict[str, Any]] = {
        "choice": {"choices": [1, 2, "x"]},
        "module": {"modules": ["ReAct", "Predict"]},
    }
    for kind, value in values.items():
        await ctx.register_variable(kind, kind, value, constraints=constraints.get(kind))
    await ctx.register_variable("embedding", "embedding", np.ones(3, "f4"), constraints={"dimensions": 3})
    await ctx.register_variable("tensor", "tensor", np.ones((2, 3)), constraints={"shape": [2, None]})
    read = await ctx.get_variables(list(values))
    assert read == values
    assert list(read["map"]) == ["b", "a"]
    described = {variable.name: variable for variable in await ctx.list_variables()}
    assert {name: variable.type for name, variable in described.items()} == {name: name for name in described}
    assert described["choice"].constraints == {"choices": [1, 2, "x"]}
    assert described["tensor"].constraints == {"shape": [2, -1]}
    assert (await ctx.get_variable("embedding")).dtype == np.float32


async def test_several_variables_are_read_and_set_by_one_rpc_each(proxy: WireProxy, session_id: str) -> None:
    async with SessionContext.connect(proxy.address, session_id=session_id) as ctx:
        async with ctx.batch_updates() as batch:
            batch.register("a", "integer", 1)
            batch.register("b", "integer", 2)
        before = proxy.count()
        outcomes = await ctx.set_variables({"a": 10, "b": 20})
        assert await ctx.get_variables(["b", "a"]) == {"b": 20, "a": 10}
        assert await ctx.get_variable("a") == 10
        assert proxy.rpcs()[before:] == ["WriteVariables", "GetVariables", "GetVariables"]
        assert {outcome.revision for outcome in outcomes} == {ctx.revision}


async def test_counting_appending_and_modifying(ctx: SessionContext) -> None:
    await ctx.register_variable("n", "integer", 1)
    await ctx.register_variable("x", "float", 1.0)
    await ctx.register_variable("l", "list", [1])
    assert await ctx.increment("n", 4) == 5
    assert await ctx.increment("x", 0.5) == 1.5
    assert await ctx.append("l", [2, "3"]) == [1, 2, "3"]
    assert await ctx.modify("x", lambda v: v * 2) == 3.0
    assert await ctx.get_variables(["n", "x", "l"]) == {"n": 5, "x": 3.0, "l": [1, 2, "3"]}


def test_modify_loses_no_update_among_threads(blocking: BlockingContext) -> None:
    blocking.register_variable("n", "integer", 0)

    def ten_times(_: int) -> None:
        for _ in range(10):
            blocking.modify("n", lambda n: n + 1)

    with ThreadPoolExecutor(5) as threads:
        list(threads.map(ten_times, range(5)))
    assert blocking.get_variable("n") == 50


def test_five_threads_incrementing_ten_times_make_fifty(blocking: BlockingContext) -> None:
    blocking.register_variable("n", "integer", 0)
    with ThreadPoolExecutor(5) as threads:
        seen = list(threads.map(lambda _: [blocking.increment("n", 1) for _ in range(10)], range(5)))
    assert blocking.get_variable("n") == 50
    assert sorted(itertools.chain(*seen)) == list(range(1, 51))


async def test_of_two_writers_expecting_the_same_version_one_wins(
    ctx: SessionContext, blocking: BlockingContext
) -> None:
    await ctx.register_variable("x", "integer", 0)
    results = await asyncio.gather(
        ctx.set_variable("x", 1, expected_version=1),
        asyncio.to_thread(blocking.set_variable, "x", 2, expected_version=1),
        return_exceptions=True,
    )
    (lost,) = [result for result in results if isinstance(result, VersionConflictError)]
    assert (lost.variable, lost.expected, lost.actual) == ("x", 1, 2)
    assert await ctx.get_variable("x") in {1, 2}


async def test_a_batch_is_one_revision_and_fails_as_a_whole(ctx: SessionContext) -> None:
    async with ctx.batch_updates(reason="first") as batch:
        batch.register("a", "integer", 1).register("b", "integer", 1, constraints={"max": 5})
    assert [outcome.version for outcome in batch.outcomes] == [1, 1]
    assert len({outcome.revision for outcome in batch.outcomes}) == 1
    revision = ctx.revision
    with pytest.raises(snakepit_bridge.exceptions.ConstraintError) as refused:
        async with ctx.batch_updates() as batch:
            batch.set("a", 2).set("b", 6)
    assert (refused.value.operation, refused.value.variable) == (1, "b")
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with ctx.batch_updates() as batch:
            batch.set("a", 3)
            raise ZeroDivisionError
    assert await ctx.get_variables(["a", "b"]) == {"a": 1, "b": 1}
    assert ctx.revision == revision


async def test_history_rollback_and_a_return_from_deletion(ctx: SessionContext) -> None:
    await ctx.register_variable("x", "string", "one")
    await ctx.set_variable("x", "two", reason="because")
    rolled = await ctx.rollback("x", version=1)
    assert (rolled.version, rolled.value) == (3, "one")
    await ctx.delete_variable("x", expected_version=3)
    with pytest.raises(VariableNotFoundError):
        await ctx.get_variable("x")
    again = await ctx.register_variable("x", "string", "back")
    assert again.version == 5
    history = await ctx.history("x")
    assert [(kept.version, kept.kind, kept.value) for kept in history] == [
        (5, "registered", "back"), (4, "deleted", None), (3, "set", "one"), (2, "set", "two"), (1, "registered", "one"),
    ]  # fmt: skip
    assert history[3].reason == "because"
    with pytest.raises(InvalidRequestError):
        await ctx.rollback("x", version=99)


async def test_registering_twice_changes_nothing_and_keeps_the_value(ctx: SessionContext) -> None:
    await ctx.register_variable("x", "integer", 1, constraints={"min": 0})
    await ctx.set_variable("x", 2)
    again = await ctx.register_variable("x", "integer", 1, constraints={"min": 0})
    assert (again.changed, again.version) == (False, 2)
    assert await ctx.get_variable("x") == 2
    with pytest.raises(snakepit_bridge.exceptions.VariableExistsError) as refused:
        await ctx.register_variable("x", "integer", 1, constraints={"min": -1})
    assert refused.value.variable == "x"
    replaced = await ctx.register_variable("x", "string", "s", replace=True)
    assert replaced.version == 3


async def test_a_list_of_more_than_a_page_is_complete_and_in_order(ctx: SessionContext) -> None:
    names = [f"v{index:04}" for index in range(300)]
    for start in range(0, 300, 100):
        async with ctx.batch_updates() as batch:
            for name in names[start : start + 100]:
                batch.register(name, "string", "x" * 3000)
    assert [variable.name for variable in await ctx.list_variables("v*")] == names
    assert [variable.name for variable in await ctx.list_variables("v00?5")] == names[5:100:10]


async def test_a_not_strict_context_registers_by_what_a_value_is(address: str, session_id: str) -> None:
    import numpy as np

    async with SessionContext.connect(address, session_id=session_id, strict=False) as ctx:
        await ctx.set_variable("old", 1)
        await ctx.set_variables(
            {
                "old": 2,
                "b": True,
                "f": 0.5,
                "s": "s",
                "y": b"",
                "l": (1,),
                "m": {},
                "a": np.ones(2),
                "g": np.float32(1),
            }
        )
        types = {variable.name: variable.type for variable in await ctx.list_variables()}
        assert types == {
            "old": "integer", "b": "boolean", "f": "float", "s": "string", "y": "bytes", "l": "list", "m": "map",
            "a": "tensor", "g": "float",
        }  # fmt: skip
        with pytest.raises(TypeMismatchError):
            await ctx.set_variable("none", None)
        with pytest.raises((VariableNotFoundError, VersionConflictError)):
            await ctx.set_variable("new", 1, expected_version=3)
        assert "new" not in ctx.blocking


def test_the_blocking_twin_has_sugar(blocking: BlockingContext) -> None:
    blocking.register_variable("b", "integer", 1)
    blocking.register_variable("a", "integer", 2)
    blocking["a"] = 3
    assert blocking["a"] == 3
    assert "a" in blocking
    assert "c" not in blocking
    assert 1 not in blocking
    assert list(blocking) == ["a", "b"]
    assert blocking.blocking is blocking
    with blocking.batch_updates() as batch:
        batch.set("a", 4, expected_version=2)
    assert batch.outcomes[0].version == 3


async def test_the_twin_works_inside_a_running_loop_and_from_any_thread(ctx: SessionContext) -> None:
    ctx.blocking.register_variable("x", "integer", 1)
    assert ctx.blocking.get_variable("x") == await ctx.get_variable("x") == 1
    assert await asyncio.to_thread(ctx.blocking.increment, "x") == 2
    with pytest.raises(VariableNotFoundError):
        ctx.blocking.get_variable("missing")
    errors: list[BaseException] = []

    def fail() -> None:
        try:
            ctx.blocking.get_variable("missing")
        except VariableNotFoundError as error:
            errors.append(error)

    thread = threading.Thread(target=fail)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert len(errors) == 1
    assert ctx.blocking.session_id == ctx.session_id
    assert ctx.blocking.address == ctx.address
    assert session_of(ctx) is session_of(ctx.blocking)
    with pytest.raises(TypeError):
        session_of("demo")


def test_one_context_serves_several_loops(address: str, session_id: str) -> None:
    ctx = SessionContext.connect(address, session_id=session_id)

    async def use() -> int:
        await ctx.register_variable("n", "integer", 0)
        return int(await ctx.increment("n"))

    assert asyncio.run(use()) == 1
    assert asyncio.run(use()) == 2
    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(lambda _: asyncio.run(use()), range(4))) == [3, 4, 5, 6]
    ctx.blocking.close()


async def test_it_opens_at_the_first_use_and_creates_only_if_told(address: str, session_id: str) -> None:
    lazy = SessionContext.connect(address, session_id=session_id)
    absent = SessionContext.connect(address, session_id=session_id, create=False)
    with pytest.raises(SessionNotFoundError) as refused:
        await absent.get_variable("x")
    assert refused.value.session == session_id
    await lazy.register_variable("x", "integer", 1)
    assert await absent.get_variable("x") == 1
    for context in (lazy, absent):
        await context.aclose()


async def test_many_first_uses_at_once_open_one_session(address: str, session_id: str) -> None:
    ctx = SessionContext.connect(address, session_id=session_id)
    await asyncio.gather(*(ctx.register_variable(f"x{index}", "integer", index) for index in range(20)))
    assert len(await ctx.list_variables()) == 20
    await ctx.aclose()


async def test_without_an_id_every_context_has_a_session_of_its_own(address: str) -> None:
    async with SessionContext.connect(address) as one, SessionContext.connect(address) as other:
        assert one.session_id != other.session_id
        await one.register_variable("x", "integer", 1)
        assert "x" not in other.blocking


async def test_address_and_session_come_from_the_environment(
    address: str, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNAKEPIT_ADDRESS", address)
    monkeypatch.setenv("SNAKEPIT_SESSION", session_id)
    async with SessionContext.connect() as ctx:
        assert (ctx.address, ctx.session_id) == (address, session_id)


@pytest.mark.parametrize("wrong", [{"freshness": "fresh"}, {"timeout": 0}, {"max_staleness": -1}, {"address": "host"}])
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        SessionContext.connect(**wrong)  # type: ignore[arg-type]
    assert refused.value.field == next(iter(wrong))


async def test_a_context_is_shared_by_copies_and_refuses_pickling(ctx: SessionContext) -> None:
    for one in (ctx, ctx.blocking, session_of(ctx)):
        assert copy.copy(one) is one
        assert copy.deepcopy({"a": one})["a"] is one
        with pytest.raises(TypeError):
            pickle.dumps(one)


async def test_after_closing_every_use_is_refused(address: str, session_id: str) -> None:
    ctx = SessionContext.connect(address, session_id=session_id)
    await ctx.register_variable("x", "integer", 1)
    await ctx.aclose()
    await ctx.aclose()
    ctx.blocking.close()
    with pytest.raises(SessionClosedError):
        await ctx.get_variable("x")
    with pytest.raises(SessionClosedError):
        session_of(ctx).take()
