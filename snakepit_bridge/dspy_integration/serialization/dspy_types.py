"""DSPy's own classes: predictions, examples, and what stands in their fields.

Which of these there are depends on the DSPy that is installed. None is named at import: where one is missing, its tag
is still known, so that reading it says what to upgrade.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Annotated, Any, get_args

import dspy
from pydantic import TypeAdapter, ValidationError

from snakepit_bridge.dspy_integration._dspy_internals import (
    COMPLETIONS,
    EXAMPLE_DEMOS,
    FIELDS,
    INPUT_KEYS,
    PLACES,
    USAGE,
    find_class,
)
from snakepit_bridge.dspy_integration.revisions import REVISION, revision_of
from snakepit_bridge.dspy_integration.serialization.walk import Form, Members, Writer, reason, shortened, type_name

_DECISIONS = ("Noul", "Score", "Choice")
_SUBSCRIBED = ("Code", *_DECISIONS)
_MAX_LANGUAGE = 64
_MAX_OPTIONS = 65_536
"""Characters in what makes a class: DSPy and we keep such classes."""

_ADDRESSES = ("data:", "http://", "https://", "gs://")


_CLASSES = {tag: find_class(place) for places in PLACES.values() for tag, place in places.items()}


def _class_of(members: Members) -> Any:
    found = _CLASSES[members.tag]
    if found is None:
        members.refuse(f"the installed dspy {dspy.__version__} has no such class: upgrade dspy")
    return found


def is_variant(kind: type, tag: str) -> bool:
    """Whether a class is what DSPy made of one of its own by subscription: `Code["sql"]`, `Score["bad", "good"]`."""
    plain = _CLASSES[tag]
    return plain is not None and kind.__bases__ == (plain,) and kind.__module__ == plain.__module__


def is_dspys(kind: type) -> bool:
    """Whether a class is written under a tag of its own."""
    return kind in _CLASSES.values() or any(is_variant(kind, tag) for tag in _SUBSCRIBED)


def form_of(kind: type) -> Form | None:
    """The form of a class made from one of DSPy's: by subscription, or a user's own Prediction or Example."""
    for tag in _SUBSCRIBED:
        if is_variant(kind, tag):
            return _BY_TAG[tag]
    if issubclass(kind, dspy.Prediction):
        return _BY_TAG["Prediction"]
    return _BY_TAG["Example"] if issubclass(kind, dspy.Example) else None


def _write_record(out: Writer, value: Any) -> dict[str, Any]:
    state = vars(value)
    members: dict[str, Any] = {} if type(value) in _CLASSES.values() else {"type": type_name(type(value))}
    members["fields"] = out.at(".fields", state[FIELDS])
    if isinstance(value, dspy.Prediction):
        completions = value.completions
        members["completions"] = None if completions is None else out.at(".completions", dict(completions.items()))
        members["usage"] = out.at(".usage", state.get(USAGE))
        members["revision"] = out.at(".revision", revision_of(value))
    if not isinstance(value, dspy.Prediction) or state.get(INPUT_KEYS) is not None:
        keys = state.get(INPUT_KEYS)
        members["input_keys"] = None if keys is None else sorted(out.each(".input_keys", keys), key=str)
    if demos := state.get(EXAMPLE_DEMOS):
        members["demos"] = out.at(".demos", demos)
    return members


def _read_record(members: Members) -> Any:
    kind = _class_of(members)
    if "type" in members:
        kind = members.reader.classes.find(members, kind)
    # What DSPy's own class starts with. A subclass may want arguments that nobody knows any more.
    plain = dspy.Prediction() if issubclass(kind, dspy.Prediction) else dspy.Example()
    made = object.__new__(kind)
    state = vars(made)
    state.update(vars(plain), **{FIELDS: members.value("fields", dict)})
    if "input_keys" in members:
        keys = members.value("input_keys", list, type(None))
        state[INPUT_KEYS] = None if keys is None else set(keys)
    if "demos" in members:
        state[EXAMPLE_DEMOS] = members.value("demos", list)
    if isinstance(made, dspy.Prediction):
        state[COMPLETIONS] = _read_completions(members)
        state[USAGE] = members.value("usage")
        revision = members.value("revision", int, type(None))
        if revision is not None:
            state[REVISION] = revision
    return made


def _read_completions(members: Members) -> Any:
    found = members.value("completions", dict, type(None))
    if found is None:
        return None
    if not all(isinstance(values, list) for values in found.values()) or len({*map(len, found.values())}) > 1:
        members.refuse("has completions that are not lists of one length")
    return dspy.Completions(found)


def _write_model(out: Writer, value: Any) -> dict[str, Any]:
    """A class's fields as they are: DSPy's own serialisers give marked text, or leave out ids."""
    found = [(name, field, vars(value)[name]) for name, field in type(value).model_fields.items()]
    # An optional field that is absent reads the same in a DSPy that does not have it.
    kept = {name: item for name, field, item in found if item is not None or field.default is not None}
    return {"fields": out.at(".fields", kept)}


def _read_model(members: Members) -> Any:
    return _make_model(members, _class_of(members))


def _make_model(members: Members, kind: Any) -> Any:
    """An instance, its fields checked one by one.

    DSPy's own constructors are kept out: some read files or fetch addresses that they are given, others change what
    they have already accepted.
    """
    fields = members.value("fields", dict)
    checks = _checks(kind)
    if unknown := fields.keys() - checks.keys():
        names = shortened(", ".join(sorted(map(repr, unknown))))
        members.refuse(
            f"has the fields {names}, which the installed dspy {dspy.__version__} does not know: upgrade dspy"
        )
    if missing := [name for name, field in kind.model_fields.items() if field.is_required() and name not in fields]:
        members.refuse(f"lacks its fields {', '.join(missing)}")
    return kind.model_construct(**{name: _checked(members, name, checks[name], fields[name]) for name in fields})


def _checked(members: Members, name: str, check: TypeAdapter[Any], value: Any) -> Any:
    try:
        return check.validate_python(value, strict=True)
    except ValidationError as error:
        members.refuse(f"its field {name} does not fit: {reason(error)}")


@lru_cache(maxsize=256)
def _checks(kind: Any) -> dict[str, TypeAdapter[Any]]:
    annotated: dict[str, Any] = {name: Annotated[field.annotation, field] for name, field in kind.model_fields.items()}
    return {name: TypeAdapter(annotation) for name, annotation in annotated.items()}


def _read_image(members: Members) -> Any:
    made = _make_model(members, _class_of(members))
    # Older versions open any other text as a file, and send what is in it to the LM.
    if not made.url.lower().startswith(_ADDRESSES):
        members.refuse("has a url that is neither data: nor http(s): nor gs:")
    return made


def _write_code(out: Writer, value: Any) -> dict[str, Any]:
    members = _write_model(out, value)
    return members if type(value) is dspy.Code else {**members, "language": out.at(".language", type(value).language)}


def _read_code(members: Members) -> Any:
    kind = _class_of(members)
    if "language" in members:
        language = members.value("language", str)
        if len(language) > _MAX_LANGUAGE:
            members.refuse(f"has a language of more than {_MAX_LANGUAGE} characters")
        kind = members.reader.classes.code_in(language) or _code_in(language)
    return _make_model(members, kind)


@lru_cache(maxsize=64)
def _code_in(language: str) -> Any:
    # DSPy makes another class each time.
    return dspy.Code[language]


def _write_decision(out: Writer, value: Any) -> dict[str, Any]:
    kind: Any = type(value)
    members = _write_model(out, value)
    criteria = kind.criteria()
    if kind in _CLASSES.values() or criteria is None:
        return members
    if isinstance(criteria, dict):
        labels = {str(option): option for option in get_args(kind.model_fields["value"].annotation)}
        labels = labels or {"true": True, "false": False}
        criteria = [[labels[label], description] for label, description in criteria.items()]
    return {**members, "options": out.at(".options", criteria)}


def _read_decision(members: Members) -> Any:
    kind = _class_of(members)
    if "options" in members:
        options = members.value("options", list)
        if len(json.dumps(options)) > _MAX_OPTIONS:
            members.refuse(f"has options of more than {_MAX_OPTIONS} characters")
        # A Score has only descriptions, and those may be lists.
        kind = kind[tuple(options) if members.tag == "Score" else tuple(map(tuple, options))]
    return _make_model(members, kind)


def _write_dataclass(out: Writer, value: Any) -> dict[str, Any]:
    return {"fields": out.at(".fields", dict(vars(value)))}


def _read_call(members: Members) -> Any:
    return _class_of(members)(**members.value("fields", dict))


def _write_mapping(out: Writer, value: Any) -> dict[str, Any]:
    return {"fields": out.at(".fields", dict(value))}


def _read_mapping(members: Members) -> Any:
    return _class_of(members)(members.value("fields", dict))


_PREDICTION = "fields completions usage revision"

_MODEL: tuple[Any, ...] = (_write_model, _read_model, "fields")
_PARTICULAR: dict[str, tuple[Any, ...]] = {
    "Image": (_write_model, _read_image, "fields"),
    "Code": (_write_code, _read_code, "fields", "language"),
    **dict.fromkeys(_DECISIONS, (_write_decision, _read_decision, "fields", "options")),
    "Prediction": (_write_record, _read_record, _PREDICTION, "type input_keys demos"),
    "EvaluationResult": (_write_record, _read_record, _PREDICTION, "input_keys demos"),
    "Example": (_write_record, _read_record, "fields input_keys", "type demos"),
    **dict.fromkeys(PLACES["dataclasses"], (_write_dataclass, _read_call, "fields")),
    **dict.fromkeys(PLACES["mappings"], (_write_mapping, _read_mapping, "fields")),
}
_BY_TAG = {
    tag: Form(tag, () if kind is None else (kind,), *_PARTICULAR.get(tag, _MODEL)) for tag, kind in _CLASSES.items()
}

FORMS = tuple(_BY_TAG.values())
