"""What a served program takes and gives: its fields as JSON Schema, and what arrives as values of its types."""

from __future__ import annotations

import datetime
import enum
import json
from typing import Any, Literal

import dspy
import jsonschema
import pydantic
import pytest

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge.dspy_integration.programs.arguments import ProgramArguments, result_schema
from snakepit_bridge.dspy_integration.programs.fields import fields_of


class Item(pydantic.BaseModel):
    name: str = pydantic.Field(description="as on the label")
    price: float = pydantic.Field(gt=0)
    parts: list[Item] = []


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Order(dspy.Signature):
    """Handle an order."""

    item: Item = dspy.InputField(desc="what was bought")
    when: datetime.date = dspy.InputField()
    photo: dspy.Image = dspy.InputField()
    more: list[dspy.Image] | None = dspy.InputField(default=None)
    history: dspy.History = dspy.InputField()
    mood: Mood = dspy.InputField(default=Mood.GOOD)
    count: int = dspy.InputField(ge=1)
    tags: set[str] = dspy.InputField(default_factory=set)
    answer: str = dspy.OutputField(desc="short")
    score: dict[str, list[float]] = dspy.OutputField()
    kind: Literal["a", "b"] = dspy.OutputField()
    found: Item = dspy.OutputField()


PHOTO = dspy.Image("https://example.com/a.png")
GIVEN: dict[str, Any] = {
    "item": {"name": "box", "price": 2, "parts": [{"name": "lid", "price": 1}]},
    "when": "2026-11-21",
    "photo": "https://example.com/a.png",
    "more": [sb.dump(PHOTO), {"url": "data:image/png;base64,AA=="}],
    "history": {"messages": [{"question": "why?", "photo": sb.dump(PHOTO)}]},
    "mood": "bad",
    "count": 3.0,
    "tags": ["x"],
}


@pytest.fixture
def arguments() -> ProgramArguments:
    return ProgramArguments(fields_of(dspy.Predict(Order)))


def test_the_schema_takes_what_the_fields_take(arguments: ProgramArguments) -> None:
    jsonschema.Draft202012Validator.check_schema(arguments.schema)
    jsonschema.validate(GIVEN, arguments.schema)
    assert arguments.schema["required"] == ["item", "when", "photo", "history", "count", "tags"]
    assert arguments.schema["properties"]["item"]["description"] == "what was bought"
    assert arguments.schema["properties"]["mood"]["default"] == "good"
    assert set(arguments.schema["$defs"]) == {"Item", "Mood"}
    for wrong in ({"count": 0}, {"mood": "fair"}, {"photo": "/etc/passwd"}, {"item": {"name": "box", "price": 0}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(GIVEN | wrong, arguments.schema)


def test_what_arrives_becomes_what_the_fields_want(arguments: ProgramArguments) -> None:
    read = arguments.read(GIVEN)
    assert read["item"] == Item(name="box", price=2, parts=[Item(name="lid", price=1)])
    assert read["when"] == datetime.date(2026, 11, 21)
    assert read["photo"] == PHOTO
    assert read["more"] == [PHOTO, dspy.Image("data:image/png;base64,AA==")]
    assert read["history"] == dspy.History(messages=[{"question": "why?", "photo": PHOTO}])
    assert (read["mood"], read["count"], read["tags"]) == (Mood.BAD, 3, {"x"})
    assert isinstance(read["count"], int)


@pytest.mark.parametrize(
    "wrong",
    [
        {"photo": "/etc/passwd"},
        {"photo": {"url": "/etc/passwd"}},
        {"photo": sb.dump(PHOTO) | {"fields": {"url": "/etc/passwd"}}},
        {"more": ["file:///etc/passwd"]},
        {"item": {"name": "box", "price": -1}},
        {"history": {"messages": 3}},
        {"when": "yesterday"},
    ],
)
def test_what_does_not_fit_names_its_argument(arguments: ProgramArguments, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))) as raised:
        arguments.read(GIVEN | wrong)
    assert "\n" not in str(raised.value)


def test_the_result_schema_describes_the_envelope() -> None:
    schema = result_schema(fields_of(dspy.ChainOfThought(Order)))
    fields = schema["properties"]["fields"]
    assert list(fields["properties"]) == ["reasoning", "answer", "score", "kind", "found"]
    assert fields["properties"]["answer"] == {"type": "string", "description": "short"}
    answer = dspy.Prediction(reasoning="r", answer="a", score={"x": [0.5]}, kind="b", found=Item(name="n", price=1))
    jsonschema.validate(sb.dump(answer), schema)


def agents() -> list[Any]:
    made = [dspy.ReAct("question -> answer", tools=[]), dspy.RLM("question -> answer")]
    made += [dspy.ReActV2("question -> answer", tools=[])] if hasattr(dspy, "ReActV2") else []
    made += [dspy.Predict("question -> answer"), dspy.ChainOfThought("question -> answer")]
    best = dspy.BestOfN(dspy.ChainOfThought("question -> answer"), N=2, reward_fn=lambda *_: 1.0, threshold=1.0)
    return [*made, best]


@pytest.mark.parametrize("program", agents(), ids=lambda program: type(program).__name__)
def test_dspys_modules_tell_what_they_take(program: Any) -> None:
    fields = fields_of(program)
    assert ProgramArguments(fields).schema == {
        "type": "object",
        "properties": {"question": {"type": "string"}},
        "required": ["question"],
        "additionalProperties": False,
    }
    assert "answer" in fields.outputs
    assert "question" in fields.description


class Mine(dspy.Module):
    """Answers politely."""

    def forward(self, question: str, k: int = 3, item: Item | None = None, like: dspy.Example = None) -> Any:
        return dspy.Prediction(answer=f"{question}{k}{item}{like}")


class Awaited(dspy.Module):
    async def aforward(self, question: "Unknown", *, limit=3) -> Any:  # type: ignore[no-untyped-def, name-defined]  # noqa: ANN001, F821, UP037
        return dspy.Prediction(answer=question)


class Open(dspy.Module):
    def forward(self, **inputs: Any) -> Any:
        return dspy.Prediction(**inputs)


def test_a_module_of_ones_own_takes_the_parameters_of_its_forward() -> None:
    fields = fields_of(Mine())
    arguments = ProgramArguments(fields)
    assert fields.description == "Answers politely."
    assert result_schema(fields) == {}
    assert arguments.schema["required"] == ["question"]
    assert arguments.schema["properties"]["k"] == {"type": "integer", "default": 3}
    example = dspy.Example(question="why?").with_inputs("question")
    given = {"question": "why?", "item": {"name": "box", "price": 1}, "like": sb.dump(example)}
    jsonschema.validate(given, arguments.schema)
    assert arguments.read(given) == {"question": "why?", "item": Item(name="box", price=1), "like": example}


def test_a_forward_without_usable_annotations_takes_anything() -> None:
    arguments = ProgramArguments(fields_of(Awaited()))
    assert arguments.schema["properties"] == {"question": {}, "limit": {"default": 3}}
    assert arguments.read({"question": [1], "limit": None}) == {"question": [1], "limit": None}


def test_a_forward_that_takes_anything_needs_a_signature() -> None:
    with pytest.raises(sb.BindingError, match="signature="):
        fields_of(Open())
    fields = fields_of(Open(), "question, k: int -> answer")
    assert json.dumps(ProgramArguments(fields).schema["properties"]) == (
        '{"question": {"type": "string"}, "k": {"type": "integer"}}'
    )


@pytest.mark.parametrize("thing", [3, "question -> answer", len, dspy.Predict, dspy.Module()])
def test_what_is_no_program_is_refused(thing: Any) -> None:
    with pytest.raises(sb.BindingError):
        fields_of(thing)
