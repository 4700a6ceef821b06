"""Values: Python to the wire and back, exactly."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from snakepit_bridge import BlockingContext
from snakepit_bridge._variables.values import MAX_DEPTH, decode, dtype_names, encode
from snakepit_bridge.exceptions import ConstraintError, InvalidRequestError, TypeMismatchError
from snakepit_bridge.v1 import value_pb2 as pb

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | _TEXT | st.binary(max_size=20)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)
_ARRAYS = hnp.arrays(
    dtype=st.sampled_from(dtype_names()).map(np.dtype), shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)
)


def _same(one: Any, other: Any) -> bool:
    """Equal with types, order of keys and bits of floats."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack("<d", one) == struct.pack("<d", other)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)


def _wire(value: Any) -> Any:
    return decode(pb.Value.FromString(encode(value).SerializeToString()))


@given(_VALUES)
def test_every_value_comes_back_as_it_went(value: Any) -> None:
    assert _same(_wire(value), value)


@given(_ARRAYS)
def test_every_array_comes_back_with_dtype_shape_and_bits(array: np.ndarray[Any, Any]) -> None:
    back = _wire(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@given(_ARRAYS.filter(lambda array: array.ndim == 2))
def test_memory_layout_and_byte_order_do_not_travel(array: np.ndarray[Any, Any]) -> None:
    for strange in (array.T, np.asfortranarray(array), array[::-1], array.astype(array.dtype.newbyteorder(">"))):
        back = _wire(strange)
        assert back.dtype.newbyteorder("=") == array.dtype
        assert back.astype(array.dtype).tobytes() == strange.astype(array.dtype).tobytes()


def test_an_array_comes_back_as_a_read_only_view_without_a_copy() -> None:
    back = _wire(np.arange(6.0).reshape(2, 3))
    assert not back.flags.writeable
    assert not back.flags.owndata


def test_an_array_travels_at_about_its_raw_size() -> None:
    assert len(encode(np.random.default_rng(0).random((100, 100))).SerializeToString()) < 80_000 + 50


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        (np.bool_(True), True),
        (np.int8(-3), -3),
        (np.uint64(7), 7),
        (np.float32(0.1), 0.10000000149011612),
        (np.float16(0.5), 0.5),
        (np.float64(0.1), 0.1),
    ],
)
def test_a_numpy_scalar_becomes_the_python_value_that_equals_it(scalar: Any, value: Any) -> None:
    assert _same(_wire(scalar), value)


def test_a_tuple_is_a_list_and_true_is_never_a_number() -> None:
    assert _same(_wire((True, 1, 1.0)), [True, 1, 1.0])
    assert encode(True).WhichOneof("kind") == "bool_value"
    assert encode(np.True_).WhichOneof("kind") == "bool_value"


@pytest.mark.parametrize("integer", [2**63, -(2**63) - 1, np.uint64(2**63)])
def test_an_integer_beyond_64_bits_is_refused(integer: Any) -> None:
    with pytest.raises(ConstraintError) as refused:
        encode(integer, "n")
    assert (refused.value.variable, refused.value.constraint) == ("n", "int64")


@pytest.mark.parametrize(
    "value", [object(), {1: 2}, {"a": {(): 1}}, {1, 2}, np.array(["a"]), np.array([object()]), 1j, np.complex64(1)]
)
def test_what_the_wire_cannot_hold_is_a_type_mismatch(value: Any) -> None:
    with pytest.raises(TypeMismatchError) as refused:
        encode(value, "x")
    assert refused.value.variable == "x"
    assert refused.value.got


def test_nesting_beyond_the_limit_and_a_list_inside_itself_are_refused() -> None:
    deep = _nested(MAX_DEPTH)
    assert _same(_wire(deep), deep)
    endless: list[Any] = []
    endless.append(endless)
    for value in ([deep], endless):
        with pytest.raises(InvalidRequestError) as refused:
            encode(value)
        assert refused.value.field == "value"


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"": value}
    return value


def test_the_deepest_value_passes_every_rpc(blocking: BlockingContext) -> None:
    deep = _nested(MAX_DEPTH)
    blocking.register_variable("deep", "map", deep)
    assert blocking.get_variable("deep") == deep
    assert blocking.list_variables()[0].value == deep
    assert blocking.history("deep")[0].value == deep
    with blocking.watch_variables("deep") as watch:
        assert next(watch).value == deep
        blocking.set_variable("deep", {"": deep[""], "a": 1})
        assert next(watch).value == {"": deep[""], "a": 1}
    session = blocking._session
    session.track(["deep"])
    assert session.take().variables["deep"].value[""] == deep[""]


@pytest.mark.parametrize("value", ["\ud800", ["\udfff"], {"\ud800": 1}])
def test_text_that_is_not_unicode_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequestError):
        encode(value)


@given(_VALUES.filter(lambda value: not _nans(value)))
def test_equal_means_equal_on_the_wire(value: Any) -> None:
    assert encode(value) == encode(_wire(value))


def _nans(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    if isinstance(value, dict):
        return any(map(_nans, value.values()))
    return isinstance(value, list) and any(map(_nans, value))


def test_a_mirrored_value_equals_one_just_read_tensors_included(blocking: BlockingContext) -> None:
    matrix = np.random.default_rng(1).standard_normal((100, 100))
    blocking.register_variable("tensor", "tensor", matrix)
    blocking.register_variable("list", "list", [1, 1.0, True, None, "ä", b"\0", {"b": 1, "a": [2**63 - 1]}])
    session = blocking._session
    session.track(["tensor", "list"])
    mirrored = session.take().variables
    assert mirrored["tensor"].value.tobytes() == matrix.tobytes()
    assert mirrored["tensor"].value.dtype == matrix.dtype
    assert blocking.get_variable("tensor").tobytes() == matrix.tobytes()
    assert _same(mirrored["list"].value, blocking.get_variable("list"))


@pytest.mark.parametrize("integer", [2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)])
def test_integers_beyond_2_to_the_53_are_exact_on_the_server(blocking: BlockingContext, integer: int) -> None:
    blocking.register_variable("n", "integer", integer)
    assert blocking.get_variable("n") == integer
    assert blocking.list_variables()[0].value == integer


def test_an_integer_beyond_2_to_the_53_is_no_float(blocking: BlockingContext) -> None:
    blocking.register_variable("t", "float", 2**53)
    assert _same(blocking.get_variable("t"), float(2**53))
    with pytest.raises((TypeMismatchError, ConstraintError)):
        blocking.set_variable("t", 2**53 + 1)
