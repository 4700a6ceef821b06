"""The envelope: data from strangers gives a value or an EnvelopeError, whatever it is."""

from __future__ import annotations

import copy
import gc
import reprlib
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import dspy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge.dspy_integration import serialization
from tests.dspy.support.envelope_classes import Currency, Invoice, Open, Point, Swapped, Tags, Verdict
from tests.dspy.support.envelopes import values

_OWN = [Currency, Invoice, Open, Point, Swapped, Tags, Verdict]
_TAGS = sorted(serialization._FORMS)
_MEMBERS = sorted(
    {name for form in serialization._FORMS.values() for name in f"{form.required} {form.optional}".split()}
)
_WORDS = [
    *_TAGS,
    *(f"{kind.__module__}:{kind.__qualname__}" for kind in _OWN),
    *("", "$dspy", "answer", "content", "code", "url", "java", "os:system", "HttpUrl", "https://a.b", "/etc/passwd"),
    *("NaN", "sNaN", "0", "-1", "1" * 5000, "1e999999999", "AAAA", "A", "=", "\ud800"),
    *("float64", "datetime64[ns]", "datetime64[zz]", "U2", "S9", "O", "i4,f8"),
    *("2024-01-01T00:00:00+01:00", "2024-01-01", "25:00", "Europe/Berlin", "Europe", "../../etc/passwd"),
]

_atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([-1, 0, 1, 2**31, 2**63, 10**30]),
    st.floats(),
    st.sampled_from(_WORDS),
    st.text(max_size=5),
)


def _tagged(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects with a tag and the members that it wants, filled with anything."""
    return st.sampled_from(_TAGS).flatmap(
        lambda tag: st.fixed_dictionaries(
            {"$dspy": st.just(tag), **dict.fromkeys(serialization._FORMS[tag].required.split(), inner)},
            optional=dict.fromkeys(serialization._FORMS[tag].optional.split(), inner),
        )
    )


def _arbitrary(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(["$dspy", *_MEMBERS, *_WORDS]) | st.text(max_size=3)
    return st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4) | _tagged(inner)


_json = st.recursive(_atoms, _arbitrary, max_leaves=12)


def _load(plain: Any) -> None:
    try:
        value = sb.load(plain, types=_OWN)
    except sb.EnvelopeError:
        return
    # Whatever was accepted is a value like any other.
    sb.dump(value)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_json)
def test_arbitrary_json_gives_a_value_or_an_envelope_error(plain: Any) -> None:
    _load(plain)


def _places(plain: Any) -> list[tuple[Any, Any]]:
    keys = list(plain) if isinstance(plain, dict) else range(len(plain)) if isinstance(plain, list) else ()
    return [(plain, key) for key in keys] + [place for key in keys for place in _places(plain[key])]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(values, _json, st.randoms(use_true_random=False), st.booleans())
def test_a_damaged_envelope_gives_a_value_or_an_envelope_error(
    value: Any, junk: Any, random: Any, remove: bool
) -> None:
    plain = [copy.deepcopy(sb.dump(value))]
    where, key = random.choice(_places(plain))
    if remove and isinstance(where, dict):
        del where[key]
    else:
        where[key] = junk
    _load(plain)


def _array(dtype: Any = "float64", shape: Any = (1,), base64: Any = "AAAAAAAAAAA=") -> dict[str, Any]:
    return {"$dspy": "ndarray", "dtype": dtype, "shape": list(shape), "base64": base64}


def _prediction(**members: Any) -> dict[str, Any]:
    return {"$dspy": "Prediction", "fields": {}, "completions": None, "usage": None, "revision": None, **members}


def _deep(levels: int) -> Any:
    plain: Any = 1
    for _ in range(levels):
        plain = [plain]
    return plain


@pytest.mark.parametrize(
    "plain",
    [
        {"$dspy": "Nothing"},
        {"$dspy": None},
        {"$dspy": ["Prediction"]},
        {"$dspy": "tuple"},
        {"$dspy": "tuple", "items": {"0": 1}},
        {"$dspy": "tuple", "items": [1], "more": 2},
        {"$dspy": "set", "items": [[]]},
        {"$dspy": "dict", "items": [["a", 1], ["a", 2]]},
        {"$dspy": "dict", "items": [["a"]]},
        {"$dspy": "dict", "items": [[{}, 1]]},
        {"$dspy": "int", "value": 5},
        {"$dspy": "int", "value": "0x10"},
        {"$dspy": "int", "value": "9" * 4302},
        {"$dspy": "float", "value": "nan"},
        {"$dspy": "complex", "real": True, "imag": 0},
        {"$dspy": "bytes", "base64": "not base64!"},
        {"$dspy": "bytes", "base64": "AAA"},
        {"$dspy": "str", "base64": "//8="},
        {"$dspy": "Decimal", "value": "one"},
        {"$dspy": "UUID", "value": "1"},
        {"$dspy": "date", "value": "2024-13-01"},
        {"$dspy": "datetime", "value": "2024-01-01T00:00:00", "zone": "../../../etc/passwd"},
        {"$dspy": "datetime", "value": "2024-01-01T00:00:00", "zone": "Europe"},
        {"$dspy": "datetime", "value": "2024-01-01T00:00:00", "zone": "Europe/Atlantis"},
        {"$dspy": "datetime", "value": "2024-01-01T00:00:00", "fold": 2},
        {"$dspy": "timedelta", "days": 10**10, "seconds": 0, "microseconds": 0},
        {"$dspy": "timedelta", "days": True, "seconds": 0, "microseconds": 0},
        {"$dspy": "Url", "type": "__class__", "value": "https://a.b"},
        {"$dspy": "Url", "type": "HttpUrl", "value": "file:///etc/passwd"},
        {"$dspy": "numpy", "dtype": "int8", "value": 300},
        {"$dspy": "numpy", "dtype": "uint8", "value": -1},
        {"$dspy": "numpy", "dtype": "float16", "value": 1e300},
        {"$dspy": "numpy", "dtype": "bool", "value": 1},
        {"$dspy": "numpy", "dtype": "O", "value": 1},
        _array(dtype="O"),
        _array(dtype="f8,f8"),
        _array(dtype="V8"),
        _array(dtype="U0", shape=[10**18], base64=""),
        _array(dtype="U999999999", shape=[10**9], base64=""),
        _array(dtype="datetime64[century]"),
        _array(shape=[10**12]),
        _array(shape=[2**62, 2**62, 4], base64=""),
        _array(shape=[-1]),
        _array(shape=[True]),
        _array(shape=[1.0]),
        _array(shape=[1] * 65),
        _array(shape=[0, 2**63], base64=""),
        _array(base64="AAAAAAAAAAAA"),
        _array(base64="AAAA"),
        _array(base64=None),
        _array(dtype="bool", base64="Ag=="),
        _array(dtype="U1", base64="AAARAA=="),
        _prediction(fields=[]),
        _prediction(fields={"$dspy": "tuple", "items": []}),
        _prediction(completions={"a": [1], "b": []}),
        _prediction(completions={"a": "b"}),
        _prediction(completions=[{"a": 1}]),
        _prediction(revision="1"),
        _prediction(revision=True),
        _prediction(input_keys=[[]]),
        {"$dspy": "Example", "fields": {}, "input_keys": "question"},
        {"$dspy": "Example", "fields": {}, "input_keys": None, "demos": {}},
        {"$dspy": "Image", "fields": {"url": "/etc/passwd"}},
        {"$dspy": "Image", "fields": {"url": "file:///etc/passwd"}},
        {"$dspy": "Image", "fields": {"url": {"url": "gs://a/b"}}},
        {"$dspy": "Image", "fields": {"url": "https://a.b", "download": True}},
        {"$dspy": "History", "fields": {"messages": [["question", "why?"]]}},
        {"$dspy": "ToolCalls", "fields": {"tool_calls": [{"name": "look", "args": []}]}},
        {"$dspy": "Code", "fields": {"code": "x"}, "language": "x" * 65},
        {"$dspy": "Code", "fields": {"code": "x"}, "language": "\0"},
        {"$dspy": "StatusMessage", "fields": {"message": "a", "__class__": "b"}},
        {"a": (1,)},
        {"a": b"bytes"},
        {1: 2},
        _deep(1_000),
        _deep(100_000),
    ],
    ids=reprlib.repr,
)
def test_nonsense_is_refused(plain: Any) -> None:
    with pytest.raises(sb.EnvelopeError):
        sb.load([plain])


@pytest.mark.parametrize(
    "plain", [_array(shape=[10**12]), _array(dtype="U999999999"), {"$dspy": "set", "items": [_array(shape=[2**40])]}]
)
def test_a_claimed_size_allocates_nothing(plain: Any) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(sb.EnvelopeError):
            sb.load(plain)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_the_longest_integer_does_not_depend_on_what_python_was_told() -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        assert sb.load(sb.dump(1 - 10**4300)) == 1 - 10**4300
        with pytest.raises(sb.EnvelopeError):
            sb.load({"$dspy": "int", "value": "9" * 4301})
    finally:
        sys.set_int_max_str_digits(before)


def test_a_message_stays_short_whatever_the_data() -> None:
    long = "x" * 100_000
    for plain in (
        {"$dspy": long},
        {"$dspy": "tuple", "items": [], long: 1},
        {"$dspy": "Model", "type": f"{long}:{long}", "fields": {}},
        {"$dspy": "Reasoning", "fields": {long: 1}},
        {"$dspy": "Decimal", "value": long},
        {"$dspy": "UUID", "value": long},
        {"$dspy": "date", "value": long},
        {long: {long: object()}},
    ):
        with pytest.raises(sb.EnvelopeError) as refused:
            sb.load(plain)
        assert len(str(refused.value)) + len(str(refused.value.facts)) < 2_500


def test_strangers_cannot_fill_memory_with_classes() -> None:
    for number in range(1_000):
        sb.load({"$dspy": "Code", "fields": {"code": "x"}, "language": f"language-{number}"})
    gc.collect()
    assert len(dspy.Code.__subclasses__()) < 500


def test_no_file_is_opened_for_an_image(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    for url in (str(secret), secret.as_uri()):
        with pytest.raises(sb.EnvelopeError):
            sb.load({"$dspy": "Image", "fields": {"url": url}})
        # Nor under its own name, when a signature that uses it is given.
        named = {"$dspy": "Model", "type": f"{dspy.Image.__module__}:Image", "fields": {"url": url}}
        with pytest.raises(sb.EnvelopeError) as refused:
            sb.load(named, types=[dspy.Signature({"image": (dspy.Image, dspy.InputField())}), dspy.Image, dspy.Tool])
        assert refused.value.facts["type"] == named["type"]
