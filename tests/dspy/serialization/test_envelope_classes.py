"""The envelope: a user's own classes, written with their names and read only if they are given."""

from __future__ import annotations

import datetime as dt
import sys
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import dspy
import numpy as np
import pydantic
import pytest

import snakepit_bridge.dspy_integration as sb
from tests.dspy.support.envelope_classes import (
    Access,
    Box,
    Cat,
    Clip,
    Currency,
    Dog,
    Impossible,
    Invoice,
    Line,
    Listed,
    Open,
    Path,
    Point,
    Priority,
    Reference,
    Secretive,
    Swapped,
    Tags,
    Trip,
    Verdict,
)
from tests.dspy.support.envelopes import round_trip, same
from tests.support.recording_lm import RecordingLM

_HOME = Line.__module__


def _invoice(**fields: Any) -> Invoice:
    line = Line(lineName="tea", price=Decimal("1.10"), currency=Currency.DOLLAR)
    due = dt.datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    return Invoice(**{"number": "1", "due": due, "lines": [line], **fields})


def test_a_model_comes_back_whole_through_aliases_unions_and_serializers() -> None:
    line = Line(lineName="cake", price=Decimal(2))
    full = _invoice(
        number=7,
        by_date={dt.date(2024, 1, 1): (line,)},
        pet=Dog(weight=1.5),
        seen={"a", "b"},
        vector=np.arange(3.0),
        site="https://example.org/",
        image=dspy.Image("gs://b/a.png"),
    )
    for invoice in (_invoice(), full):
        back = round_trip(invoice, types=[Invoice])
        assert same(back, invoice)
        assert back.model_fields_set == invoice.model_fields_set
        assert back.total == invoice.total
        assert [one.model_fields_set for one in back.lines] == [one.model_fields_set for one in invoice.lines]
    assert type(round_trip(_invoice(number="1"), types=[Invoice]).number) is str


def test_a_model_is_readable_for_who_has_no_class_for_it() -> None:
    assert sb.dump(Line(lineName="tea", price=Decimal(1))) == {
        "$dspy": "Model",
        "type": f"{_HOME}:Line",
        "fields": {
            "name": "tea",
            "price": {"$dspy": "Decimal", "value": "1"},
            "currency": {"$dspy": "Enum", "type": f"{_HOME}:Currency", "name": "EURO", "value": "eur"},
        },
        "unset": ["currency"],
    }


@pytest.mark.parametrize(
    ("value", "types"),
    [
        (Swapped(a=1, b=2), [Swapped]),
        (Open.model_validate({"known": 1, "more": {"a": (1,)}}), [Open]),
        (Box[int](content=1), [Box[int]]),
        (Box[Cat](content=Cat()), [Box[Cat]]),
        (Tags(["a", "b"]), [Tags]),
        (Point(1.0), [Point]),
        (Path(points=[Point(1, -0.0)], access=Access.READ | Access.WRITE), [Path]),
        ([Currency.DOLLAR, Currency.BUCK, Priority.HIGH, Access.READ, Access(0)], [Currency, Priority, Access]),
        ({Currency.EURO: {Priority.LOW}}, [Currency, Priority]),
        (Clip(address="gs://b/a.mp4"), [Clip]),
        (Verdict("me"), [Verdict]),
        (Currency.EURO, Currency),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_kind_of_class_comes_back(value: Any, types: Any) -> None:
    back = round_trip(value, types=types)
    assert same(back, value)
    assert type(back) is type(value)


def test_a_dataclass_keeps_what_its_constructor_does_not_take() -> None:
    path = Path(points=[Point(1.0)])
    path.length = 2.5
    assert round_trip(path, types=[Path]).length == 2.5


def test_a_custom_type_is_not_marked_text() -> None:
    assert sb.dump(Clip(address="gs://b/a.mp4"))["fields"] == {"address": "gs://b/a.mp4"}


def test_what_a_class_excludes_from_dumps_is_not_in_one() -> None:
    plain = sb.dump(Secretive(shown=1, hidden="secret"))
    assert "secret" not in str(plain)
    assert sb.load(plain, types=[Secretive]) == Secretive(shown=1)
    with pytest.raises(sb.EnvelopeError):
        sb.dump(Impossible(hidden="secret"))


def test_a_model_without_one_of_its_fields_is_refused() -> None:
    with pytest.raises(sb.EnvelopeError):
        sb.dump(Line.model_construct(name="tea"))


def test_a_dataclass_that_is_a_list_too_is_refused() -> None:
    with pytest.raises(sb.EnvelopeError):
        sb.dump(Listed("a"))


@pytest.mark.parametrize(
    "types",
    [
        [Invoice],
        [dspy.Signature({"text": (str, dspy.InputField()), "invoices": (dict[str, list[Line]], dspy.OutputField())})],
        [list[Line | None]],
        [Annotated[Line, "a line"]],
        [Reference],
        [Line, Line],
        {f"{_HOME}:Line": Line},
        {"elsewhere:Line": Line},
    ],
    ids=str,
)
def test_a_class_is_found_in_what_uses_it(types: Any) -> None:
    line = Line(lineName="tea", price=Decimal(1), currency=Currency.DOLLAR)
    assert same(round_trip(line, types=types), line)


def test_a_class_is_found_in_the_annotations_of_dataclasses_and_typed_dicts() -> None:
    path = Path(points=[Point(1.0)], access=Access.WRITE)
    assert same(round_trip(path, types=[Trip]), path)


def test_a_class_that_has_moved_is_found_under_its_old_name() -> None:
    plain = sb.dump(Cat(lives=3)) | {"type": "__main__:Cat"}
    assert sb.load(plain, types={"__main__:Cat": Cat}) == Cat(lives=3)
    with pytest.raises(sb.EnvelopeError) as refused:
        sb.load(plain, types=[Cat])
    assert refused.value.facts["type"] == "__main__:Cat"


def test_a_class_that_was_not_given_is_an_error_that_names_it() -> None:
    for value in (_invoice(), Point(1.0), Currency.EURO, Verdict("me"), Clip(address="a")):
        with pytest.raises(sb.EnvelopeError) as refused:
            round_trip({"a": [value]}, types=[Cat])
        assert refused.value.facts == {"path": "['a'][0]", "type": f"{_HOME}:{type(value).__name__}"}


def test_two_classes_of_one_name_are_refused_when_it_is_used() -> None:
    twin = pydantic.create_model("Cat", __module__=_HOME, lives=(int, 1))
    plain = sb.dump(Cat())
    assert sb.load(1, types=[Cat, twin]) == 1
    with pytest.raises(sb.EnvelopeError):
        sb.load(plain, types=[Cat, twin])
    assert type(sb.load(plain, types={plain["type"]: Cat})) is Cat


@pytest.mark.parametrize("tag", ["Model", "Dataclass", "Enum", "Prediction"])
def test_nothing_is_imported_because_data_names_it(tag: str) -> None:
    module = "antigravity"
    assert module not in sys.modules
    members = {"type": f"{module}:geohash", "fields": {}, "name": "a", "value": 1, "completions": None, "usage": None}
    wanted = {"Model": "type fields", "Dataclass": "type fields", "Enum": "type name value"}
    names = wanted.get(tag, "type fields completions usage").split()
    plain = {"$dspy": tag, **{name: members[name] for name in names}} | (
        {"revision": None} if tag == "Prediction" else {}
    )
    with pytest.raises(sb.EnvelopeError) as refused:
        sb.load(plain)
    assert refused.value.facts["type"] == f"{module}:geohash"
    assert module not in sys.modules


@pytest.mark.parametrize(
    ("value", "change"),
    [
        (Line(lineName="tea", price=Decimal(1)), {"fields": {"name": 5, "price": 1}}),
        (Line(lineName="tea", price=Decimal(1)), {"fields": {"name": "tea"}}),
        (Line(lineName="tea", price=Decimal(1)), {"fields": ["tea"]}),
        (Line(lineName="tea", price=Decimal(1)), {"type": f"{_HOME}:Point"}),
        (Line(lineName="tea", price=Decimal(1)), {"unset": [[]]}),
        (Tags(["a"]), {"fields": {}}),
        (Open(), {"extra": {"known": 2}}),
        (Point(1.0), {"type": f"{_HOME}:Line"}),
        (Point(1.0), {"fields": {"z": 1}}),
        (Point(1.0), {"fields": {}}),
        (Path(points=[Point(1.0)]), {"fields": {"points": []}}),
        (Currency.EURO, {"name": "POUND"}),
        (Currency.EURO, {"name": "__class__"}),
        (Currency.EURO, {"name": None, "value": "gbp"}),
        (Currency.EURO, {"type": f"{_HOME}:Point"}),
        (Verdict("me"), {"type": f"{_HOME}:Line"}),
        (Verdict("me"), {"type": 5}),
    ],
)
def test_what_does_not_fit_its_class_is_refused(value: Any, change: dict[str, Any]) -> None:
    types = [Line, Tags, Open, Point, Path, Currency, Verdict]
    assert same(sb.load(sb.dump(value), types=types), value)
    with pytest.raises(sb.EnvelopeError):
        sb.load(sb.dump(value) | change, types=types)


def test_a_refusal_does_not_repeat_what_a_class_did_not_accept() -> None:
    plain = sb.dump(Cat())
    plain["fields"]["lives"] = "my secret"
    with pytest.raises(sb.EnvelopeError) as refused:
        sb.load(plain, types=[Cat])
    assert "my secret" not in str(refused.value)


def test_a_typed_answer_of_a_program_comes_back_with_its_signature(lm: RecordingLM) -> None:
    class Extract(dspy.Signature):
        text: str = dspy.InputField()
        pets: list[Dog] = dspy.OutputField()
        currency: Currency = dspy.OutputField()

    lm.reply(lambda body: {"pets": [{"kind": "dog", "weight": 2.5}], "currency": "eur"})
    made = dspy.Predict(Extract)(text="a dog for some euros")
    assert made.pets == [Dog(weight=2.5)]
    assert same(round_trip(made, types=[Extract]), made)
