"""Arguments and results as plain data."""

from __future__ import annotations

import dataclasses
import enum
import threading
from collections import OrderedDict, deque
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakepit_bridge._tools.jsonable import put
from snakepit_bridge._variables.values import decode
from snakepit_bridge.exceptions import BridgeError, ConstraintError, InvalidRequestError, TypeMismatchError
from snakepit_bridge.v1 import value_pb2 as pb


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Text(enum.StrEnum):
    A = "a"


class Filter(pydantic.BaseModel):
    tags: set[str] = set()
    when: datetime | None = None
    most: int = pydantic.Field(default=3, alias="atMost")


class Numbers(pydantic.RootModel[list[int]]):
    pass


@dataclasses.dataclass
class Place:
    city: str
    colour: Colour
    filter: Filter


class Pair(NamedTuple):
    a: int
    b: str


def sent(value: Any) -> Any:
    message = pb.Value()
    put(message, value, "result")
    return decode(message)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Colour.RED, "red"),
        (Level.LOW, 1),
        (Text.A, "a"),
        (Filter(tags={"x"}), {"tags": ["x"], "when": None, "atMost": 3}),
        (Numbers([1, 2]), [1, 2]),
        (
            Place("Rome", Colour.RED, Filter(when=datetime(2026, 1, 2, tzinfo=UTC))),
            {
                "city": "Rome",
                "colour": "red",
                "filter": {"tags": [], "when": "2026-01-02T00:00:00+00:00", "atMost": 3},
            },
        ),
        (Pair(1, "b"), [1, "b"]),
        ({1}, [1]),
        (frozenset({"a"}), ["a"]),
        (deque([1, 2]), [1, 2]),
        (OrderedDict(b=1, a=Colour.RED), {"b": 1, "a": "red"}),
        (MappingProxyType({"a": (1, 2)}), {"a": [1, 2]}),
        (date(2026, 1, 2), "2026-01-02"),
        (time(1, 2), "01:02:00"),
        (timedelta(days=1, seconds=2, microseconds=500), "P1DT2.0005S"),
        (-timedelta(seconds=3), "-P0DT3S"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.50"), "1.50"),
        (PurePosixPath("a/b"), "a/b"),
        (
            {3: "int", 2.5: "float", True: "bool", Colour.RED: "enum", date(2026, 1, 2): "date"},
            {"3": "int", "2.5": "float", "true": "bool", "red": "enum", "2026-01-02": "date"},
        ),
    ],
)
def test_it_is_made_plain(value: Any, plain: Any) -> None:
    assert sent([{"deep": value}, value]) == [{"deep": plain}, plain]


def test_a_duration_can_be_read_back() -> None:
    for span in (timedelta(days=-2, microseconds=1), timedelta(weeks=3, milliseconds=5), timedelta()):
        assert pydantic.TypeAdapter(timedelta).validate_python(sent([{1}, span])[1]) == span


def test_arrays_and_bytes_stay_what_they_are_beside_what_is_made_plain() -> None:
    array, data, colour = sent([np.arange(6).reshape(2, 3), b"\x00\xff", Colour.RED])
    assert (array.dtype, array.shape, data, colour) == (np.dtype("int64"), (2, 3), b"\x00\xff", "red")


@pytest.mark.parametrize(
    ("value", "kind", "place"),
    [
        (threading.Lock(), TypeMismatchError, "result"),
        ({"a": [1, {"b": object()}]}, TypeMismatchError, "result['a'][1]['b']"),
        ([{1: 2, "1": 3}], TypeMismatchError, "result[0]"),
        ({None: 1}, TypeMismatchError, "result"),
        ({"a": (n for n in [1])}, TypeMismatchError, "result['a']"),
        ([pydantic.SecretStr("hidden")], TypeMismatchError, "result[0]"),
        ([1, {"x": 2**63}], ConstraintError, "result[1]['x']"),
        ([1, "\ud800"], InvalidRequestError, "result[1]"),
        ([np.zeros(1, dtype="datetime64[s]")], TypeMismatchError, "result[0]"),
        (Place, TypeMismatchError, "result"),
    ],
)
def test_what_is_no_data_is_refused_with_its_place(value: Any, kind: type[BridgeError], place: str) -> None:
    with pytest.raises(kind) as refused:
        sent(value)
    assert place in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_what_nests_too_deep_or_in_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = Colour.RED
    for _ in range(31):
        deep = {"d": deep}
    for value in (endless, deep):
        with pytest.raises(InvalidRequestError):
            sent(value)
    assert sent(deep["d"])["d"]["d"]


_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(_plain)
def test_plain_data_comes_back_exactly_beside_what_is_made_plain(value: Any) -> None:
    assert sent(value) == value
    assert sent([Colour.RED, value]) == ["red", value]
