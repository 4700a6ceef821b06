"""Requests that no client of ours would send: each is a documented error, and the server lives."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from snakepit_bridge import BlockingContext, SessionContext
from snakepit_bridge._client.grpc_errors import translate
from snakepit_bridge.exceptions import (
    ConstraintError,
    InvalidRequestError,
    LimitExceededError,
    TypeMismatchError,
    VariableNotFoundError,
)
from snakepit_bridge.v1 import value_pb2, variable_pb2
from snakepit_bridge.v1 import variable_pb2 as pb
from tests.support.waiting import PATIENCE

# It makes connections of its own, in the open.
pytestmark = pytest.mark.transport("open")

Send = Callable[[str, bytes], bytes]

UNKNOWN: Any = 99
"""A number that no enum of the protocol has."""
TRUE = value_pb2.Value(bool_value=True)


@pytest.fixture
def send(address: str, blocking: BlockingContext) -> Iterator[Send]:
    """Sends raw bytes as a request to an rpc of the VariableService; afterwards the server still has to work."""
    blocking.register_variable("x", "map", {"a": 1})
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(address, options=options) as channel:

        def call(method: str, raw: bytes) -> bytes:
            rpc: Any = channel.unary_unary(f"/snakepit_bridge.v1.VariableService/{method}")
            try:
                return bytes(rpc(raw, timeout=PATIENCE))
            except grpc.RpcError as error:
                raise translate(error, address, 20) from None

        yield call
    assert blocking["x"] == {"a": 1}


def write(session: str, value: value_pb2.Value, name: str = "x") -> bytes:
    operation = pb.Operation(name=name, set=pb.SetOperation(value=value))
    return pb.WriteVariablesRequest(session_id=session, operations=[operation]).SerializeToString()


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field."""
    size, length = b"", len(payload)
    while length >= 128:
        size += bytes([length % 128 | 128])
        length //= 128
    return bytes([number << 3 | 2]) + size + bytes([length]) + payload


def nested(levels: int) -> bytes:
    """A Value that is a map in a map in a map …; protobuf's own writers refuse to go this deep."""
    value = b"\x10\x01"
    for _ in range(levels):
        value = field(8, field(1, field(1, b"a") + field(2, value)))
    return value


@pytest.mark.parametrize("raw", [pickle.dumps({"a": [1]}), b"\xff" * 100, b"\x0a\x05ab", bytes(10)])
def test_bytes_that_are_no_request_are_refused(send: Send, raw: bytes) -> None:
    for method in ("WriteVariables", "GetVariables", "SyncVariables", "ListVariables"):
        with pytest.raises(InvalidRequestError):
            send(method, raw)


@pytest.mark.parametrize("levels", [33, 40, 100, 3_000])
def test_deep_nesting_is_refused(send: Send, session_id: str, levels: int) -> None:
    operation = field(1, b"x") + field(4, field(1, nested(levels)))
    with pytest.raises((InvalidRequestError, ConstraintError)):
        send("WriteVariables", field(1, session_id.encode()) + field(3, operation))


def test_an_oversize_message_is_refused(send: Send, session_id: str) -> None:
    with pytest.raises(LimitExceededError) as refused:
        send("WriteVariables", write(session_id, value_pb2.Value(bytes_value=bytes(33 * 2**20))))
    assert refused.value.limit == "message_bytes"


def test_an_oversize_value_is_refused(send: Send, session_id: str, blocking: BlockingContext) -> None:
    blocking.register_variable("b", "bytes", b"")
    with pytest.raises(LimitExceededError) as refused:
        send("WriteVariables", write(session_id, value_pb2.Value(bytes_value=bytes(17 * 2**20)), "b"))
    assert refused.value.limit == "value_bytes"


def test_text_that_is_not_utf_8_is_refused(send: Send, session_id: str) -> None:
    value = field(5, b"\xff\xfe")
    operation = field(1, b"x") + field(4, field(1, value))
    with pytest.raises(InvalidRequestError):
        send("WriteVariables", field(1, session_id.encode()) + field(3, operation))
    with pytest.raises(InvalidRequestError):
        send("GetVariables", field(1, session_id.encode()) + field(3, b"\xff"))


@pytest.mark.parametrize(
    "operation",
    [
        pb.Operation(name="y"),
        pb.Operation(name="y", register=pb.RegisterOperation(spec=pb.VariableSpec(type=UNKNOWN), value=TRUE)),
        pb.Operation(name="y", register=pb.RegisterOperation(value=TRUE)),
        pb.Operation(name="x", set=pb.SetOperation()),
        pb.Operation(name="x", set=pb.SetOperation(value=value_pb2.Value())),
        pb.Operation(name="\0", delete=pb.DeleteOperation()),
    ],
)
def test_what_the_protocol_leaves_open_is_refused(send: Send, session_id: str, operation: pb.Operation) -> None:
    request = pb.WriteVariablesRequest(session_id=session_id, operations=[operation])
    with pytest.raises((InvalidRequestError, VariableNotFoundError)):
        send("WriteVariables", request.SerializeToString())


@pytest.mark.parametrize(
    "array",
    [
        value_pb2.NdArray(dtype=UNKNOWN, shape=[1], data=b"1"),
        value_pb2.NdArray(shape=[1], data=b"1"),
        value_pb2.NdArray(dtype=value_pb2.DTYPE_FLOAT64, shape=[2], data=bytes(8)),
        value_pb2.NdArray(dtype=value_pb2.DTYPE_FLOAT64, shape=[2**32, 2**32], data=b""),
        value_pb2.NdArray(dtype=value_pb2.DTYPE_FLOAT64, shape=[2**64 - 1], data=bytes(8)),
        value_pb2.NdArray(dtype=value_pb2.DTYPE_BOOL, shape=[1], data=b"\x02"),
    ],
)
def test_an_array_that_does_not_add_up_is_refused(send: Send, session_id: str, array: value_pb2.NdArray) -> None:
    with pytest.raises((InvalidRequestError, TypeMismatchError)):
        send("WriteVariables", write(session_id, value_pb2.Value(ndarray_value=array)))


def test_a_key_twice_in_a_map_is_refused(send: Send, session_id: str) -> None:
    entry = value_pb2.MapEntry(key="a", value=value_pb2.Value(bool_value=True))
    with pytest.raises(InvalidRequestError):
        send(
            "WriteVariables",
            write(session_id, value_pb2.Value(map_value=value_pb2.MapValue(entries=[entry, entry]))),
        )


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("SyncVariables", {"known_revision": 2**63}),
        ("SyncVariables", {"incarnation": b"short"}),
        ("GetVariables", {}),
        ("GetVariables", {"names": [f"v{index}" for index in range(1001)]}),
        ("ListVariables", {"page_size": 1001}),
        ("ListVariables", {"page_token": "nonsense"}),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    send: Send, session_id: str, method: str, request_: dict[str, Any]
) -> None:
    kind = getattr(variable_pb2, f"{method}Request")
    with pytest.raises(InvalidRequestError) as refused:
        send(method, kind(session_id=session_id, **request_).SerializeToString())
    assert refused.value.field


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){20}", "a{1000}{1000}"])
async def test_a_pattern_made_to_stall_stalls_nobody(ctx: SessionContext, pattern: str) -> None:
    try:
        await ctx.register_variable("p", "string", "a", constraints={"pattern": pattern})
    except (InvalidRequestError, ValueError):
        return
    with pytest.raises(ValueError):  # noqa: PT011
        await ctx.set_variable("p", "a" * 50_000 + "!")


async def test_a_glob_is_anchored_and_nothing_in_it_is_a_regex(ctx: SessionContext) -> None:
    for name in ("ab", "abc", "a.c", "xab"):
        await ctx.register_variable(name, "integer", 1)
    assert [variable.name for variable in await ctx.list_variables("ab")] == ["ab"]
    assert [variable.name for variable in await ctx.list_variables("a.c")] == ["a.c"]
    assert [variable.name for variable in await ctx.list_variables("a?c")] == ["a.c", "abc"]
    assert [variable.name for variable in await ctx.list_variables("a*")] == ["a.c", "ab", "abc"]
    assert [variable.name for variable in await ctx.list_variables("[a]b")] == []
