"""JSON Schemas without references: what stands elsewhere in a schema is written where it is used.

A language model, and DSPy, read a schema from its beginning; neither follows a `$ref`. What cannot be written in full,
because it contains itself, is elsewhere, or makes the whole too large, becomes a description of what is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

Schema = dict[str, Any]

MAX_SCHEMAS = 1_000
"""How many schemas one may come to, inlined: a few lines of references can stand for millions."""

MAX_DEPTH = 20
_DIGITS = 10

_ONE = frozenset({
    "additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "not", "propertyNames",
    "then", "unevaluatedItems", "unevaluatedProperties",
})  # fmt: skip
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS = frozenset({"dependentSchemas", "patternProperties", "properties"})
_DROPPED = frozenset({
    "$anchor", "$comment", "$defs", "$dynamicAnchor", "$id", "$recursiveAnchor", "$schema", "$vocabulary",
    "definitions", "id", "title",
})  # fmt: skip
_NOTES = frozenset({"default", "deprecated", "description", "examples", "readOnly", "writeOnly"})
"""What says something of a value, and allows or refuses none."""


def inlined(schema: Any) -> Schema:
    """A schema that means the same and refers to nothing, without what only other schemas or programs need.

    Never raises: whatever is no schema allows everything.
    """
    return _Inliner(schema).at(schema, (), 0)


class _Inliner:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = MAX_SCHEMAS

    def at(self, schema: Any, following: tuple[str, ...], depth: int) -> Schema:
        """One schema inlined; `following` are the references that led here."""
        if schema is False:
            return {"not": {}}
        if not isinstance(schema, Mapping):
            return {}
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            return _cut(schema, "more of it than can be shown here")
        reference = _reference_in(schema)
        own = {key: value for key, value in schema.items() if key not in {"$ref", "$dynamicRef", "$recursiveRef"}}
        if reference is not None:
            return self._joined(self._target(reference, following, depth), own, following, depth)
        written = {
            key: self._keyword(key, value, following, depth + 1) for key, value in own.items() if _kept(key, value)
        }
        return _simplified(written)

    def _keyword(self, key: str, value: Any, following: tuple[str, ...], depth: int) -> Any:
        if key in _MAPS and isinstance(value, Mapping):
            return {str(name): self.at(below, following, depth) for name, below in value.items()}
        if (key in _LISTS or key == "items") and isinstance(value, Sequence) and not isinstance(value, str):
            return [self.at(below, following, depth) for below in value]
        if key == "items" or (key in _ONE and not isinstance(value, bool)):
            return self.at(value, following, depth)
        return value

    def _joined(self, target: Schema, own: Schema, following: tuple[str, ...], depth: int) -> Schema:
        """What a reference means, with what stands beside it."""
        beside = self.at(own, following, depth)
        if all(key in _NOTES or key not in target for key in beside):
            return _simplified(target | beside)
        notes = {key: value for key, value in beside.items() if key in _NOTES}
        rest = {key: value for key, value in beside.items() if key not in _NOTES}
        return notes | {"allOf": [target, rest]}

    def _target(self, reference: str, following: tuple[str, ...], depth: int) -> Schema:
        name = unquote(reference.rpartition("/")[2]).lstrip("#")
        found = self._find(reference)
        if found is None:
            return {"description": f"{name}, which is described elsewhere"}
        if reference in following:
            return _cut(found, f"{name} again, as above" if name else "all of this again")
        return self.at(found, (*following, reference), depth + 1)

    def _find(self, reference: str) -> Any:
        """The schema that a reference into this one names, or None."""
        if not reference.startswith("#"):
            return None
        pointer = unquote(reference[1:])
        if pointer and not pointer.startswith("/"):
            return _anchored(self._root, pointer)
        found = self._root
        for part in pointer.split("/")[1:]:
            step = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, Mapping) and step in found:
                found = found[step]
            elif isinstance(found, list) and step.isdecimal() and len(step) < _DIGITS and int(step) < len(found):
                found = found[int(step)]
            else:
                return None
        return found if isinstance(found, (Mapping, bool)) else None


def _reference_in(schema: Mapping[str, Any]) -> str | None:
    found = schema.get("$ref", schema.get("$dynamicRef", schema.get("$recursiveRef")))
    return found if isinstance(found, str) else None


def _anchored(root: Any, anchor: str) -> Any:
    """The definition with an anchor."""
    for key in ("$defs", "definitions"):
        definitions = root.get(key) if isinstance(root, Mapping) else None
        for found in definitions.values() if isinstance(definitions, Mapping) else ():
            # No set: a stranger's anchor may be anything.
            if isinstance(found, Mapping) and anchor in [found.get("$anchor"), found.get("$dynamicAnchor")]:
                return found
    return None


def _kept(key: str, value: Any) -> bool:
    # A title is a name for programs; so it is in what pydantic makes of a class, where it doubles the prompt.
    return key not in _DROPPED or (key in {"id", "title"} and not isinstance(value, str))


def _cut(schema: Any, why: str) -> Schema:
    """What is left of a schema where it is not written out."""
    short: Schema = {}
    if isinstance(schema, Mapping):
        short = {key: schema[key] for key in ("type", "description") if isinstance(schema.get(key), (str, list))}
    said = short.get("description")
    return short | {"description": f"{said} ({why})" if isinstance(said, str) else why}


def _simplified(schema: Schema) -> Schema:
    """Says in fewer words, or with a `type`, what a schema allows."""
    only = schema.get("allOf")
    if (
        isinstance(only, list)
        and len(only) == 1
        and all(k in _NOTES or k not in only[0] for k in schema if k != "allOf")
    ):
        schema = only[0] | {key: value for key, value in schema.items() if key != "allOf"}
    if "type" in schema:
        return schema
    branches = schema.get("anyOf") or schema.get("oneOf")
    if not isinstance(branches, list):
        kinds = _kinds_of_values(schema)
        return {"type": kinds[0] if len(kinds) == 1 else kinds} | schema if kinds else schema
    types = [_types_of(branch) for branch in branches]
    if not all(types):
        return schema
    union = list(dict.fromkeys(name for names in types for name in names))
    if "anyOf" in schema and all(branch.keys() == {"type"} for branch in branches):
        schema = {key: value for key, value in schema.items() if key != "anyOf"}
    return {"type": union[0] if len(union) == 1 else union} | schema


def _types_of(schema: Schema) -> list[str]:
    kind = schema.get("type")
    return (
        [kind] if isinstance(kind, str) else [k for k in kind if isinstance(k, str)] if isinstance(kind, list) else []
    )


def _kinds_of_values(schema: Schema) -> list[str]:
    """The types of the values that an enum or a const lists."""
    values = schema["enum"] if isinstance(schema.get("enum"), list) else [schema["const"]] if "const" in schema else []
    return list(dict.fromkeys(json_type(value) for value in values))


def json_type(value: Any) -> str:
    """What JSON Schema calls the type of a value."""
    names: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (type(None), "null"), (list, "array"),
    )  # fmt: skip
    return next((name for kinds, name in names if isinstance(value, kinds)), "object")
