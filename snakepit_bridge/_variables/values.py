"""Python values to and from the wire's `Value`, exactly.

`True` is a boolean and never a number; integers are 64-bit; floats are doubles (a float32 numpy scalar becomes the
double that equals it); tuples travel as lists; a dict keeps its order; an ndarray travels as its bytes in C order,
little-endian, and comes back as a read-only view of the bytes received.
"""

from __future__ import annotations

import sys
from typing import Any

from snakepit_bridge.exceptions import BridgeError, ConstraintError, InvalidRequestError, TypeMismatchError
from snakepit_bridge.v1 import value_pb2 as pb

# Protobuf parsers give up at 100 nested messages; a level of a map is three, and the rpcs wrap a value in up to five.
# Checking here also ends a list that contains itself.
MAX_DEPTH = 30

_INT64 = range(-(2**63), 2**63)

_DTYPES: dict[str, pb.Dtype.ValueType] = {
    "bool": pb.DTYPE_BOOL,
    "int8": pb.DTYPE_INT8,
    "int16": pb.DTYPE_INT16,
    "int32": pb.DTYPE_INT32,
    "int64": pb.DTYPE_INT64,
    "uint8": pb.DTYPE_UINT8,
    "uint16": pb.DTYPE_UINT16,
    "uint32": pb.DTYPE_UINT32,
    "uint64": pb.DTYPE_UINT64,
    "float16": pb.DTYPE_FLOAT16,
    "float32": pb.DTYPE_FLOAT32,
    "float64": pb.DTYPE_FLOAT64,
    "complex64": pb.DTYPE_COMPLEX64,
    "complex128": pb.DTYPE_COMPLEX128,
}
_DTYPE_NAMES: dict[pb.Dtype.ValueType, str] = {number: name for name, number in _DTYPES.items()}


def encode(value: object, name: str = "") -> pb.Value:
    """Puts a Python value on the wire. `name` is the variable meant, for errors.

    Raises:
        TypeMismatchError: the value, or one inside it, is of no type the wire knows.
        ConstraintError: an integer does not fit 64 bits.
        InvalidRequestError: the value nests deeper than 30 levels, or its text is not valid Unicode.
    """
    message = pb.Value()
    encode_into(message, value, name)
    return message


def encode_into(message: pb.Value, value: object, name: str = "") -> None:
    """Puts a Python value into an empty message; raises like `encode`, and then leaves half of it there."""
    try:
        _encode_into(message, value, name, MAX_DEPTH)
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"text for {name or 'a value'} holds a lone surrogate at position {error.start}, "
            "which UTF-8 cannot carry; decode the text properly or send bytes",
            {"field": "value", "variable": name},
        ) from None


def _encode_into(message: pb.Value, value: object, name: str, depth: int) -> None:
    if value is None:
        message.null_value = 0  # type: ignore[assignment]  # google.protobuf.NULL_VALUE
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, int):
        message.int64_value = _int64(int(value), name)
    elif isinstance(value, float):
        message.double_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif isinstance(value, (bytes, bytearray, memoryview)):
        message.bytes_value = bytes(value)
    elif isinstance(value, (list, tuple)):
        _nest(name, depth)
        message.list_value.SetInParent()
        for item in value:
            _encode_into(message.list_value.items.add(), item, name, depth - 1)
    elif isinstance(value, dict):
        _nest(name, depth)
        message.map_value.SetInParent()
        for key, item in value.items():
            if not isinstance(key, str):
                raise _not_wireable(key, name, "a map key has to be text")
            _encode_into(message.map_value.entries.add(key=key).value, item, name, depth - 1)
    else:
        _encode_numpy(message, value, name)


def _nest(name: str, depth: int) -> None:
    if depth == 0:
        raise InvalidRequestError(
            f"the value for {name or 'a variable'} nests deeper than {MAX_DEPTH} levels; flatten it",
            {"field": "value", "variable": name},
        )


def _int64(value: int, name: str) -> int:
    if value not in _INT64:
        raise ConstraintError(
            f"{value} does not fit a 64-bit integer (-2**63 to 2**63-1); use a float or text for {name or 'it'}",
            {"variable": name, "constraint": "int64", "value": value},
        )
    return value


def _not_wireable(value: object, name: str, hint: str) -> TypeMismatchError:
    kind = type(value)
    got = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return TypeMismatchError(
        f"cannot send a {got}{f' as {name}' if name else ''}: {hint}",
        {"variable": name, "expected": "a wire value", "got": got},
    )


def _encode_numpy(message: pb.Value, value: object, name: str) -> None:
    # Never imported for this: without numpy loaded, no value can be numpy's.
    numpy = sys.modules.get("numpy")
    hint = (
        "values are None, bool, int, float, str, bytes, list, tuple, dict with text keys, and numpy arrays and scalars"
    )
    if numpy is None:
        raise _not_wireable(value, name, hint)
    if isinstance(value, numpy.bool_):
        message.bool_value = bool(value)
    elif isinstance(value, numpy.integer):
        message.int64_value = _int64(int(value), name)
    elif isinstance(value, numpy.floating):
        exact = float(value)
        if exact != value and not numpy.isnan(value):
            raise _not_wireable(value, name, "it has more digits than a double; convert it with float()")
        message.double_value = exact
    elif isinstance(value, numpy.ndarray):
        dtype = _DTYPES.get(value.dtype.name)
        if dtype is None:
            raise _not_wireable(value, name, f"dtype {value.dtype} has no place on the wire; use {', '.join(_DTYPES)}")
        array = message.ndarray_value
        array.dtype = dtype
        array.shape.extend(value.shape)
        array.data = value.astype(value.dtype.newbyteorder("<"), order="C", copy=False).tobytes(order="C")
    else:
        raise _not_wireable(value, name, hint)


def decode(message: pb.Value) -> Any:
    """Takes a Python value off the wire.

    Raises:
        BridgeError: the value is an array and numpy is not installed, or it is of a kind this client does not know.
    """
    kind = message.WhichOneof("kind")
    if kind == "list_value":
        return [decode(item) for item in message.list_value.items]
    if kind == "map_value":
        return {entry.key: decode(entry.value) for entry in message.map_value.entries}
    if kind == "ndarray_value":
        return _decode_ndarray(message.ndarray_value)
    if kind == "null_value":
        return None
    if kind is None:
        raise BridgeError("the server sent a value of a kind this client does not know; upgrade snakepit-bridge")
    return getattr(message, kind)


def _decode_ndarray(message: pb.NdArray) -> Any:
    try:
        import numpy as np
    except ImportError:
        raise BridgeError("the value is an array, which needs numpy: pip install numpy") from None
    dtype = _DTYPE_NAMES.get(message.dtype)
    if dtype is None:
        raise BridgeError("the server sent an array of a dtype this client does not know; upgrade snakepit-bridge")
    array = np.frombuffer(message.data, np.dtype(dtype).newbyteorder("<"))
    return array.reshape(tuple(message.shape))


def dtype_number(name: str) -> pb.Dtype.ValueType:
    """The wire's number of a dtype's name; KeyError if there is none."""
    return _DTYPES[name]


def dtype_name(number: pb.Dtype.ValueType) -> str:
    """The name of a wire dtype; "" if unspecified, "dtype 15" for one that this client does not know."""
    return _DTYPE_NAMES.get(number, f"dtype {number}" if number else "")


def dtype_names() -> tuple[str, ...]:
    """Every dtype's name."""
    return tuple(_DTYPES)
