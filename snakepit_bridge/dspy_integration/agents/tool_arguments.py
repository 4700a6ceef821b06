"""What a tool's arguments are to DSPy and to a language model, made of their JSON Schema.

DSPy converts schemas itself, but takes every argument without a default for required, and fails on references,
definitions of definitions and lists of types. So this is done here, and DSPy is given the outcome. Nothing here checks
arguments: the server does, against the schema itself.
"""

from __future__ import annotations

import inspect
import json
import keyword
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Literal

from snakepit_bridge.dspy_integration.agents.inlining import Schema, inlined

_TYPES: dict[str, Any] = {
    "string": str, "integer": int, "number": float, "boolean": bool, "null": None, "array": list, "object": dict,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of a tool.

    Attributes:
        schemas: what each may be, by name, as a JSON Schema without references.
        required: those that cannot be left out.
        more: whether there may be others.
    """

    schemas: dict[str, Schema]
    required: tuple[str, ...]
    more: bool

    @classmethod
    def of(cls, schema: Any) -> Arguments:
        """What a JSON Schema of an object says; empty: any arguments. Never raises."""
        whole = inlined(schema)
        found = _collected(whole)
        schemas = {name: found.properties.get(name, {}) for name in (*found.properties, *found.required)}
        return cls(schemas, tuple(found.required), _is_open(whole))

    @property
    def types(self) -> dict[str, Any]:
        """Python's annotation for each."""
        return {name: annotation(schema) for name, schema in self.schemas.items()}

    @property
    def descriptions(self) -> dict[str, str]:
        """What is said of those of which something is said."""
        said = {name: schema.get("description") for name, schema in self.schemas.items()}
        return {name: text for name, text in said.items() if isinstance(text, str)}

    @property
    def hint(self) -> str:
        """What the schemas of single arguments do not say: which may be left out, and whether there are others."""
        optional = [_with_default(name, schema) for name, schema in self.schemas.items() if name not in self.required]
        said = [f"May be left out: {', '.join(optional)}."] if optional else []
        if self.more:
            said.append("Takes any other arguments too." if self.schemas else "Takes any arguments.")
        return " ".join(said)

    @property
    def schema(self) -> Schema:
        """One JSON Schema of them all, for a provider of language models."""
        whole: Schema = {"type": "object", "properties": self.schemas, "required": list(self.required)}
        return whole | ({"additionalProperties": True} if self.more else {})

    @property
    def signature(self) -> inspect.Signature:
        """As keywords of a Python function. What can be left out has its default there, or None."""
        named = [name for name in self.schemas if name.isidentifier() and not keyword.iskeyword(name)]
        # Those that are required come first: an interpreter of DSPy writes them as plain parameters, in this order.
        named.sort(key=lambda name: name not in self.required)
        kinds, types = inspect.Parameter, self.types
        parameters = [
            kinds(
                name,
                kinds.KEYWORD_ONLY,
                default=kinds.empty if name in self.required else self.schemas[name].get("default"),
                annotation=types[name],
            )
            for name in named
        ]
        if self.more or len(named) < len(self.schemas):
            others = next(name for name in ("arguments", "more_arguments", "_arguments_") if name not in named)
            parameters.append(kinds(others, kinds.VAR_KEYWORD))
        return inspect.Signature(parameters)

    def given(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments to send: without those that are None where only leaving them out can be meant.

        Language models write null for what they leave out, and interpreters of DSPy give every parameter.
        """
        return {
            name: value
            for name, value in arguments.items()
            if value is not None
            or name in self.required
            or name not in self.schemas
            or _may_be_null(self.schemas[name])
        }


@dataclass(frozen=True, slots=True)
class _Collected:
    properties: dict[str, Schema]
    required: dict[str, None]


def _collected(schema: Schema) -> _Collected:
    """The properties of an object, also of one that is put together of several schemas."""
    properties: dict[str, Schema] = {}
    required: dict[str, None] = {}
    if isinstance(schema.get("properties"), Mapping):
        properties |= schema["properties"]
    if isinstance(schema.get("required"), list):
        required |= {name: None for name in schema["required"] if isinstance(name, str)}
    for part in _list(schema, "allOf"):
        inner = _collected(part)
        properties = _either(properties, inner.properties, both=True)
        required |= inner.required
    for key in ("anyOf", "oneOf"):
        branches = [_collected(branch) for branch in _list(schema, key)]
        for branch in branches:
            properties = _either(properties, branch.properties, both=False)
        if branches:
            required |= {name: None for name in branches[0].required if all(name in b.required for b in branches)}
    conditional = [schema[key] for key in ("then", "else") if isinstance(schema.get(key), Mapping)]
    dependent = schema.get("dependentSchemas")
    conditional += dependent.values() if isinstance(dependent, Mapping) else []
    for part in conditional:
        properties = _either(properties, _collected(part).properties, both=False)
    return _Collected(properties, required)


def _list(schema: Schema, key: str) -> list[Schema]:
    found = schema.get(key)
    return [part for part in found if isinstance(part, dict)] if isinstance(found, list) else []


def _either(known: dict[str, Schema], more: dict[str, Schema], *, both: bool) -> dict[str, Schema]:
    """Properties that two schemas speak of; a value has to fit both, or one of them."""
    joined = dict(known)
    for name, schema in more.items():
        before = joined.get(name)
        if before is None or before == schema:
            joined[name] = schema
        elif both:
            joined[name] = {"allOf": [before, schema]} | {k: v for k, v in before.items() if k == "type"}
        else:
            branches = before["anyOf"] if before.keys() == {"anyOf"} else [before]
            joined[name] = {"anyOf": [*branches, schema] if schema not in branches else branches}
    return joined


def _with_default(name: str, schema: Schema) -> str:
    if schema.get("default") is None:
        return f"`{name}`"
    written = json.dumps(schema["default"], ensure_ascii=False, default=str)
    return f"`{name}` (else {written})" if len(written) <= _SHORT else f"`{name}`"


_SHORT = 60


def _is_open(schema: Schema) -> bool:
    if not schema:
        return True
    if schema.get("patternProperties"):
        return True
    return any(schema.get(key, {"not": {}}) not in (False, {"not": {}}) for key in _OPENING)


_OPENING = ("additionalProperties", "unevaluatedProperties")


def _may_be_null(schema: Schema) -> bool:
    if "type" in schema:
        return "null" in (schema["type"] if isinstance(schema["type"], list) else [schema["type"]])
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            return any(map(_may_be_null, _list(schema, key)))
    return all(_may_be_null(part) for part in _list(schema, "allOf"))


def annotation(schema: Schema) -> Any:
    """The Python annotation that says most of what a schema does; Any if it says nothing of that kind."""
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(values, list) and values and all(value is None or isinstance(value, (str, int)) for value in values):
        return Literal[tuple(values)]
    branches = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(branches, list) and branches:
        return _union([annotation(branch) for branch in branches if isinstance(branch, dict)] or [Any])
    kinds = schema.get("type")
    names = [name for name in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(name, str)]
    return _union([_annotation_of(name, schema) for name in names if name in _TYPES] or [Any])


def _annotation_of(name: str, schema: Schema) -> Any:
    if name == "array" and isinstance(schema.get("items"), Mapping) and schema["items"]:
        return list[annotation(schema["items"])]  # type: ignore[misc]
    if name == "object":
        values = schema.get("additionalProperties")
        known = isinstance(values, Mapping) and values and not schema.get("properties")
        return dict[str, annotation(values) if known and isinstance(values, dict) else Any]  # type: ignore[misc]
    return _TYPES[name]


def _union(annotations: list[Any]) -> Any:
    if Any in annotations:
        return Any
    return reduce(or_, (type(None) if kind is None and len(annotations) > 1 else kind for kind in annotations))
