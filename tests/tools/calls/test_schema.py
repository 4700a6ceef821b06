"""A function as a tool: its schema, its description, and the arguments it is given."""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Annotated, Any, Literal, NotRequired, TypedDict
from uuid import UUID

import numpy as np
import pydantic
import pytest

from snakepit_bridge import Retry
from snakepit_bridge._tools import docstrings
from snakepit_bridge._tools.definition import declare
from snakepit_bridge._tools.type_mapping import ArgumentError
from snakepit_bridge.exceptions import InvalidRequestError

_INTEGER = {"type": "integer"}
ROOT = Path(__file__).parents[3]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Filter(pydantic.BaseModel):
    tags: list[str] = []
    most: int = pydantic.Field(default=3, ge=1, description="how many at most")


@dataclasses.dataclass
class Place:
    city: str
    filter: Filter
    height: float = 0.0


class Point(TypedDict):
    x: int
    y: NotRequired[float]


def schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(declare(function).spec.arguments_schema)
    return schema


def bound(function: Callable[..., Any], **arguments: Any) -> Any:
    """What the function returns for arguments as they come off the wire."""
    signature = declare(function, name="f").signature
    assert signature is not None
    return function(**signature.bind(arguments))


def of_annotation(annotation: Any) -> Any:
    def tool(x: Any) -> None: ...

    tool.__annotations__["x"] = annotation
    return schema_of(tool)["properties"]["x"]


def test_arguments_defaults_and_descriptions_make_the_schema() -> None:
    def population(city: str, year: int = 2020, *, exact: bool = False, note: str = None) -> int:  # type: ignore[assignment]  # noqa: RUF013
        """How many people live there.

        By the last census.

        Args:
            city: The city,
                by its English name.
            year (int): The year: which one.
            exact: or about
            note: whatever

        Raises:
            KeyError: it is unknown.
        """
        raise KeyError(city, year, exact, note)

    declared = declare(population)
    assert declared.name == "population"
    assert declared.spec.description == (
        "How many people live there.\n\nBy the last census.\n\nRaises:\n    KeyError: it is unknown."
    )
    assert json.loads(declared.spec.arguments_schema) == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "The city, by its English name."},
            "year": {"type": "integer", "description": "The year: which one.", "default": 2020},
            "exact": {"type": "boolean", "description": "or about", "default": False},
            "note": {
                "anyOf": [{"type": "string"}, {"type": "null"}],
                "description": "whatever",
                "default": None,
            },
        },
        "required": ["city"],
    }
    assert json.loads(declared.spec.result_schema) == {"type": "integer"}
    assert (declared.spec.streaming, declared.spec.idempotent, declared.kind) == (False, False, "function")
    assert not declared.spec.HasField("timeout")
    assert not declared.spec.HasField("retry")


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (Any, {}),
        (object, {}),
        (bytes, {"type": "string", "contentEncoding": "base64"}),
        (list, {"type": "array"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (Sequence[str], {"type": "array", "items": {"type": "string"}}),
        (dict, {"type": "object", "additionalProperties": True}),
        (dict[str, list[int]], {"type": "object", "additionalProperties": {"type": "array", "items": _INTEGER}}),
        (Mapping[str, Any], {"type": "object", "additionalProperties": True}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (Literal["a", "b"], {"enum": ["a", "b"], "type": "string"}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (
            Point,
            {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "number"}}, "required": ["x"]},
        ),
        (datetime, {"type": "string", "format": "date-time"}),
        (UUID, {"type": "string", "format": "uuid"}),
        (set[int], {"type": "array", "uniqueItems": True, "items": {"type": "integer"}}),
        (Annotated[int, pydantic.Field(ge=1)], {"type": "integer", "minimum": 1}),
    ],
)  # fmt: skip
def test_an_annotation_makes_a_schema(annotation: Any, schema: Any) -> None:
    assert of_annotation(annotation) == schema


def test_an_array_is_an_object_with_dtype_and_shape() -> None:
    schema = of_annotation(np.ndarray)
    assert (schema["type"], schema["required"]) == ("object", ["dtype", "shape"])
    array = np.arange(3)
    assert bound(lambda a: a, a=array) is array


def test_models_share_one_set_of_definitions() -> None:
    def search(place: Place, filter: Filter, colours: list[Colour]) -> Place: ...  # type: ignore[empty-body]

    schema = schema_of(search)
    assert set(schema["$defs"]) == {"Place", "Filter", "Colour"}
    assert schema["properties"]["filter"] == {"$ref": "#/$defs/Filter"}
    assert schema["$defs"]["Filter"]["properties"]["most"]["description"] == "how many at most"
    assert "Place" in declare(search).spec.result_schema


def test_a_pattern_that_looks_around_is_left_to_pydantic() -> None:
    class Sum(pydantic.BaseModel):
        plain: Annotated[str, pydantic.Field(pattern="^a+$")]
        # As pydantic 2.12 says of a Decimal.
        around: Annotated[str, pydantic.WithJsonSchema({"type": "string", "pattern": r"^(?!^[-+.]*$)\d+$"})]

    def tool(sum: Sum) -> None: ...

    properties = schema_of(tool)["$defs"]["Sum"]["properties"]
    assert properties["plain"]["pattern"] == "^a+$"
    assert properties["around"]["type"] == "string"
    assert "pattern" not in properties["around"]


def test_arguments_are_what_the_annotations_say() -> None:
    def tool(
        place: Place,
        colour: Colour,
        when: datetime,
        span: timedelta,
        ids: set[UUID],
        pair: tuple[int, str],
        where: Path,
        maybe: Filter | None = None,
    ) -> Any:
        return place, colour, when, span, ids, pair, where, maybe

    one = UUID(int=1)
    assert bound(
        tool,
        place={"city": "Paris", "filter": {"tags": ["a"]}},
        colour="blue",
        when="2026-01-02T03:04:05Z",
        span="PT1.5S",
        ids=[str(one)],
        pair=[1, "b"],
        where="a/b",
        maybe=None,
    ) == (
        Place("Paris", Filter(tags=["a"])),
        Colour.BLUE,
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        timedelta(seconds=1.5),
        {one},
        (1, "b"),
        Path("a/b"),
        None,
    )


def test_numbers_become_those_that_are_wanted_and_nothing_else_changes() -> None:
    def tool(i: int, f: float, many: list[float], named: dict[str, int], maybe: float | None, either: int | str) -> Any:
        return i, f, many, named, maybe, either

    got = bound(tool, i=1.0, f=2, many=[1, 2.5], named={"a": 1.0}, maybe=3, either=1.0)
    assert got == (1, 2.0, [1.0, 2.5], {"a": 1}, 3.0, 1.0)
    assert [type(one) for one in (got[0], got[1], got[2][0], got[3]["a"], got[4])] == [int, float, float, int, float]
    # Beyond 2**53 a float would be another number.
    assert bound(lambda i: i, i=2**63 - 1) == 2**63 - 1
    assert bound(tool, i=2**53 + 1, f=0, many=[], named={}, maybe=None, either="x")[0] == 2**53 + 1


def test_bytes_come_as_they_are_or_as_base64() -> None:
    def tool(data: bytes) -> bytes:
        return data

    assert bound(tool, data=b"\x00\xff") == b"\x00\xff"
    assert bound(tool, data="AP8=") == b"\x00\xff"
    with pytest.raises(ArgumentError) as refused:
        bound(tool, data="no base64!")
    assert refused.value.problems[0][0] == "data"


def test_what_fits_the_schema_but_not_the_type_names_the_place() -> None:
    def tool(filter: Filter, colours: list[Colour]) -> None: ...

    with pytest.raises(ArgumentError) as refused:
        bound(tool, filter={"tags": ["a", 1]}, colours=["red"])
    assert [path for path, _ in refused.value.problems] == ["filter.tags[1]"]
    with pytest.raises(ArgumentError) as refused:
        bound(tool, filter={}, colours=["red", "green"])
    assert [path for path, _ in refused.value.problems] == ["colours[1]"]
    assert "pydantic.dev" not in str(refused.value)


def test_a_pydantic_field_as_default_is_one() -> None:
    def tool(n: int = pydantic.Field(default=3, ge=1, description="how many"), tags: list[str] = pydantic.Field(default_factory=list)) -> Any:  # fmt: skip  # noqa: B008, E501
        return n, tags

    schema = schema_of(tool)
    assert schema["properties"]["n"] == {"type": "integer", "minimum": 1, "description": "how many", "default": 3}
    assert "required" not in schema
    assert bound(tool) == (3, [])
    assert bound(tool, n=4, tags=["a"]) == (4, ["a"])


def test_other_keywords_become_additional_properties() -> None:
    def anything(**kwargs: Any) -> Any:
        return kwargs

    def numbers(scale: int = 1, **kwargs: float) -> Any:
        return scale, kwargs

    assert schema_of(anything) == {"type": "object", "properties": {}, "additionalProperties": True}
    assert schema_of(numbers)["additionalProperties"] == {"type": "number"}
    assert bound(numbers, scale=2, a=1) == (2, {"a": 1.0})
    assert bound(anything, **{"not an identifier": [1]}) == {"not an identifier": [1]}


def positional(a: int, /) -> None: ...


def starred(*names: str) -> None: ...


def of_a_function(callback: Callable[[], int]) -> None: ...


def of_an_object(lock: Event) -> None: ...


@pytest.mark.parametrize(
    ("function", "field"),
    [
        (positional, "arguments.a"),
        (starred, "arguments.names"),
        (of_a_function, "arguments.callback"),
        (of_an_object, "arguments.lock"),
        (max, "arguments"),
        (lambda x: x, "name"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_with_the_argument_named(function: Any, field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        declare(function)
    assert refused.value.field == field


def test_an_annotation_that_cannot_be_resolved_is_refused() -> None:
    def tool(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(InvalidRequestError) as refused:
        declare(tool)
    assert refused.value.field == "arguments"
    assert declare(tool, arguments_schema={"type": "object"}).signature is None


def test_an_annotation_may_name_a_class_of_the_function_around() -> None:
    class Local(pydantic.BaseModel):
        n: int

    def inner() -> dict[str, Any]:
        class Deeper(Local):
            pass

        def tool(one: Local, other: Deeper) -> None: ...

        return schema_of(tool)

    assert set(inner()["$defs"]) == {"Local", "Deeper"}


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError):
        declare("population")  # type: ignore[arg-type]


class Counter:
    """Counts."""

    def __call__(self, by: int) -> int:
        return by

    async def method(self, city: str) -> int:
        """Of a method.

        Args:
            city: which
        """
        return len(city)


def test_methods_partials_classes_and_objects_that_are_called_are_functions_too() -> None:
    method = declare(Counter().method)
    assert (method.name, method.kind, method.spec.description) == ("method", "coroutine", "Of a method.")
    assert schema_of(Counter().method)["properties"] == {"city": {"type": "string", "description": "which"}}
    counter = declare(Counter(), name="count")
    assert (counter.kind, counter.spec.description) == ("function", "Counts.")
    assert json.loads(counter.spec.arguments_schema)["required"] == ["by"]
    part = functools.partial(Counter().method, city="Rome")
    assert schema_of(part)["properties"]["city"]["default"] == "Rome"
    assert (declare(part).name, declare(part).kind) == ("method", "coroutine")
    assert schema_of(Place)["required"] == ["city", "filter"]
    with pytest.raises(InvalidRequestError) as refused:
        declare(Counter())
    assert refused.value.field == "name"


def test_a_decorated_function_is_read_through_its_wrapper() -> None:
    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @wrapped
    def population(city: str) -> int:
        """Says how many."""
        return len(city)

    assert schema_of(population)["required"] == ["city"]
    assert declare(population).spec.description == "Says how many."


def test_generators_stream() -> None:
    def one() -> Iterator[int]:
        yield 1

    async def two() -> AsyncIterator[int]:
        yield 1

    async def three() -> None: ...

    kinds = [(declare(each).kind, declare(each).spec.streaming) for each in (one, two, three)]
    assert kinds == [("generator", True), ("async_generator", True), ("coroutine", False)]
    assert declare(one).spec.result_schema == ""


def test_what_is_said_beside_the_function_goes_first() -> None:
    def tool(x: int) -> int:
        """Described."""
        return x

    declared = declare(
        tool,
        name="other",
        description="Otherwise.",
        idempotent=True,
        timeout=1.5,
        retry=Retry(max_attempts=2, initial_backoff=0.25),
        max_concurrency=3,
        metadata={"kind": "test"},
        arguments_schema={"type": "object", "additionalProperties": True},
        result_schema='{"type": "string"}',
        everywhere=True,
        traceback=True,
    )
    spec = declared.spec
    assert (spec.name, spec.description, spec.idempotent, spec.max_concurrency) == ("other", "Otherwise.", True, 3)
    assert spec.timeout.ToTimedelta() == timedelta(seconds=1.5)
    assert (spec.retry.max_attempts, spec.retry.initial_backoff.ToTimedelta()) == (2, timedelta(seconds=0.25))
    assert dict(spec.metadata) == {"kind": "test"}
    assert spec.arguments_schema == '{"type":"object","additionalProperties":true}'
    assert spec.result_schema == '{"type": "string"}'
    assert (declared.everywhere, declared.traceback, declared.signature) == (True, True, None)
    nonsense: list[dict[str, Any]] = [
        {"timeout": -1.0},
        {"timeout": float("nan")},
        {"max_concurrency": 0},
        {"arguments_schema": "{not json"},
        {"arguments_schema": "[]"},
        {"arguments_schema": {"default": b""}},
        {"result_schema": "nothing"},
    ]
    for wrong in nonsense:
        with pytest.raises(InvalidRequestError) as refused:
            declare(tool, **wrong)
        assert refused.value.field in wrong


def test_the_same_function_makes_the_same_schema_each_time() -> None:
    def tool(place: Place, colours: list[Colour], **others: Filter) -> None: ...

    assert declare(tool).spec == declare(tool).spec


def test_without_pydantic_the_everyday_types_do_and_the_others_say_what_to_install() -> None:
    code = """
import sys
sys.modules["pydantic"] = None
from datetime import datetime
from typing import Literal, Optional
from snakepit_bridge._tools.definition import declare
from snakepit_bridge.exceptions import InvalidRequestError

def everyday(a: str, b: int = 1, c: Optional[list[float]] = None, d: Literal["x", "y"] = "x", **rest: dict) -> dict: ...
def special(when: datetime) -> None: ...

print(declare(everyday).spec.arguments_schema)
try:
    declare(special)
except InvalidRequestError as refused:
    print(refused.field, "pip install pydantic" in str(refused))
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    schema, refused = result.stdout.splitlines()
    assert json.loads(schema)["required"] == ["a"]
    assert refused == "arguments.when True"


def test_a_docstring_without_arguments_is_a_description() -> None:
    assert docstrings.parse("") == ("", {})
    assert docstrings.parse("One line.") == ("One line.", {})
    assert docstrings.parse(
        "Says.\n\nArgs:\n    *names: All.\n    **rest: The rest,\n      too.\nReturns:\n    It."
    ) == (
        "Says.\n\nReturns:\n    It.",
        {"names": "All.", "rest": "The rest, too."},
    )
    assert docstrings.parse("Args:\n") == ("", {})
