"""The envelope: values of Python and numpy to JSON and back, and what no envelope holds."""

from __future__ import annotations

import datetime as dt
import inspect
import json
import math
import subprocess
import sys
from collections import OrderedDict
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import dspy
import numpy as np
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge.dspy_integration.serialization.walk import MAX_DEPTH
from tests.dspy.support.envelopes import arrays, round_trip, same, values

_PLAIN = {dict, list, str, int, float, bool, type(None)}


class _Pair(NamedTuple):
    one: int
    two: int


class _Zone(dt.tzinfo):
    def utcoffset(self, moment: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(hours=1)

    def tzname(self, moment: dt.datetime | None) -> str:
        return "own"

    def dst(self, moment: dt.datetime | None) -> None:
        return None


class _Text(str):
    __slots__ = ()


def _types_in(plain: Any) -> set[type]:
    inside = [*plain, *plain.values()] if isinstance(plain, dict) else plain if isinstance(plain, list) else []
    return {type(plain)}.union(*map(_types_in, inside))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values)
def test_every_value_comes_back_as_it_went(value: Any) -> None:
    assert same(round_trip(value), value)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values)
def test_a_dump_is_made_of_plain_json_types_and_its_load_dumps_the_same(value: Any) -> None:
    plain = sb.dump(value)
    assert _types_in(plain) <= _PLAIN
    assert sb.dump(sb.load(plain)) == plain


@settings(deadline=None)
@given(arrays.filter(lambda array: array.ndim > 1))
def test_an_array_comes_back_whole_whatever_its_memory_layout(array: Any) -> None:
    for strange in (array.T, np.asfortranarray(array), array[::-1], array[..., ::2]):
        assert same(round_trip(strange), strange)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (2**53 - 1, 2**53 - 1),
        (-(2**53), {"$dspy": "int", "value": "-9007199254740992"}),
        (math.inf, {"$dspy": "float", "value": "Infinity"}),
        ((1, "a"), {"$dspy": "tuple", "items": [1, "a"]}),
        ({"b", "a"}, {"$dspy": "set", "items": ["a", "b"]}),
        ({1: "a"}, {"$dspy": "dict", "items": [[1, "a"]]}),
        ({"$dspy": 1}, {"$dspy": "dict", "items": [["$dspy", 1]]}),
        (b"\x00\xff", {"$dspy": "bytes", "base64": "AP8="}),
        ("\ud800", {"$dspy": "str", "base64": "7aCA"}),
        ({"\ud83d": 1}, {"$dspy": "dict", "items": [[{"$dspy": "str", "base64": "7aC9"}, 1]]}),
        (1 - 2j, {"$dspy": "complex", "real": 1.0, "imag": -2.0}),
        (Decimal("1.10"), {"$dspy": "Decimal", "value": "1.10"}),
        (UUID(int=5), {"$dspy": "UUID", "value": "00000000-0000-0000-0000-000000000005"}),
        (dt.date(2024, 2, 29), {"$dspy": "date", "value": "2024-02-29"}),
        (dt.timedelta(-1, 2, 3), {"$dspy": "timedelta", "days": -1, "seconds": 2, "microseconds": 3}),
        (
            dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
            {"$dspy": "datetime", "value": "2024-10-27T02:30:00+01:00", "zone": "Europe/Berlin", "fold": 1},
        ),
        (
            dt.time(1, tzinfo=dt.timezone(dt.timedelta(hours=2), "EET")),
            {"$dspy": "time", "value": "01:00:00+02:00", "name": "EET"},
        ),
        (
            np.array([[1.0, -0.0]], dtype=">f4"),
            {"$dspy": "ndarray", "dtype": "float32", "shape": [1, 2], "base64": "AACAPwAAAIA="},
        ),
        (np.array(["ab"]), {"$dspy": "ndarray", "dtype": "U2", "shape": [1], "base64": "YQAAAGIAAAA="}),
        (np.float32(0.5), {"$dspy": "numpy", "dtype": "float32", "value": 0.5}),
        (np.datetime64("2024-01-01"), {"$dspy": "numpy", "dtype": "datetime64[D]", "value": 19723}),
        (pydantic.HttpUrl("https://a.b/c"), {"$dspy": "Url", "type": "HttpUrl", "value": "https://a.b/c"}),
    ],
)  # fmt: skip
def test_readers_of_other_languages_find_what_is_documented(value: Any, plain: Any) -> None:
    assert sb.dump(value) == plain
    assert same(sb.load(plain), value)


def test_ordinary_json_stays_as_it_is() -> None:
    plain: dict[str, Any] = {"b": [1, 1.5, -0.0, True, None, "ä", {"a": []}], "": {}}
    assert json.dumps(sb.dump(plain)) == json.dumps(plain)
    assert same(round_trip(plain), plain)


def test_a_dump_shares_nothing_with_what_it_was_made_of() -> None:
    inner = [1]
    plain = sb.dump({"a": inner})
    inner.append(2)
    assert plain == {"a": [1]}


def test_equal_sets_are_equal_envelopes_in_every_process() -> None:
    code = "import json, snakepit_bridge.dspy_integration as sb; print(json.dumps(sb.dump({'a', 'b', 'c', ('d', 1)})))"
    here = sb.dump({"a", "b", "c", ("d", 1)})
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, **_environment()},
        )
        assert json.loads(done.stdout) == here


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(__file__).parents[3]), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def test_a_loaded_array_can_be_written_to_as_before() -> None:
    back = round_trip(np.zeros(3))
    back[0] = 1
    assert back.tolist() == [1, 0, 0]


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0, 5), ()])
def test_empty_and_zero_dimensional_arrays_keep_their_shape(shape: tuple[int, ...]) -> None:
    assert round_trip(np.ones(shape, dtype="int16")).shape == shape


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (object(), ""),
        ({"a": [1, (2, object())]}, "['a'][1].items[1]"),
        (dspy.Prediction(answer=[0, {3: {object()}}]), "fields['answer'][1].items[0][1].items[0]"),
        (dspy.Prediction.from_completions({"a": [1, print]}), "completions['a'][1]"),
        (dspy.Example(a=dspy.History(messages=[{"q": Path("x")}])), "fields['a'].fields['messages'][0]['q']"),
        ([dspy.Tool(round)], "[0]"),
        ([dspy.Predict("a -> b")], "[0]"),
        ([dspy.Signature("a -> b")], "[0]"),
        (_Pair(1, 2), ""),
        (_Text("a"), ""),
        (OrderedDict(a=1), ""),
        (np.zeros(2, dtype="i4,f8"), ""),
        (np.array([object()]), ""),
        (np.longdouble(1), ""),
        (np.ma.masked_array([1, 2], [True, False]), ""),
        (np.zeros(1, dtype="i4,f8")[0], ""),
        ([dt.datetime(2024, 1, 1, tzinfo=_Zone())], "[0]"),
        ([dt.time(1, tzinfo=dt.timezone(dt.timedelta(microseconds=1)))], "[0]"),
        (memoryview(b"a"), ""),
        ([10**4300], "[0]"),
        (pydantic.SecretStr("key"), ""),
    ],
)
def test_what_no_envelope_holds_is_refused_with_its_place(value: Any, path: str) -> None:
    with pytest.raises(sb.EnvelopeError) as refused:
        sb.dump(value)
    assert refused.value.path == path
    assert refused.value.facts["type"]


def test_a_refusal_names_the_type() -> None:
    with pytest.raises(sb.EnvelopeError) as refused:
        sb.dump([_Pair(1, 2)])
    assert refused.value.facts == {"path": "[0]", "type": f"{__name__}:_Pair"}


def test_a_value_inside_itself_is_refused_at_once() -> None:
    endless: list[Any] = [1]
    endless += [endless, endless]
    example = dspy.Example(a=1)
    example.b = {"c": (example,)}
    for value, path in ((endless, "[1]"), (example, "fields['b']['c'].items[0]")):
        with pytest.raises(sb.EnvelopeError) as refused:
            sb.dump(value)
        assert refused.value.path == path
    plain: list[Any] = []
    plain.append(plain)
    with pytest.raises(sb.EnvelopeError):
        sb.load(plain)


def test_what_occurs_twice_is_written_twice() -> None:
    twice = [1]
    assert sb.dump([twice, twice]) == [[1], [1]]


def _nested(wrap: Any, levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


_WRAPS = {
    "list": (lambda inner: [inner], 1),
    "dict": (lambda inner: {"a": inner}, 1),
    "tuple": (lambda inner: (inner,), 1),
    "other dict": (lambda inner: {1: inner}, 1),
    "frozenset": (lambda inner: frozenset([inner]), 1),
    "Prediction": (lambda inner: dspy.Prediction(a=inner), 2),
    "Example": (lambda inner: dspy.Example(a=inner), 2),
}


@pytest.mark.parametrize(("wrap", "levels"), _WRAPS.values(), ids=_WRAPS)
def test_the_deepest_dump_can_be_loaded_and_a_deeper_one_is_refused(wrap: Any, levels: int) -> None:
    most = (MAX_DEPTH - 1) // levels
    deepest = _nested(wrap, most)
    assert sb.dump(round_trip(deepest)) == sb.dump(deepest)
    for more in (1, 5_000):
        with pytest.raises(sb.EnvelopeError):
            sb.dump(_nested(wrap, most + more))


def _far_down(frames: int, call: Any) -> Any:
    return call() if frames == 0 else _far_down(frames - 1, call)


def test_too_little_stack_is_an_envelope_error() -> None:
    deep = _nested(lambda inner: {1: inner}, MAX_DEPTH - 1)
    plain = sb.dump(deep)
    frames = sys.getrecursionlimit() - len(inspect.stack()) - 100
    for call in (lambda: sb.dump(deep), lambda: sb.load(plain)):
        with pytest.raises(sb.EnvelopeError):
            _far_down(frames, call)
