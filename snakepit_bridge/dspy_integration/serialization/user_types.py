"""A user's own classes: pydantic models, dataclasses and enums.

An envelope names them; nothing is ever imported because it is named. Reading one finds only classes that `load` was
given, or that a class or signature which it was given uses in an annotation.
"""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import dspy
from pydantic import BaseModel, RootModel

from snakepit_bridge.dspy_integration.serialization.dspy_types import is_dspys, is_variant
from snakepit_bridge.dspy_integration.serialization.walk import Form, Members, Writer, shortened, type_name


class Classes:
    """The classes that an envelope may name.

    Args:
        given: classes, signatures and annotations, or a mapping from the name in the envelope to its class now.
    """

    def __init__(self, given: Iterable[Any] | Mapping[str, Any]) -> None:
        if isinstance(given, type):
            # An Enum is iterable, over its members.
            given = [given]
        renamed = given if isinstance(given, Mapping) else {}
        self._named: dict[str, list[Any]] = {}
        self._codes: dict[str, Any] = {}
        for kind in _reachable(renamed.values() if renamed else given):
            if is_variant(kind, "Code"):
                self._codes.setdefault(kind.language, kind)
            if _is_own(kind):
                self._named.setdefault(type_name(kind), []).append(kind)
        self._named.update((name, [kind]) for name, kind in renamed.items() if _is_own(kind))

    def find(self, members: Members, base: Any) -> Any:
        """The class that a tagged object names, which has to be a subclass of `base`."""
        name = members.raw("type", str)
        found = self._named.get(name, [])
        short, last = shortened(name), shortened(name.rpartition(":")[2].rpartition(".")[2])
        if not found:
            members.reader.refuse(
                f"is of type {short}, which load was not told of, and nothing is imported because data names it: pass "
                f"types=[{last}], or a signature that uses it; if it has moved, types={{{short!r}: {last}}}",
                type=short,
            )
        if len(found) > 1:
            members.reader.refuse(
                f"is of type {short}, and types has {len(found)} classes of that name: pass types={{{short!r}: ...}}",
                type=short,
            )
        if not issubclass(found[0], base):
            members.reader.refuse(f"is of type {short}, which is no {members.tag} any more", type=short)
        return found[0]

    def code_in(self, language: str) -> Any:
        """The class of `dspy.Code[language]` that a given signature uses, or None."""
        return self._codes.get(language)


def _reachable(annotations: Iterable[Any]) -> Iterator[Any]:
    # Not all annotations can be hashed. Kept, because the id of one that is gone may come again.
    todo, seen = list(annotations), dict[int, Any]()
    while todo:
        annotation = todo.pop()
        if id(annotation) in seen:
            continue
        seen[id(annotation)] = annotation
        if not isinstance(annotation, type):
            todo += [typing.get_origin(annotation), *typing.get_args(annotation)]
            # `type X = ...` of Python 3.12, and NewType.
            todo += [getattr(annotation, name, None) for name in ("__value__", "__supertype__")]
            continue
        if issubclass(annotation, BaseModel):
            todo += [field.annotation for field in annotation.model_fields.values()]
        elif dataclasses.is_dataclass(annotation) or typing.is_typeddict(annotation):
            todo += _hints(annotation)
        yield annotation


def _is_own(kind: type) -> bool:
    """Whether it is a class that an envelope may name. DSPy's go by their tags, which keep their constructors out."""
    if is_dspys(kind) or issubclass(kind, dspy.Signature | dspy.Tool):
        return False
    return issubclass(kind, BaseModel | enum.Enum | dspy.Example) or dataclasses.is_dataclass(kind)


def _hints(kind: Any) -> Iterable[Any]:
    try:
        return typing.get_type_hints(kind).values()
    except Exception:
        # An annotation that names what was imported for type checkers only, say: its classes have to be given.
        return ()


_MORE_THAN_FIELDS = (dict, list, tuple, set, frozenset, str, bytes, bytearray, int, float, complex, dspy.Module)
"""A dataclass that is one of these too has content in none of its fields."""


def form_of(kind: type) -> Form | None:
    """The form of a user's class."""
    if issubclass(kind, enum.Enum):
        return _ENUM
    if issubclass(kind, BaseModel) and not issubclass(kind, dspy.Tool | dspy.Signature):
        return _MODEL
    return _DATACLASS if dataclasses.is_dataclass(kind) and not issubclass(kind, _MORE_THAN_FIELDS) else None


def _write_model(out: Writer, value: Any) -> dict[str, Any]:
    kind = type(value)
    kept = {}
    for name, field in kind.model_fields.items():
        if name not in vars(value):
            out.refuse(f"is of type {type_name(kind)} and lacks its field {name!r}: give it a value", type=kind)
        if not field.exclude:
            kept[name] = vars(value)[name]
        elif field.is_required():
            out.refuse(
                f"is of type {type_name(kind)}, which excludes its field {name!r} from dumps and requires "
                "it: give it a default",
                type=kind,
            )
    members = {"type": type_name(kind), "fields": out.at(".fields", kept)}
    if value.model_extra:
        members["extra"] = out.at(".extra", value.model_extra)
    if unset := [name for name in kept if name not in value.model_fields_set]:
        members["unset"] = unset
    return members


def _read_model(members: Members) -> Any:
    kind = members.reader.classes.find(members, BaseModel)
    fields = members.value("fields", dict)
    if "extra" in members:
        extra = members.value("extra", dict)
        if both := fields.keys() & extra.keys():
            members.refuse(f"has {shortened(repr(sorted(map(str, both))))} both as fields and as extra")
        fields = {**fields, **extra}
    given = fields["root"] if issubclass(kind, RootModel) else fields
    made = kind.model_validate(given, by_name=True, by_alias=False)
    if "unset" in members:
        made.model_fields_set.difference_update(members.raw("unset", list))
    return made


def _write_dataclass(out: Writer, value: Any) -> dict[str, Any]:
    fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return {"type": type_name(type(value)), "fields": out.at(".fields", fields)}


def _read_dataclass(members: Members) -> Any:
    kind: Any = members.reader.classes.find(members, object)
    if not hasattr(kind, "__dataclass_fields__"):
        members.refuse("names a class that is no dataclass any more")
    fields = members.value("fields", dict)
    later = {field.name for field in dataclasses.fields(kind) if not field.init}
    made = kind(**{name: value for name, value in fields.items() if name not in later})
    for name in later & fields.keys():
        # Frozen ones too.
        object.__setattr__(made, name, fields[name])
    return made


def _write_enum(out: Writer, value: Any) -> dict[str, Any]:
    # A combination of flags has a name, but is no member.
    name = value.name if value.name in type(value).__members__ else None
    return {"type": type_name(type(value)), "name": name, "value": out.at(".value", value.value)}


def _read_enum(members: Members) -> Any:
    kind = members.reader.classes.find(members, enum.Enum)
    value = members.value("value")
    name = members.value("name", str, type(None))
    if name is None:
        return kind(value)
    if name not in kind.__members__:
        members.refuse(f"names {shortened(name)!r}, which is no member of {type_name(kind)}")
    return kind[name]


_MODEL = Form("Model", (), _write_model, _read_model, "type fields", "extra unset")
_DATACLASS = Form("Dataclass", (), _write_dataclass, _read_dataclass, "type fields")
_ENUM = Form("Enum", (), _write_enum, _read_enum, "type name value")

FORMS = (_MODEL, _DATACLASS, _ENUM)
