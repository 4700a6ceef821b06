"""The envelope: data from strangers gives a value or an EnvelopeError, whatever it is."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge.dspy_integration import envelope
from tests.dspy.envelope_classes import Currency, Invoice, Open, Path, Swapped, Tags, Verdict
from tests.dspy.envelopes import values

_OWN = [Currency, Invoice, Open, Path, Swapped, Tags, Verdict]
_TAGS = sorted(envelope._FORMS)
_MEMBERS = sorted({name for form in envelope._FORMS.values() for name in f"{form.required} {form.optional}".split()})
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
            {"$dspy": st.just(tag), **dict.fromkeys(envelope._FORMS[tag].required.split(), inner)},
            optional=dict.fromkeys(envelope._FORMS[tag].optional.split(), inner),
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


@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(_json)
def test_arbitrary_json_gives_a_value_or_an_envelope_error(plain: Any) -> None:
    _load(plain)


def _places(plain: Any) -> list[tuple[Any, Any]]:
    keys = list(plain) if isinstance(plain, dict) else range(len(plain)) if isinstance(plain, list) else ()
    return [(plain, key) for key in keys] + [place for key in keys for place in _places(plain[key])]


@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])
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
