"""The arguments of a program that is called from elsewhere: their JSON Schema, and the values they mean.

They arrive as plain data. A field's annotation says what to make of it: pydantic makes models, dates and enums out of
what their JSON Schema allows; DSPy's own types may also be what `sb.dump` gives, and an Image an address.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import dspy
import pydantic_core
from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError, WithJsonSchema
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError, PydanticUserError

from snakepit_bridge.dspy_integration.agents.inlining import Schema, inlined
from snakepit_bridge.dspy_integration.programs.fields import MISSING, Field, Fields
from snakepit_bridge.dspy_integration.serialization import dspy_types, load
from snakepit_bridge.dspy_integration.serialization.walk import TAG, reason
from snakepit_bridge.exceptions import EnvelopeError

_TAGS: dict[Any, str] = {kind: form.tag for form in dspy_types.FORMS for kind in form.types}
_PLAIN = {str, int, float, bool, type(None), Any, list, dict}
_ADDRESS: Schema = {
    "type": "string",
    "pattern": "^(data:|https?://|gs://)",
    "description": "an http(s), gs or data address",
}


class ProgramArguments:
    """Reads the arguments of a program.

    Attributes:
        schema: the JSON Schema of them all.
    """

    def __init__(self, fields: Fields) -> None:
        self._fields = fields.inputs
        self._adapters = {name: _adapter(field) for name, field in self._fields.items()}
        described, definitions = TypeAdapter.json_schemas(
            [(name, "validation", adapter) for name, adapter in self._adapters.items()]
        )
        properties = {name: described[name, "validation"] | _notes(field) for name, field in self._fields.items()}
        required = [name for name, field in self._fields.items() if field.default is MISSING]
        self.schema: Schema = {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }
        used = _used(properties, definitions.get("$defs", {}))
        if used:
            self.schema["$defs"] = used

    def read(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The values that the program takes.

        Raises:
            ValueError: an argument fits the schema, and not what it has to become.
        """
        return {name: self._read(name, value) for name, value in arguments.items() if name in self._fields}

    def _read(self, name: str, value: Any) -> Any:
        try:
            if _has_envelope(value):
                value = load(value, types=[self._fields[name].annotation])
            return self._adapters[name].validate_python(value)
        except EnvelopeError as error:
            raise ValueError(f"argument {name!r}: {error}") from None
        except ValidationError as error:
            raise ValueError(f"argument {name!r}: {reason(error)}") from None


def result_schema(fields: Fields) -> Schema:
    """A JSON Schema of what calling the program gives: the envelope of its Prediction."""
    outputs = {name: _described(field) for name, field in fields.outputs.items()}
    inner: Schema = {"type": "object", "properties": outputs, "required": list(outputs)}
    members: dict[str, Schema] = {
        TAG: {"const": "Prediction"},
        "fields": inner if outputs else {"type": "object"},
        "completions": {"type": ["object", "null"]},
        "usage": {"type": ["object", "null"]},
        "revision": {"type": ["integer", "null"]},
    }
    said = "the envelope of a dspy.Prediction: sb.load(result) makes it again"
    return {"type": "object", "description": said, "properties": members, "required": list(members)} if outputs else {}


def _used(schema: Any, definitions: Schema) -> Schema:
    """The definitions that a schema refers to, directly or not. Those that others replace are made all the same."""
    found: Schema = {}
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            name = str(part.get("$ref", "")).removeprefix("#/$defs/")
            if name in definitions and name not in found:
                found[name] = definitions[name]
                waiting.append(definitions[name])
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return found


def _adapter(field: Field) -> TypeAdapter[Any]:
    """What reads a field; anything at all, if its type says nothing that JSON Schema can."""
    annotation = _readable(field.annotation)
    if field.default is None:
        annotation = Union[annotation, None]  # noqa: UP007 - it may be an Annotated
    for limited in (Annotated[(annotation, *field.limits)] if field.limits else annotation, annotation):
        try:
            return _with_schema(limited)
        except (TypeError, NameError, PydanticUserError):
            continue
    return TypeAdapter(Any)


def _with_schema(annotation: Any) -> TypeAdapter[Any]:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    except PydanticSchemaGenerationError:
        # Some class that pydantic does not know: an instance of it comes out of an envelope only.
        adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    try:
        adapter.json_schema()
    except PydanticInvalidForJsonSchema:
        return TypeAdapter(Annotated[annotation, WithJsonSchema({})], config=ConfigDict(arbitrary_types_allowed=True))
    return adapter


def _readable(annotation: Any) -> Any:
    """The annotation, with DSPy's types replaced by what also takes their envelopes."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and origin is None and annotation in _TAGS:
        return _dspys(annotation)
    if origin is Annotated:
        return Annotated[(_readable(inner[0]), *inner[1:])]
    if origin in {Union, UnionType}:
        return Union[tuple(_readable(one) for one in inner)]  # noqa: UP007 - of a tuple
    if origin in {list, dict, tuple, set, frozenset}:
        return origin[tuple(_readable(one) for one in inner)]
    return annotation


def _dspys(kind: Any) -> Any:
    tag = _TAGS[kind]
    envelope: Schema = {
        "type": "object",
        "properties": {TAG: {"const": tag}},
        "required": [TAG],
        "additionalProperties": True,
        "description": f"what sb.dump gives of a dspy.{tag}",
    }
    if issubclass(kind, dspy.Example):
        return Annotated[kind, WithJsonSchema(envelope)]
    plain = inlined(TypeAdapter(kind).json_schema())
    # How to use the class in Python.
    plain.pop("description", None)
    if kind is not dspy.Image:
        return Annotated[kind, WithJsonSchema({"anyOf": [plain, envelope]})]
    plain["properties"]["url"] = _ADDRESS
    return Annotated[kind, BeforeValidator(_image), WithJsonSchema({"anyOf": [_ADDRESS, plain, envelope]})]


def _image(value: Any) -> Any:
    """An Image of its address. Never by its constructor, which opens files in older DSPys."""
    if isinstance(value, dict) and value.keys() == {"url"}:
        value = value["url"]
    return load({TAG: "Image", "fields": {"url": value}}) if isinstance(value, str) else value


def _notes(field: Field) -> Schema:
    notes: Schema = {"description": field.description} if field.description else {}
    if field.default is MISSING:
        return notes
    try:
        return notes | {"default": pydantic_core.to_jsonable_python(field.default, inf_nan_mode="null")}
    except pydantic_core.PydanticSerializationError:
        return notes


def _described(field: Field) -> Schema:
    notes: Schema = {"description": field.description} if field.description else {}
    if not _is_plain(field.annotation):
        return notes
    return inlined(TypeAdapter(field.annotation).json_schema()) | notes


def _is_plain(annotation: Any) -> bool:
    """Whether values of a type are in an envelope as they are in JSON."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return all(isinstance(one, (str, int, type(None))) for one in inner)
    if origin is dict:
        return inner[0] is str and _is_plain(inner[1])
    if origin in {list, Union, UnionType}:
        return all(_is_plain(one) for one in inner)
    return origin is None and annotation in _PLAIN


def _has_envelope(value: Any) -> bool:
    if isinstance(value, dict):
        return TAG in value or any(_has_envelope(item) for item in value.values())
    return isinstance(value, list) and any(_has_envelope(item) for item in value)
