"""numpy's arrays and scalars. numpy is never imported to write: without it loaded, no value can be numpy's."""

from __future__ import annotations

import math
import re
import sys
from typing import Any

from snakepit_bridge._variables.values import dtype_names
from snakepit_bridge.dspy_integration.serialization.python_types import from_base64, to_base64
from snakepit_bridge.dspy_integration.serialization.walk import Form, Members, Writer

_MAX_DIMENSIONS = 64
_MAX_CODE_POINT = 0x10FFFF

_TIMES = re.compile(r"(datetime64|timedelta64)(\[[0-9A-Za-z]{1,12}\])?")
_TEXTS = re.compile("[SU][1-9][0-9]{0,8}")

_SCALARS: dict[str, tuple[type, ...]] = {
    "b": (bool,),
    "i": (int,),
    "u": (int,),
    "f": (int, float),
    "c": (int, float, complex),
    "m": (int,),
    "M": (int,),
    "U": (str,),
    "S": (bytes,),
}
"""What a scalar of each kind of dtype is written as. Who has no integers apart from floats may write 1 for 1.0."""


def form_of(kind: type) -> Form | None:
    """The form of a numpy class."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if kind is numpy.ndarray:
        return _ARRAY
    return _SCALAR if issubclass(kind, numpy.generic) else None


def _name_of(out: Writer, dtype: Any) -> str:
    """The dtype's name: `float64`, `datetime64[ns]`, `U5`."""
    name: str = dtype.str[1:] if dtype.kind in "SU" else dtype.name
    if not _known(name):
        out.refuse(
            f"has the dtype {dtype}, of which the bytes mean nothing elsewhere; use tolist(), or one of "
            f"{', '.join(dtype_names())}, datetime64, timedelta64, S, U",
            type=type(dtype),
        )
    return name


def _known(name: str) -> bool:
    return name in dtype_names() or bool(_TIMES.fullmatch(name) or _TEXTS.fullmatch(name))


def _write_array(out: Writer, array: Any) -> dict[str, Any]:
    name = _name_of(out, array.dtype)
    data = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False).tobytes(order="C")
    return {"dtype": name, "shape": list(array.shape), "base64": to_base64(data)}


def _read_array(members: Members) -> Any:
    import numpy as np

    dtype = _dtype_in(members)
    shape = members.raw("shape", list)
    if len(shape) > _MAX_DIMENSIONS or not all(type(n) is int and 0 <= n < 2**63 for n in shape):
        members.refuse("has a shape that is not a short list of lengths")
    data = from_base64(members, length=math.prod(shape) * dtype.itemsize)
    if dtype.kind == "b" and data.strip(b"\0\1"):
        members.refuse("has bytes that are neither 0 nor 1")
    if dtype.kind == "U" and data and np.frombuffer(data, "<u4").max() > _MAX_CODE_POINT:
        members.refuse("has text that is not Unicode")
    # A copy: what was dumped could be written to, and the bytes cannot.
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(tuple(shape))


def _dtype_in(members: Members) -> Any:
    import numpy as np

    name = members.raw("dtype", str)
    if not _known(name):
        members.refuse("has a dtype that is none of those an envelope may hold")
    return np.dtype(name)


def _write_scalar(out: Writer, scalar: Any) -> dict[str, Any]:
    kind = scalar.dtype.kind
    if kind in "SU":
        return {"dtype": kind, "value": out.at(".value", _SCALARS[kind][0](scalar))}
    name = _name_of(out, scalar.dtype)
    return {"dtype": name, "value": out.at(".value", scalar.view("int64").item() if kind in "mM" else scalar.item())}


def _read_scalar(members: Members) -> Any:
    import numpy as np

    if members.raw("dtype", str) in {"S", "U"}:
        dtype = np.dtype(members.raw("dtype", str))
        return dtype.type(members.value("value", *_SCALARS[dtype.kind]))
    dtype = _dtype_in(members)
    value = members.value("value", *_SCALARS.get(dtype.kind, ()))
    if dtype.kind in "mM":
        return np.int64(value).view(dtype)
    with np.errstate(all="ignore"):
        made = dtype.type(value)
    if made.item() != value and not _is_nan(value):
        members.refuse(f"has a value that {dtype.name} cannot hold")
    return made


def _is_nan(value: complex) -> bool:
    return value != value  # noqa: PLR0124 - true of any NaN, a complex one too


_ARRAY = Form("ndarray", (), _write_array, _read_array, "dtype shape base64")
_SCALAR = Form("numpy", (), _write_scalar, _read_scalar, "dtype value")

FORMS = (_ARRAY, _SCALAR)
