"""A tool's JSON Schema, as DSPy's adapters and agents show it to a language model."""

from __future__ import annotations

import inspect
import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakepit_bridge.dspy_integration.agents.inlining import MAX_SCHEMAS
from snakepit_bridge.dspy_integration.agents.tool_arguments import Arguments, annotation

NODE = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}},
    "required": ["value"],
}


def of(properties: dict[str, Any], required: Any = (), **more: Any) -> Arguments:
    return Arguments.of({"type": "object", "properties": properties, "required": list(required), **more})


@pytest.mark.parametrize("key", ["$defs", "definitions"])
def test_a_reference_is_replaced_by_what_it_means(key: str) -> None:
    city = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    found = of({"city": {"$ref": f"#/{key}/City", "description": "where"}}, ("city",), **{key: {"City": city}})
    assert found.schemas == {"city": city | {"description": "where"}}


def test_a_definition_of_a_definition_and_an_anchor_and_an_escaped_name_are_found() -> None:
    definitions = {"A": {"$ref": "#/$defs/B~1C%20D"}, "B/C D": {"$ref": "#here"}, "E": {"$anchor": "here", "enum": [1]}}
    assert of({"x": {"$ref": "#/$defs/A"}}, **{"$defs": definitions}).schemas == {"x": {"enum": [1], "type": "integer"}}


def test_a_schema_that_contains_itself_is_cut_with_a_description() -> None:
    found = of({"list": {"$ref": "#/$defs/Node"}}, ("list",), **{"$defs": {"Node": NODE}})
    inner = found.schemas["list"]["properties"]["next"]["anyOf"][0]
    assert inner["type"] == "object"
    assert "Node" in inner["description"]
    assert "$ref" not in json.dumps(found.schemas)


def test_a_few_lines_that_stand_for_a_million_schemas_are_cut() -> None:
    twice = {f"D{i}": {"properties": {name: {"$ref": f"#/$defs/D{i + 1}"} for name in "ab"}} for i in range(30)}
    found = of({"x": {"$ref": "#/$defs/D0"}}, **{"$defs": twice | {"D30": {"type": "string"}}})
    assert json.dumps(found.schemas).count("{") < 5 * MAX_SCHEMAS


@pytest.mark.parametrize("reference", ["https://example.com/city.json", "#/$defs/Nothing", "#nowhere", "other.json#/x"])
def test_what_is_elsewhere_or_nowhere_is_described_and_not_fetched(reference: str) -> None:
    found = of({"x": {"$ref": reference}})
    assert set(found.schemas["x"]) == {"description"}


def test_anything_of_several_types_says_which() -> None:
    found = of({
        "a": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "b": {"type": ["string", "number"]},
        "c": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
    })  # fmt: skip
    assert [schema["type"] for schema in found.schemas.values()] == [
        ["integer", "null"],
        ["string", "number"],
        ["array", "null"],
    ]
    assert found.types == {"a": int | None, "b": str | float, "c": list[str] | None}


def test_choices_are_choices_also_without_a_type() -> None:
    found = of({"unit": {"enum": ["C", "F"]}, "version": {"const": 2}})
    assert found.types == {"unit": Literal["C", "F"], "version": Literal[2]}
    assert [schema["type"] for schema in found.schemas.values()] == ["string", "integer"]


def test_only_what_is_required_is_required_and_the_rest_is_named_with_its_default() -> None:
    found = of({"city": {"type": "string"}, "limit": {"type": "integer", "default": 10}, "lang": {}}, ("city",))
    assert found.schema["required"] == ["city"]
    assert found.hint == "May be left out: `limit` (else 10), `lang`."
    assert str(found.signature) == "(*, city: str, limit: int = 10, lang: Any = None)"


def test_a_required_argument_that_is_described_nowhere_is_shown() -> None:
    assert of({}, ("x",)).schemas == {"x": {}}


def test_no_schema_means_any_arguments_and_additional_ones_are_mentioned() -> None:
    assert Arguments.of({}).hint == "Takes any arguments."
    assert of({"a": {}}, ("a",), additionalProperties=True).hint == "Takes any other arguments too."
    assert of({"a": {}}, ("a",), additionalProperties=False).hint == ""


def test_a_schema_made_of_several_has_the_properties_of_all() -> None:
    cat = {"properties": {"kind": {"const": "cat"}, "name": {"type": "string"}}, "required": ["kind", "name"]}
    dog = {"properties": {"kind": {"const": "dog"}}, "required": ["kind"]}
    found = Arguments.of(
        {"oneOf": [cat, dog], "allOf": [{"properties": {"id": {"type": "integer"}}, "required": ["id"]}]}
    )
    assert set(found.schemas) == {"kind", "name", "id"}
    assert set(found.required) == {"kind", "id"}
    assert found.schemas["kind"] == {"anyOf": [{"const": kind, "type": "string"} for kind in ("cat", "dog")]}


def test_names_that_python_does_not_take_are_arguments_all_the_same() -> None:
    found = of({"class": {}, "my-arg": {}, "self": {}}, ("class",))
    assert set(found.schemas) == {"class", "my-arg", "self"}
    assert [p.name for p in found.signature.parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY] == ["self"]


def test_properties_may_be_called_like_keywords_of_json_schema() -> None:
    names = {name: {"type": "string", "title": "T"} for name in ("title", "$ref", "$defs", "default", "required")}
    assert of(names).schemas == {name: {"type": "string"} for name in names}


def test_none_is_left_out_where_nothing_else_can_be_meant() -> None:
    found = of(
        {"a": {"type": "integer"}, "b": {"type": ["integer", "null"]}, "c": {"type": "integer"}, "d": {}}, ("c",)
    )
    assert found.given({"a": None, "b": None, "c": None, "d": None, "e": None}) == {
        "b": None, "c": None, "d": None, "e": None,
    }  # fmt: skip


KEYWORDS = [
    "$ref", "$defs", "A", "properties", "required", "type", "enum", "const", "anyOf", "oneOf", "allOf", "items", "then",
    "default", "description", "title", "additionalProperties", "patternProperties", "dependentSchemas", "a",
    "$anchor", "$dynamicRef", "0",
]  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=3)
    | st.sampled_from(["#", "#/$defs/A", "#a", "#/anyOf/0", "#/allOf/" + "9" * 5000, "object", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4),
    max_leaves=20,
)


@given(schema=JSON)
def test_nothing_that_json_can_say_breaks_the_conversion(schema: Any) -> None:
    found = Arguments.of(schema)
    json.dumps([found.schemas, found.required, found.hint, found.schema])
    assert all(isinstance(said, dict) for said in found.schemas.values())
    assert set(found.types) == set(found.schemas)
    assert found.given(dict.fromkeys(found.schemas)).keys() >= set(found.required)
    str(found.signature)
    for said in found.schemas.values():
        annotation(said)
