"""What the envelope's tests share: the way through JSON, a strict comparison, and values of all kinds."""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import dspy
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import BaseModel

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge._variables.values import dtype_names


def round_trip(value: Any, *, types: Iterable[Any] | Mapping[str, Any] = ()) -> Any:
    """Dumps, goes through JSON text that strict writers and readers take, and loads."""
    text = json.dumps(sb.dump(value), allow_nan=False, ensure_ascii=False)
    return sb.load(json.loads(text.encode("utf-8")), types=types)


def same(one: Any, other: Any) -> bool:
    """Equal with types, order, bits of floats, time zones, and what DSPy keeps in private attributes."""
    if type(one) is not type(other):
        return False
    for kinds, compare in _COMPARED:
        if isinstance(one, kinds):
            return bool(compare(one, other))
    if dataclasses.is_dataclass(one) and not isinstance(one, type):
        return all(same(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one))
    return bool(one == other)


def _same_float(one: float, other: float) -> bool:
    return struct.pack("<d", one) == struct.pack("<d", other) or (math.isnan(one) and math.isnan(other))


def _same_items(one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(map(same, one, other))


def _same_members(one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(any(same(item, twin) for twin in other) for item in one)


def _same_array(one: Any, other: Any) -> bool:
    # The machine's byte order comes back, whichever was dumped.
    one, other = (array.astype(array.dtype.newbyteorder("=")) for array in (one, other))
    return bool(one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes())


_COMPARED: tuple[tuple[tuple[type, ...], Callable[[Any, Any], Any]], ...] = (
    ((np.ndarray,), _same_array),
    ((np.generic,), lambda one, other: one.dtype == other.dtype and same(one.item(), other.item())),
    ((float,), _same_float),
    ((complex,), lambda one, other: same(one.real, other.real) and same(one.imag, other.imag)),
    ((list, tuple), _same_items),
    ((dict,), lambda one, other: _same_items(list(one.items()), list(other.items()))),
    ((set, frozenset), _same_members),
    ((Decimal,), lambda one, other: one.as_tuple() == other.as_tuple()),
    ((datetime, time), lambda one, other: repr(one) == repr(other) and type(one.tzinfo) is type(other.tzinfo)),
    ((dspy.Example,), lambda one, other: same(_kept(one), _kept(other))),
    ((BaseModel,), lambda one, other: same(vars(one), vars(other)) and same(one.model_extra, other.model_extra)),
)


def _kept(record: Any) -> dict[str, Any]:
    state = dict(vars(record))
    completions = state.get("_completions")
    return {**state, "_completions": None if completions is None else dict(completions.items())}


text = st.text(st.characters(exclude_categories=[]), max_size=8)
clean_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = st.sampled_from(["question", "answer", "trajectory", "items", "$dspy", "fields", "a b", ""])

_offsets = st.integers(-86_399, 86_399).map(lambda seconds: timedelta(seconds=seconds))
_zones = st.none() | st.builds(timezone, _offsets) | st.builds(timezone, _offsets, text) | st.timezones()

hashable_atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.sampled_from([2**53 - 1, 2**53, -(2**53), 2**63, -(2**64)]),
    st.floats(),
    st.complex_numbers(),
    text,
    st.binary(max_size=8),
    st.decimals().filter(lambda number: not number.is_snan()),
    st.uuids(),
    st.dates(),
    st.datetimes(timezones=_zones),
    st.times(timezones=_zones),
    st.timedeltas(),
)

arrays = hnp.arrays(
    dtype=st.one_of(
        st.sampled_from(dtype_names()).map(np.dtype),
        st.sampled_from([">f8", ">i4", "datetime64[ns]", "timedelta64[s]", "datetime64[25s]", "U3", ">U2", "S4"]).map(
            np.dtype
        ),
    ),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
_numpy_scalars = arrays.filter(lambda array: array.size > 0).map(
    lambda array: array.astype(array.dtype.newbyteorder("=")).flat[0]
)

_files = st.builds(dspy.File.from_bytes, st.binary(max_size=8), clean_text)
_images = st.sampled_from(["data:image/png;base64,AAEC", "https://example.org/a.png", "gs://bucket/a.png"]).map(
    dspy.Image
)
_own_types = st.one_of(
    _images,
    _files,
    st.builds(dspy.Audio, data=st.just("AAEC"), audio_format=st.sampled_from(["wav", "mp3"])),
    st.builds(dspy.Reasoning, content=clean_text),
    st.builds(dspy.Code, code=st.sampled_from(["print(1)", "x = 1\n"])),
)


def _hashables(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3)


hashables = st.recursive(hashable_atoms, _hashables, max_leaves=4)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields = st.dictionaries(names | clean_text, inner, max_size=4)
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(text | names, inner, max_size=4),
        st.dictionaries(hashables, inner, max_size=3),
        st.sets(hashables, max_size=4),
        st.builds(_example, fields, st.none() | st.lists(names, max_size=2), st.lists(fields, max_size=2)),
        st.builds(_prediction, fields, st.integers(0, 3), st.none() | fields, st.none() | st.integers(0, 2**63)),
        st.builds(
            lambda turns: dspy.History(messages=turns),
            st.lists(st.dictionaries(clean_text, inner, max_size=2), max_size=2),
        ),
        st.builds(_calls, st.lists(st.dictionaries(clean_text, inner, max_size=2), max_size=2)),
    )


def _example(fields: dict[str, Any], inputs: list[str] | None, demos: list[dict[str, Any]]) -> Any:
    example = dspy.Example(fields)
    if inputs is not None:
        example = example.with_inputs(*inputs)
    example._demos = [dspy.Example(demo) for demo in demos]
    return example


def _prediction(fields: dict[str, Any], completions: int, usage: Any, revision: int | None) -> Any:
    prediction = dspy.Prediction(fields)
    if completions:
        prediction = dspy.Prediction.from_completions({name: [value] * completions for name, value in fields.items()})
    prediction.set_lm_usage(usage)
    if revision is not None:
        vars(prediction)["_snakepit_revision"] = revision
    return prediction


def _calls(arguments: list[dict[str, Any]]) -> Any:
    call = dspy.ToolCalls.ToolCall
    ids = [{"id": f"call_{index}"} if "id" in call.model_fields else {} for index in range(len(arguments))]
    made = [call(name="look", args=args, **known) for args, known in zip(arguments, ids, strict=True)]
    calls = dspy.ToolCalls(tool_calls=made)
    if "tool_call_results" not in dspy.ToolCalls.model_fields:
        return calls
    results = dspy.ToolCallResults.from_tool_calls_and_values(calls, list(arguments))
    return calls.model_copy(update={"tool_call_results": results})


values = st.recursive(hashable_atoms | st.decimals() | arrays | _numpy_scalars | _own_types, _containers, max_leaves=8)
"""Anything that may stand in a prediction, but for a user's own classes."""
