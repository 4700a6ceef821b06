"""A user's own classes, to dump and to load."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NewType, TypedDict, TypeVar

import dspy
import numpy as np
import pydantic
from pydantic import BaseModel, Field

T = TypeVar("T")


class Currency(enum.Enum):
    EURO = "eur"
    DOLLAR = ("usd", 2)
    BUCK = DOLLAR


class Priority(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Line(BaseModel):
    name: str = Field(alias="lineName")
    price: Decimal
    currency: Currency = Currency.EURO


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    weight: float


class Invoice(BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)

    number: int | str
    due: dt.datetime
    lines: list[Line]
    by_date: dict[dt.date, tuple[Line, ...]] = Field(default_factory=dict)
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] = Field(default_factory=Cat)
    seen: set[str] = Field(default_factory=set)
    vector: np.ndarray[Any, Any] | None = None
    site: pydantic.HttpUrl | None = None
    image: dspy.Image | None = None
    _cache: int = pydantic.PrivateAttr(default=0)

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> Decimal:
        return sum((line.price for line in self.lines), Decimal(0))

    @pydantic.field_serializer("due")
    def written(self, due: dt.datetime) -> str:
        return "lost"


class Swapped(BaseModel):
    """Each field under the other's name."""

    a: int = Field(alias="b")
    b: int = Field(alias="a")


class Open(BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", frozen=True)

    known: int = 0


class Secretive(BaseModel):
    shown: int
    hidden: str = Field(default="default", exclude=True)


class Impossible(BaseModel):
    hidden: str = Field(exclude=True)


class Box(BaseModel, Generic[T]):
    content: T


class Tags(pydantic.RootModel[list[str]]):
    pass


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float = 0.0


@dataclasses.dataclass(kw_only=True)
class Path:
    points: list[Point]
    length: float = dataclasses.field(init=False, default=0.0)
    access: Access = Access.READ

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("a path has points")


@dataclasses.dataclass
class Listed(list):  # type: ignore[type-arg]
    name: str


class Trip(TypedDict):
    path: Path


class Verdict(dspy.Prediction):
    def __init__(self, judge: str) -> None:
        super().__init__(judge=judge, score=1.0)


class Clip(dspy.Type):
    """A custom type, which DSPy's own serialiser turns into marked text."""

    address: str

    def format(self) -> list[dict[str, Any]]:
        return [{"type": "image_url", "image_url": {"url": self.address}}]


Reference = NewType("Reference", Line)
