"""Every error that a server answers today, provoked through a real one; by class and facts, never by message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import grpc
import pytest

from snakepit_bridge import BlockingContext, LocalServer, SessionContext, exceptions
from snakepit_bridge._client import session, transport
from snakepit_bridge._client.grpc_errors import translate
from snakepit_bridge._client.transport import ASYNCIO, BLOCKING, finish
from snakepit_bridge.session_context import session_of
from snakepit_bridge.v1 import session_pb2
from tests.support.sessions import end_session
from tests.support.waiting import PATIENCE, until_answered
from tests.support.wire_proxy import WireProxy

# It reads what crosses the wire, which TLS would hide.
pytestmark = pytest.mark.transport("tokens")

RELEASE = version("snakepit-bridge")


async def test_a_missing_variable_names_the_closest(ctx: SessionContext) -> None:
    await ctx.register_variable("temperature", "float", 1.0)
    for attempt in (
        ctx.get_variable("temprature"),
        ctx.get_variables(["temperature", "temprature"]),
        ctx.set_variable("temprature", 1.0),
        ctx.delete_variable("temprature"),
        ctx.increment("temprature"),
        ctx.history("temprature"),
        ctx.modify("temprature", lambda v: v),
    ):
        with pytest.raises(exceptions.VariableNotFoundError) as refused:
            await attempt
        assert refused.value.variable == "temprature"
        assert refused.value.facts["session"] == ctx.session_id
    with pytest.raises(exceptions.VariableNotFoundError) as refused:
        await ctx.get_variable("temprature")
    assert refused.value.closest == ["temperature"]


async def test_another_spec_of_an_existing_variable_is_refused(ctx: SessionContext) -> None:
    await ctx.register_variable("x", "float", 1.0)
    with pytest.raises(exceptions.VariableExistsError) as refused:
        await ctx.register_variable("x", "integer", 1)
    assert refused.value.variable == "x"


@pytest.mark.parametrize(
    ("kind", "first", "wrong"),
    [
        ("float", 1.0, True),
        ("float", 1.0, "1"),
        ("integer", 1, 1.0),
        ("integer", 100, "100"),
        ("integer", 1, True),
        ("string", "s", 1),
        ("boolean", True, 1),
        ("list", [], {}),
        ("map", {}, []),
        ("bytes", b"", ""),
        ("float", 1.0, None),
        ("tensor", b"", b""),
    ],
)
async def test_a_value_of_another_type_is_refused(ctx: SessionContext, kind: str, first: Any, wrong: Any) -> None:
    if kind != "tensor":
        await ctx.register_variable("x", kind, first)
        attempt = ctx.set_variable("x", wrong)
    else:
        attempt = ctx.register_variable("x", kind, wrong)
    with pytest.raises(exceptions.TypeMismatchError) as refused:
        await attempt
    assert refused.value.variable == "x"
    assert refused.value.expected
    assert refused.value.got


@pytest.mark.parametrize(
    ("kind", "constraints", "first", "wrong"),
    [
        ("float", {"min": 0.0, "max": 2.0}, 1.0, 2.5),
        ("float", {"min": 0.0, "max": 2.0}, 1.0, 1e30),
        ("float", {"min": 0.0, "max": 2.0}, 1.0, float("nan")),
        ("float", {"min": 0.0, "allow_nan": True}, 1.0, float("inf")),
        ("float", {"max": 2.0, "allow_infinity": True}, 1.0, float("inf")),
        ("float", None, 1.0, float("-inf")),
        ("float", {"min": 0, "exclusive_min": True}, 1.0, 0.0),
        ("integer", {"min": 1, "step": 2}, 3, 4),
        ("string", {"pattern": "[a-z]+"}, "abc", "abc1"),
        ("string", {"max_length": 2}, "ää", "äää"),
        ("choice", {"choices": [1, "b"]}, 1, 1.5),
        ("module", {"modules": ["Predict"]}, "Predict", "predict"),
        ("list", {"max_items": 1}, [1], [1, 2]),
        ("bytes", {"max_length": 1}, b"1", b"12"),
    ],
)
async def test_a_value_outside_its_constraints_is_refused_and_changes_nothing(
    ctx: SessionContext, kind: str, constraints: dict[str, Any] | None, first: Any, wrong: Any
) -> None:
    await ctx.register_variable("x", kind, first, constraints=constraints)
    with pytest.raises(exceptions.ValidationError) as refused:
        await ctx.set_variable("x", wrong)
    assert isinstance(refused.value, exceptions.ConstraintError)
    assert refused.value.variable == "x"
    assert refused.value.constraint
    assert await ctx.get_variable("x") == first


async def test_nan_is_equal_to_nan_and_no_change(ctx: SessionContext) -> None:
    await ctx.register_variable("x", "float", float("nan"), constraints={"allow_nan": True})
    assert not (await ctx.set_variable("x", float("nan"))).changed


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("1x", "float", {}),
        ("a b", "float", {}),
        ("x" * 129, "float", {}),
        ("x", "number", {}),
        ("x", "float", {"constraints": {"minimum": 0}}),
        ("x", "boolean", {"constraints": {"min": 0}}),
        ("x", "float", {"constraints": {"min": 2, "max": 1}}),
        ("x", "string", {"constraints": {"pattern": "("}}),
        ("x", "string", {"constraints": {"pattern": r"(a)\1"}}),
        ("x", "choice", {}),
        ("x", "float", {"reason": "r" * 1025}),
        ("x", "float", {"metadata": {str(index): "" for index in range(65)}}),
    ],
)
async def test_a_malformed_registration_is_refused(
    ctx: SessionContext, name: str, kind: str, options: dict[str, Any]
) -> None:
    with pytest.raises(exceptions.InvalidRequestError) as refused:
        await ctx.register_variable(name, kind, "aaa" if kind == "string" else 1.0, **options)
    assert refused.value.field
    assert await ctx.list_variables() == []


async def test_a_name_twice_in_a_batch_is_refused(ctx: SessionContext) -> None:
    await ctx.register_variable("x", "integer", 1)
    with pytest.raises(exceptions.InvalidRequestError):
        async with ctx.batch_updates() as batch:
            batch.set("x", 2).increment("x")


async def test_an_outdated_expected_version_is_a_conflict(ctx: SessionContext) -> None:
    await ctx.register_variable("x", "integer", 1)
    await ctx.set_variable("x", 2)
    with pytest.raises(exceptions.VersionConflictError) as refused:
        await ctx.set_variable("x", 3, expected_version=1)
    assert (refused.value.variable, refused.value.expected, refused.value.actual) == ("x", 1, 2)


async def test_a_read_only_variable_changes_by_replacement_only(ctx: SessionContext) -> None:
    await ctx.register_variable("x", "integer", 1, read_only=True)
    for attempt in (ctx.set_variable("x", 2), ctx.increment("x"), ctx.delete_variable("x")):
        with pytest.raises(exceptions.VariableReadOnlyError) as refused:
            await attempt
        assert refused.value.variable == "x"
    await ctx.register_variable("x", "integer", 2, read_only=True, replace=True)
    assert await ctx.get_variable("x") == 2


@pytest.mark.parametrize(
    ("limit", "most", "attempt"),
    [
        ("value_bytes", 1000, lambda ctx: ctx.set_variable("x", "x" * 2000)),
        ("variables_per_session", 2, lambda ctx: ctx.set_variables({"a": "a", "b": "b"})),
        ("batch_operations", 3, lambda ctx: ctx.set_variables(dict.fromkeys("abcd", ""))),
        ("message_bytes", 8192, lambda ctx: ctx.set_variable("x", "x" * 10_000)),
    ],
)
async def test_more_than_the_server_accepts_is_refused(
    start_server: Callable[..., LocalServer],
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    most: int,
    attempt: Callable[[SessionContext], Any],
) -> None:
    monkeypatch.setenv(f"SNAKEPIT_LIMIT_{limit.upper()}", str(most))
    async with SessionContext.connect(start_server().address, strict=False) as ctx:
        await ctx.set_variable("x", "x")
        with pytest.raises(exceptions.LimitExceededError) as refused:
            await attempt(ctx)
        assert (refused.value.limit, refused.value.max) == (limit, most)
        assert await ctx.get_variable("x") == "x"


async def test_a_message_too_large_for_grpc_is_refused_before_it_is_sent(ctx: SessionContext) -> None:
    await ctx.register_variable("x", "bytes", b"")
    with pytest.raises(exceptions.LimitExceededError) as refused:
        await ctx.set_variable("x", bytes(33 * 1024 * 1024))
    assert (refused.value.limit, refused.value.max) == ("message_bytes", 32 * 1024 * 1024)


async def test_a_deleted_session_is_not_found_and_nothing_brings_it_back(address: str, session_id: str) -> None:
    async with SessionContext.connect(address, session_id=session_id, strict=False) as ctx:
        await ctx.set_variable("x", 1)
        session_of(ctx).track(["x"])
        session_of(ctx).take()
        end_session(ctx)
        for attempt in (
            ctx.get_variable("x"),
            ctx.set_variable("x", 2),
            ctx.list_variables(),
            ctx.set_variable("y", 2),
        ):
            with pytest.raises(exceptions.SessionNotFoundError) as refused:
                await attempt
            assert refused.value.session == session_id
        with pytest.raises(exceptions.SessionNotFoundError):
            session_of(ctx).take()
    late = SessionContext.connect(address, session_id=session_id, create=False)
    with pytest.raises(exceptions.SessionNotFoundError):
        await late.list_variables()
    await late.aclose()


async def test_another_life_of_the_session_is_expired_for_this_context(address: str, session_id: str) -> None:
    async with SessionContext.connect(address, session_id=session_id, strict=False) as ctx:
        await ctx.set_variable("x", 1)
        end_session(ctx)
        async with SessionContext.connect(address, session_id=session_id) as other:
            await other.register_variable("x", "integer", 5)
            for attempt in (ctx.get_variable("x"), ctx.set_variable("x", 2), ctx.set_variable("y", 2)):
                with pytest.raises(exceptions.SessionExpiredError):
                    await attempt
            assert await other.get_variable("x") == 5
            assert "y" not in other.blocking


async def test_an_expired_session_is_no_missing_variable(address: str, session_id: str) -> None:
    ctx = SessionContext.connect(address, session_id=session_id, ttl=1.0, strict=False)
    await ctx.set_variable("x", 1)
    session = session_of(ctx)

    def find() -> None:
        # GetSession does not keep a session alive.
        request = session_pb2.GetSessionRequest(session_id=session_id)
        finish(session.call(BLOCKING, session.connection.session.GetSession, request))

    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                find()
            except exceptions.SessionExpiredError:
                break
            await asyncio.sleep(0.05)
    for attempt in (ctx.get_variable("x"), ctx.set_variable("x", 2), ctx.set_variable("new", 2)):
        with pytest.raises(exceptions.SessionExpiredError) as refused:
            await attempt
        assert refused.value.session == session_id
    with pytest.raises(exceptions.SessionExpiredError):
        session.take()
    async with SessionContext.connect(address, session_id=session_id) as again:
        assert await again.list_variables() == []
    await ctx.aclose()


async def test_a_server_that_is_not_there_is_told_at_once(start_server: Callable[..., LocalServer]) -> None:
    server = start_server()
    server.close()
    ctx = SessionContext.connect(server.address, timeout=3600)
    for attempt in (ctx.get_variable("x"), ctx.set_variable("x", 1), ctx.list_variables()):
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(exceptions.ServerUnavailableError) as refused:
                await attempt
        assert refused.value.facts["address"] == server.address
    with pytest.raises(exceptions.ServerUnavailableError):
        session_of(ctx).take()
    await ctx.aclose()


async def test_a_server_that_was_lost_is_retried_within_the_timeout(proxy: WireProxy, session_id: str) -> None:
    upstream = proxy.upstream
    async with (
        SessionContext.connect(proxy.address, session_id=session_id, timeout=1.0) as hurried,
        SessionContext.connect(proxy.address, session_id=session_id, timeout=PATIENCE) as patient,
    ):
        await patient.register_variable("n", "integer", 0)
        await until_answered(lambda: hurried.get_variable("n"))
        proxy.upstream = "127.0.0.1:1"
        proxy.cut()
        lost = asyncio.create_task(patient.increment("n"))
        with pytest.raises(exceptions.ServerUnavailableError):
            await hurried.increment("n")
        proxy.upstream = upstream
        assert await lost == 1


async def test_a_write_cut_off_from_its_answer_is_applied_once(proxy: WireProxy, session_id: str) -> None:
    async with SessionContext.connect(proxy.address, session_id=session_id) as ctx:
        await ctx.register_variable("n", "integer", 0)
        for _ in range(20):
            write = asyncio.create_task(ctx.increment("n"))
            sent = proxy.count("WriteVariables")
            while proxy.count("WriteVariables") == sent:  # noqa: ASYNC110
                await asyncio.sleep(0)
            proxy.cut()
            await write
        assert await ctx.get_variable("n") == 20


async def test_a_server_that_does_not_answer_is_a_timeout(
    proxy: WireProxy, session_id: str, blocking: BlockingContext
) -> None:
    blocking.register_variable("x", "integer", 1)
    async with SessionContext.connect(proxy.address, session_id=session_id, timeout=0.3) as ctx:
        await until_answered(lambda: ctx.set_variable("x", 1))
        proxy.freeze()
        for attempt in (ctx.get_variable("x"), ctx.set_variable("x", 2)):
            with pytest.raises(exceptions.CallTimeoutError) as refused:
                await attempt
            assert refused.value.facts["address"] == proxy.address
        with pytest.raises(TimeoutError):
            ctx.blocking.get_variable("x")
        proxy.thaw()
        assert await until_answered(lambda: ctx.get_variable("x")) in {1, 2}


async def test_another_api_version_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "METADATA", (("snakepit-api-version", "2"),))
    ctx = SessionContext.connect(address)
    with pytest.raises(exceptions.VersionUnsupportedError) as refused:
        await ctx.get_variable("x")
    assert (refused.value.facts["server"], refused.value.facts["client"]) == ("1", "2")
    await ctx.aclose()


async def test_a_server_of_another_api_version_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "API_VERSION", 0)
    ctx = SessionContext.connect(address)
    with pytest.raises(exceptions.VersionUnsupportedError) as refused:
        await ctx.get_variable("x")
    facts = refused.value.facts
    assert (facts["server"], facts["server_release"], facts["client_release"]) == ("1", RELEASE, RELEASE)
    # Whoever reads it has to know which one to upgrade.
    assert RELEASE in str(refused.value)
    await ctx.aclose()


async def test_a_call_that_the_server_does_not_know_names_both_releases(ctx: SessionContext) -> None:
    await ctx.list_variables()
    opened = session_of(ctx)
    fold = opened.connection.channel.unary_unary(
        "/snakepit_bridge.v1.VariableService/FoldVariables",
        request_serializer=session_pb2.GetSessionRequest.SerializeToString,
        response_deserializer=session_pb2.GetSessionResponse.FromString,
    )
    with pytest.raises(exceptions.VersionUnsupportedError) as refused:
        await opened.call(ASYNCIO, fold, session_pb2.GetSessionRequest())
    facts = refused.value.facts
    assert (facts["server"], facts["server_release"], facts["client_release"]) == ("older", RELEASE, RELEASE)
    assert RELEASE in str(refused.value)


async def test_a_grpc_server_of_another_kind_is_told_clearly() -> None:
    other = grpc.server(ThreadPoolExecutor(1))
    address = f"127.0.0.1:{other.add_insecure_port('127.0.0.1:0')}"
    other.start()
    ctx = SessionContext.connect(address)
    with pytest.raises(exceptions.ServerUnavailableError) as refused:
        await ctx.get_variable("x")
    assert refused.value.facts["address"] == address
    assert "no snakepit server" in str(refused.value)
    await ctx.aclose()
    other.stop(None).wait()


async def test_an_address_where_something_else_answers_is_told_clearly(
    start_server: Callable[..., LocalServer],
) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    other = await asyncio.start_server(greet, "127.0.0.1", 0)
    address = "{}:{}".format(*other.sockets[0].getsockname())
    ctx = SessionContext.connect(address, timeout=2)
    with pytest.raises(exceptions.BridgeError) as refused:
        await ctx.get_variable("x")
    assert refused.value.facts["address"] == address
    await ctx.aclose()
    other.close()


def test_every_grpc_code_without_a_reason_is_a_bridge_error() -> None:
    class Failed(grpc.RpcError):
        def __init__(self, code: grpc.StatusCode) -> None:
            self._code = code

        def code(self) -> grpc.StatusCode:
            return self._code

        def details(self) -> str:
            return "details"

        def trailing_metadata(self) -> tuple[()]:
            return ()

    for code in grpc.StatusCode:
        error = translate(Failed(code), "host:1", 1.0)
        assert error.facts["address"] == "host:1"
