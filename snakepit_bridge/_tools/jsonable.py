"""Arguments and results of tools as plain data, which the wire carries.

What `values` sends as it is stays as it is: numbers, text, bytes, arrays, lists, dicts. Beyond that: a pydantic model
is its `model_dump` by alias; a dataclass, the dict of its fields; an enum's member, its value; a set, a list; dates and
times, ISO 8601 text; UUID, Decimal and Path, text; keys of a dict that are numbers, enum members or dates, text.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import deque
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from snakepit_bridge._variables.values import MAX_DEPTH, encode, encode_into
from snakepit_bridge.exceptions import InvalidRequestError, TypeMismatchError
from snakepit_bridge.v1 import value_pb2 as pb

_BARE = (bool, int, float, str, bytes, bytearray, memoryview)


def put(message: pb.Value, value: object, path: str) -> None:
    """Puts an argument or a result into an empty message. `path` says which, for errors.

    Raises:
        TypeMismatchError: it, or something in it, is no data; the message names the place.
        ConstraintError, InvalidRequestError: an integer beyond 64 bits, more than 30 levels, text that is no Unicode.
    """
    try:
        encode_into(message, value, path)
    except (TypeMismatchError, ValueError):
        # Rarely needed, hence only now: finds what is to be converted, or else where the fault is.
        plain = to_plain(value, path)
        message.Clear()
        encode_into(message, plain, path)


def to_plain(value: Any, path: str, depth: int = MAX_DEPTH) -> Any:
    """The value as plain data; raises like `put`."""
    if isinstance(value, Enum):
        return to_plain(value.value, path, depth)
    # Never imported for this: without pydantic loaded, no value can be one of its models.
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        return to_plain(value.model_dump(mode="python", by_alias=True, warnings=False), path, depth)
    text = _text(value)
    if text is not None:
        return text
    inner = None if isinstance(value, _BARE) else _contents(value)
    if inner is None:
        # What is left is sent as it is, if at all.
        encode(value, path)
        return value
    if depth == 0:
        raise InvalidRequestError(f"{path} nests deeper than {MAX_DEPTH} levels; flatten it", {"field": path})
    if isinstance(inner, Mapping):
        return _entries(inner, path, depth - 1)
    return [to_plain(item, f"{path}[{index}]", depth - 1) for index, item in enumerate(inner)]


def _entries(mapping: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for key, item in mapping.items():
        named = _key(key, path)
        if named in entries:
            raise TypeMismatchError(
                f"cannot send {path}: two of its keys are {named!r} as text",
                {"field": path, "expected": "keys that differ as text", "got": named},
            )
        entries[named] = to_plain(item, f"{path}[{named!r}]", depth)
    return entries


def _contents(value: Any) -> Any:
    """What a container holds, as a Mapping or an iterable; None for what is no container."""
    if isinstance(value, (Mapping, list, tuple, AbstractSet, deque)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _text(value: object) -> str | None:
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        sign, length = ("-", -value) if value < timedelta() else ("", value)
        microseconds = f".{length.microseconds:06}".rstrip("0") if length.microseconds else ""
        return f"{sign}P{length.days}DT{length.seconds}{microseconds}S"
    if isinstance(value, (UUID, Decimal, PurePath)):
        return str(value)
    return None


def _key(key: object, path: str) -> str:
    plain = key.value if isinstance(key, Enum) else key
    if isinstance(plain, bool):
        return str(plain).lower()
    if isinstance(plain, (str, int, float)):
        return str(plain)
    text = _text(plain)
    if text is not None:
        return text
    raise TypeMismatchError(
        f"cannot send {path}: a {type(key).__qualname__} is one of its keys, and keys are text; use str(key)",
        {"field": path, "expected": "text as keys", "got": type(key).__qualname__},
    )
