"""Values of Python itself that JSON cannot say, or not exactly."""

from __future__ import annotations

import json
import math
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import networks

from snakepit_bridge.dspy_integration.serialization.walk import Form, Members, Writer

_MAX_DIGITS = 4300
"""Digits of an integer: what Python reads from text unless told otherwise, as longer ones take quadratic time."""

_TOO_LARGE = 10**_MAX_DIGITS
_INTEGER = re.compile(f"-?[0-9]{{1,{_MAX_DIGITS}}}")

_URLS: dict[str, Any] = {name: getattr(networks, name) for name in networks.__all__ if name.endswith(("Url", "Dsn"))}


def to_base64(data: bytes) -> str:
    """Bytes as text: the standard alphabet, padded."""
    return b64encode(data).decode("ascii")


def from_base64(members: Members, *, length: int | None = None) -> bytes:
    """The bytes of a member `base64`; refused unless there are `length` of them."""
    data = b64decode(members.raw("base64", str), validate=True)
    if length is not None and len(data) != length:
        members.refuse(f"holds {len(data)} bytes, not {length}")
    return data


def _write_text(_: Writer, value: str) -> dict[str, Any]:
    return {"base64": to_base64(value.encode("utf-8", "surrogatepass"))}


def _read_text(members: Members) -> str:
    return from_base64(members).decode("utf-8", "surrogatepass")


def _write_integer(out: Writer, value: int) -> dict[str, Any]:
    if abs(value) >= _TOO_LARGE:
        out.refuse(f"is an integer of more than {_MAX_DIGITS} digits; dump its bytes", type=int)
    return {"value": str(value)}


def _read_integer(members: Members) -> int:
    text = members.raw("value", str)
    if not _INTEGER.fullmatch(text):
        members.refuse(f"has no decimal number of at most {_MAX_DIGITS} digits")
    return int(text)


_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _write_float(_: Writer, value: float) -> dict[str, Any]:
    return {"value": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}


def _read_float(members: Members) -> float:
    # A new object each: two NaNs that are keys of one dict are the same key if they are the same object.
    return float(str(_FLOATS[members.raw("value", str)]))


def _write_complex(out: Writer, value: complex) -> dict[str, Any]:
    return {"real": out.at(".real", value.real), "imag": out.at(".imag", value.imag)}


def _read_complex(members: Members) -> complex:
    return complex(members.value("real", int, float), members.value("imag", int, float))


def _write_dict(out: Writer, value: dict[Any, Any]) -> dict[str, Any]:
    return {
        "items": [
            [out.at(f".items[{index}][0]", key), out.at(f".items[{index}][1]", item)]
            for index, (key, item) in enumerate(value.items())
        ]
    }


def _read_dict(members: Members) -> dict[Any, Any]:
    pairs = members.raw("items", list)
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):  # noqa: PLR2004 - key and value
        members.refuse("has items that are not all [key, value]")
    at = members.reader.at
    made = {at(f".items[{i}][0]", key): at(f".items[{i}][1]", item) for i, (key, item) in enumerate(pairs)}
    if len(made) != len(pairs):
        members.refuse("has a key twice")
    return made


def _write_items(out: Writer, value: Any) -> dict[str, Any]:
    return {"items": out.each(".items", value)}


def _write_set(out: Writer, value: Any) -> dict[str, Any]:
    # Sorted, because the order of a set differs from process to process, and equal sets should be equal envelopes.
    return {"items": sorted(out.each(".items", value), key=json.dumps)}


def _collection(kind: type, write: Callable[[Writer, Any], dict[str, Any]]) -> Form:
    return Form(kind.__name__, (kind,), write, lambda members: kind(members.values("items")), "items")


def _write_moment(out: Writer, value: datetime | time) -> dict[str, Any]:
    members: dict[str, Any] = {"value": value.isoformat()}
    zone: Any = value.tzinfo
    if value.fold:
        members["fold"] = 1
    if type(zone) is ZoneInfo and zone.key is not None:
        members["zone"] = zone.key
    elif type(zone) is timezone and not zone.utcoffset(None).microseconds:
        # Python itself misreads an offset of microseconds from text.
        if name := zone.__getinitargs__()[1:]:  # type: ignore[attr-defined]  # what its pickle holds
            members["name"] = out.at(".name", name[0])
    elif zone is not None:
        out.refuse(
            f"has the time zone {zone!r}: only a zoneinfo.ZoneInfo with a key and a datetime.timezone of whole seconds "
            "can be written; convert it with astimezone()",
            type=type(zone),
        )
    return members


def _read_moment(kind: type[datetime | time]) -> Callable[[Members], Any]:
    def read(members: Members) -> Any:
        value = kind.fromisoformat(members.raw("value", str))
        if "zone" in members:
            value = value.replace(tzinfo=ZoneInfo(members.raw("zone", str)))
        elif "name" in members and type(value.tzinfo) is timezone:
            offset = value.tzinfo.utcoffset(None)
            value = value.replace(tzinfo=timezone(offset, members.value("name", str)))
        return value.replace(fold=members.raw("fold", int)) if "fold" in members else value

    return read


def _write_timedelta(_: Writer, value: timedelta) -> dict[str, Any]:
    return {"days": value.days, "seconds": value.seconds, "microseconds": value.microseconds}


def _read_timedelta(members: Members) -> timedelta:
    days, seconds, microseconds = (members.raw(name, int) for name in ("days", "seconds", "microseconds"))
    return timedelta(days, seconds, microseconds)


def _write_url(_: Writer, value: Any) -> dict[str, Any]:
    return {"type": type(value).__name__, "value": str(value)}


def _read_url(members: Members) -> Any:
    return _URLS[members.raw("type", str)](members.raw("value", str))


def _in_text(tag: str, kind: type, parse: Callable[[str], Any], write: Callable[[Any], str] = str) -> Form:
    return Form(
        tag,
        (kind,),
        lambda _, value: {"value": write(value)},
        lambda members: parse(members.raw("value", str)),
        "value",
    )


def _in_base64(kind: Any) -> Form:
    return Form(
        kind.__name__,
        (kind,),
        lambda _, value: {"base64": to_base64(value)},
        lambda members: kind(from_base64(members)),
        "base64",
    )


DICT = Form("dict", (dict,), _write_dict, _read_dict, "items")

FORMS = (
    Form("str", (str,), _write_text, _read_text, "base64"),
    Form("int", (int,), _write_integer, _read_integer, "value"),
    Form("float", (float,), _write_float, _read_float, "value"),
    Form("complex", (complex,), _write_complex, _read_complex, "real imag"),
    DICT,
    _collection(tuple, _write_items),
    _collection(set, _write_set),
    _collection(frozenset, _write_set),
    _in_base64(bytes),
    _in_base64(bytearray),
    Form("datetime", (datetime,), _write_moment, _read_moment(datetime), "value", "zone name fold"),
    Form("time", (time,), _write_moment, _read_moment(time), "value", "zone name fold"),
    _in_text("date", date, date.fromisoformat, date.isoformat),
    Form("timedelta", (timedelta,), _write_timedelta, _read_timedelta, "days seconds microseconds"),
    _in_text("Decimal", Decimal, Decimal),
    _in_text("UUID", UUID, UUID),
    Form("Url", tuple(_URLS.values()), _write_url, _read_url, "type value"),
)
