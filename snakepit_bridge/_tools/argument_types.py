"""The arguments of a function as JSON Schema: each by its annotation, and all of pydantic's at once."""

from __future__ import annotations

import functools
import inspect
import json
import re
import typing
from inspect import Parameter
from typing import Any, NoReturn

from snakepit_bridge._tools.jsonable import to_plain
from snakepit_bridge._tools.type_mapping import ArgumentError, Convert, Mapped, mapped
from snakepit_bridge.exceptions import BridgeError, InvalidRequestError

__all__ = ["ArgumentTypes", "refuse"]

_MISSING = Parameter.empty
_LOOKS_AROUND = re.compile(r"\(\?<?[=!]")
# What is no schema inside a schema.
_DATA = frozenset({"const", "default", "enum", "examples"})


def refuse(tool: str, argument: str, problem: str) -> NoReturn:
    """Raises the InvalidRequestError of a function that cannot be a tool; `argument` is "" if it is about none."""
    field = f"arguments.{argument}" if argument else "arguments"
    raise InvalidRequestError(f"tool {tool!r}: {problem}", {"tool": tool, "field": field})


class ArgumentTypes:
    """Collects the arguments, and lets pydantic, where it is needed, make all their schemas at once."""

    def __init__(self, tool: str) -> None:
        self._tool = tool
        self._properties: dict[str, dict[str, Any]] = {}
        self._converts: dict[str, Convert] = {}
        # The argument's name, or None for the others, to the TypeAdapter that makes its schema.
        self._adapters: dict[str | None, Any] = {}
        self._others: Mapped | None = None

    def add(self, name: str, annotation: Any, default: Any, description: str) -> None:
        """One argument; `default` is `Parameter.empty` if it has none."""
        found = self._map(name, annotation, name)
        schema = dict(found.schema)
        if description:
            schema["description"] = description
        if default is not _MISSING:
            try:
                schema["default"] = json.loads(json.dumps(to_plain(default, name), allow_nan=False))
            except (BridgeError, TypeError, ValueError):
                # Not every default can be told in JSON.
                schema.pop("default", None)
        self._properties[name] = schema
        if found.convert is not None:
            self._converts[name] = found.convert

    def others(self, annotation: Any) -> None:
        """What `**kwargs` takes."""
        self._others = self._map(None, annotation, "**kwargs")

    def finish(self) -> tuple[dict[str, Any], dict[str, Convert], Convert | None]:
        """The schema of all, and how to convert them: those that are named, and the others."""
        schema: dict[str, Any] = {"type": "object", "properties": self._properties}
        if self._adapters:
            from pydantic import TypeAdapter

            made, shared = TypeAdapter.json_schemas(
                [(name or "", "validation", adapter) for name, adapter in self._adapters.items()]
            )
            made, shared = _linear(made), _linear(shared)
            for (name, _), found in made.items():
                if name:
                    # What the function's own docstring and default say goes first.
                    self._properties[name] = dict(found) | self._properties[name]
                elif self._others is not None:
                    self._others = Mapped(dict(found), self._others.convert)
            if "$defs" in shared:
                schema["$defs"] = shared["$defs"]
        if self._others is not None:
            schema["additionalProperties"] = self._others.schema or True
        return schema, self._converts, self._others.convert if self._others is not None else None

    def result(self, annotation: Any) -> dict[str, Any] | None:
        """The schema of a result; None if the annotation tells nothing, or nothing that JSON Schema can say."""
        if any(annotation is one for one in (_MISSING, Any, object)) or _is_iterator(annotation):
            return None
        found = mapped(annotation)
        if found is not None:
            return found.schema
        try:
            from pydantic import TypeAdapter

            return TypeAdapter(annotation).json_schema(mode="serialization")
        except Exception:
            return None

    def _map(self, key: str | None, annotation: Any, shown: str) -> Mapped:
        found = mapped(annotation)
        if found is not None:
            return found
        try:
            import pydantic
        except ImportError:
            refuse(
                self._tool,
                key or "",
                f"{shown} is a {_name(annotation)}, which needs pydantic: pip install pydantic, "
                "or say arguments_schema=",
            )
        try:
            adapter = pydantic.TypeAdapter(annotation)
            adapter.json_schema()
        except (pydantic.errors.PydanticUserError, pydantic.errors.PydanticUndefinedAnnotation) as error:
            said = str(error).partition("\n")[0]
            refuse(
                self._tool,
                key or "",
                f"{shown} is a {_name(annotation)}, of which there is no JSON Schema ({said}); "
                "take plain data or a pydantic model, or say arguments_schema=",
            )
        self._adapters[key] = adapter
        return Mapped({}, functools.partial(_validated, adapter))


def _linear(schema: Any) -> Any:
    """Without patterns that look around, as some pydantics make for Decimal: the server runs only linear ones.

    Whatever has a pattern here is pydantic's, which checks it again when it converts the argument.
    """
    if isinstance(schema, list):
        return [_linear(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: item if key in _DATA else _linear(item)
        for key, item in schema.items()
        if not (key == "pattern" and isinstance(item, str) and _LOOKS_AROUND.search(item))
    }


def _is_iterator(annotation: Any) -> bool:
    origin = typing.get_origin(annotation) or annotation
    return inspect.isclass(origin) and (hasattr(origin, "__next__") or hasattr(origin, "__anext__"))


def _validated(adapter: Any, value: Any) -> Any:
    from pydantic import ValidationError

    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        raise ArgumentError([(_path(one["loc"]), f"{one['msg']}, got {one['input']!r:.80}") for one in found]) from None


def _path(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)


def _name(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
