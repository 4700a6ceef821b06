"""Walking a value into an envelope, and an envelope back into a value, knowing at each step where one is."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, TypeVar

from pydantic import ValidationError

from snakepit_bridge.exceptions import EnvelopeError

TAG = "$dspy"

MAX_DEPTH = 64
"""How many values may lie inside one another. Writing and reading count alike: what is dumped can be loaded. A level
takes up to seven of Python's frames, and a program that is being called stands on hundreds of the 1,000 already."""

EXACT = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""

_MAX_SHOWN = 200
_SURROGATE = re.compile("[\ud800-\udfff]")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Form:
    """How one kind of value is written and read.

    Attributes:
        tag: what stands at "$dspy".
        types: the types written so; no subclasses.
        write: gives the members beside the tag.
        read: gives the value. Whatever it raises becomes an EnvelopeError.
        required: the members that there must be, separated by spaces.
        optional: those that there may be.
    """

    tag: str
    types: tuple[type, ...]
    write: Callable[[Writer, Any], dict[str, Any]]
    read: Callable[[Members], Any]
    required: str
    optional: str = ""


def type_name(kind: type) -> str:
    """A class as envelopes name it: `module:qualname`."""
    return f"{kind.__module__}:{kind.__qualname__}"


def clean(text: str) -> bool:
    """Whether every JSON reader takes this text: whether no half of a surrogate pair stands alone in it."""
    return text.isascii() or _SURROGATE.search(text) is None


def shortened(text: str) -> str:
    """Text that may be of any length, for a message."""
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN // 2]}…{text[-_MAX_SHOWN // 2 :]}"


def reason(error: Exception) -> str:
    """What an error says, for a message. Of what did not pass validation only where, as it may be secret."""
    if not isinstance(error, ValidationError):
        return shortened(f"{type(error).__name__}: {error}")
    return shortened("; ".join(": ".join([*map(str, one["loc"]), one["msg"]]) for one in error.errors()))


class Walk:
    """Where one is. Made for one dump or load; after an error it still says where that happened."""

    def __init__(self) -> None:
        self._steps: list[str] = []
        self._around: set[int] = set()

    @property
    def path(self) -> str:
        """The way from the root, e.g. `fields['answer'].items[3]`, in terms of the envelope; "" at the root."""
        return shortened("".join(self._steps).removeprefix("."))

    def at(self, step: str, thing: Any) -> Any:
        """Goes one level down, to `thing`, and gives what becomes of it."""
        here = id(thing)
        self._steps.append(step)
        if here in self._around:
            self.refuse("is a value that lies inside itself; an envelope holds trees only")
        if len(self._steps) > MAX_DEPTH:
            self.refuse(f"lies more than {MAX_DEPTH} levels deep; flatten the value")
        self._around.add(here)
        visited = self.visit(thing)
        self._around.discard(here)
        self._steps.pop()
        return visited

    def each(self, step: str, things: Iterable[Any]) -> list[Any]:
        """Goes to each of several, numbered."""
        return [self.at(f"{step}[{index}]", thing) for index, thing in enumerate(things)]

    def visit(self, thing: Any) -> Any:
        """What becomes of a value."""
        raise NotImplementedError

    def error(self, why: str, **facts: object) -> EnvelopeError:
        """What is wrong here; a class among the facts is named."""
        named = {key: type_name(fact) if isinstance(fact, type) else fact for key, fact in facts.items()}
        return EnvelopeError(f"{self.path or 'the value'} {why}", {"path": self.path, **named})

    def refuse(self, why: str, **facts: object) -> NoReturn:
        """Ends the walk.

        Raises:
            EnvelopeError: always.
        """
        raise self.error(why, **facts)


class Writer(Walk):
    """Writes one value. `form_of` gives the form of a type, or None."""

    def __init__(self, form_of: Callable[[type], Form | None], advice: Callable[[Any], str]) -> None:
        super().__init__()
        self._form_of = form_of
        self._advice = advice

    def visit(self, value: Any) -> Any:
        """The value in plain JSON types."""
        kind = type(value)
        if value is None or kind is bool:
            return value
        if (
            (kind is str and clean(value))
            or (kind is int and -EXACT <= value <= EXACT)
            or (kind is float and math.isfinite(value))
        ):
            return value
        if kind is list:
            return self.each("", value)
        if kind is dict and all(type(key) is str and key != TAG and clean(key) for key in value):
            return {key: self.at(f"[{key!r}]", item) for key, item in value.items()}
        form = self._form_of(kind)
        if form is None:
            self.refuse(f"is of type {type_name(kind)}, which no envelope holds: {self._advice(value)}", type=kind)
        return {TAG: form.tag, **form.write(self, value)}


class NamedClasses(Protocol):
    """The user's classes that an envelope may name."""

    def find(self, members: Members, base: Any) -> Any:
        """The class that a tagged object names, which has to be a subclass of `base`."""

    def code_in(self, language: str) -> Any:
        """The class of `dspy.Code[language]` that a given signature uses, or None."""


class Reader(Walk):
    """Reads one envelope. `classes` are the user's classes that it may name."""

    def __init__(self, forms: Mapping[str, Form], classes: NamedClasses) -> None:
        super().__init__()
        self._forms = forms
        self.classes = classes

    def visit(self, plain: Any) -> Any:
        """The value that stands here."""
        if plain is None or isinstance(plain, str | bool | int | float):
            return plain
        if isinstance(plain, list):
            return self.each("", plain)
        if not isinstance(plain, dict):
            self.refuse(
                f"is of type {type_name(type(plain))}: an envelope is made of plain JSON types", type=type(plain)
            )
        for key in plain:
            if not isinstance(key, str):
                self.refuse(f"has the key {shortened(repr(key))}: in an envelope all keys are text", type=type(key))
        if TAG in plain:
            return self._tagged(plain)
        return {key: self.at(f"[{key!r}]", item) for key, item in plain.items()}

    def _tagged(self, plain: dict[str, Any]) -> Any:
        tag = plain[TAG]
        form = self._forms.get(tag) if isinstance(tag, str) else None
        if form is None:
            self.refuse(
                f"has the tag {shortened(repr(tag))}, which this version does not know: upgrade snakepit-bridge, or "
                "load what sb.dump has made",
                tag=shortened(str(tag)),
            )
        required = form.required.split()
        if missing := [name for name in required if name not in plain]:
            self.refuse(f"has the tag {tag!r} and lacks {', '.join(missing)}", tag=tag)
        if unknown := plain.keys() - {TAG, *required, *form.optional.split()}:
            names = shortened(", ".join(sorted(map(repr, unknown))))
            self.refuse(f"has the tag {tag!r} and unknown members {names}: upgrade snakepit-bridge", tag=tag)
        try:
            return form.read(Members(self, tag, plain))
        except (EnvelopeError, RecursionError):
            raise
        except Exception as error:
            # What parsers of text say to nonsense, and a class's own code to what does not fit it.
            raise self.error(f"is no valid {tag}: {reason(error)}", tag=tag) from error


class Members:
    """The members of one tagged object, each checked as it is taken."""

    __slots__ = ("_plain", "reader", "tag")

    def __init__(self, reader: Reader, tag: str, plain: Mapping[str, Any]) -> None:
        self.reader = reader
        self.tag = tag
        self._plain = plain

    def __contains__(self, name: str) -> bool:
        return name in self._plain

    def raw(self, name: str, kind: type[T]) -> T:
        """A member of a JSON type, as it stands there."""
        found = self._plain[name]
        # `True` is an int to Python, but not to whoever wrote it.
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
            self.refuse(f"has {name} of type {type(found).__name__}, not {kind.__name__}")
        return found

    def value(self, name: str, *kinds: type) -> Any:
        """A member that is a value, of exactly one of these types if any are given."""
        found = self.reader.at(f".{name}", self._plain[name])
        if kinds and type(found) not in kinds:
            wanted = " or ".join(kind.__name__ for kind in kinds)
            self.refuse(f"has {name} of type {type(found).__name__}, not {wanted}")
        return found

    def values(self, name: str) -> list[Any]:
        """A member that is a list of values."""
        return self.reader.each(f".{name}", self.raw(name, list))

    def refuse(self, why: str) -> NoReturn:
        """Ends the walk with what is wrong with this object."""
        self.reader.refuse(f"has the tag {self.tag!r} and {why}", tag=self.tag)
