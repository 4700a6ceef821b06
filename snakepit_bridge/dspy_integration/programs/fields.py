"""What a program takes and gives, as another process has to know it: inputs and outputs with their types."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import dspy
from pydantic_core import PydanticUndefined

from snakepit_bridge.dspy_integration._dspy_internals import (
    defined_by_dspy,
    ensure_signature,
    field_description,
    inner_module,
    inner_predictor,
    standard_description,
)
from snakepit_bridge.exceptions import BindingError

MISSING = PydanticUndefined
"""The default of a field that has none."""


@dataclass(frozen=True, slots=True)
class Field:
    """One input or output of a program.

    Attributes:
        annotation: its type.
        description: what its signature says of it; may be empty.
        default: what it is if it is left out, or MISSING.
        limits: pydantic's, such as `Ge(0)`.
    """

    annotation: Any
    description: str = ""
    default: Any = MISSING
    limits: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Fields:
    """What a program takes and gives.

    Attributes:
        outputs: empty if nobody has declared them.
        description: what the program does, as far as it says.
    """

    inputs: Mapping[str, Field]
    outputs: Mapping[str, Field]
    description: str


def fields_of(program: Any, signature: Any = None) -> Fields:
    """What a program takes and gives: what `signature` says, else its own signature, else its `forward`.

    Raises:
        BindingError: this is no program, or none of them says what it takes.
    """
    if not isinstance(program, dspy.Module):
        raise BindingError(f"{program!r} is no dspy.Module; offer a function with ctx.offer(function)")
    declared = ensure_signature(signature) if signature is not None else _signature_of(program)
    if declared is None:
        return Fields(_parameters_of(program), {}, _docstring_of(program))
    if not declared.input_fields:
        raise BindingError(f"the signature of {type(program).__name__} has no input field: give another by signature=")
    said = _docstring_of(program) if signature is not None else ""
    return Fields(_read(declared.input_fields), _read(declared.output_fields), said or declared.instructions)


def _signature_of(program: Any) -> Any:
    """The signature of one of DSPy's modules, or of one that keeps its signature as they do."""
    if isinstance(program, dspy.ChainOfThought):
        return inner_predictor(program).signature
    if isinstance(program, (dspy.BestOfN, dspy.Refine)):
        return _signature_of(inner_module(program))
    found = getattr(program, "signature", None)
    return found if isinstance(found, type) and issubclass(found, dspy.Signature) else None


def _read(fields: Mapping[str, Any]) -> dict[str, Field]:
    return {name: _field(name, field) for name, field in fields.items()}


def _field(name: str, field: Any) -> Field:
    said = field_description(field) or ""
    # What DSPy puts there if nobody says anything.
    description = "" if said == standard_description(name) else said
    # A default_factory is none to DSPy.
    return Field(field.annotation, description, field.default, tuple(field.metadata))


def _parameters_of(program: Any) -> dict[str, Field]:
    # Through the class: DSPy warns of who reads `forward` off an instance.
    forward = next((found for name in ("forward", "aforward") if (found := getattr(type(program), name, None))), None)
    if forward is None:
        raise BindingError(f"{type(program).__name__} has no forward to call")
    try:
        hints = get_type_hints(inspect.unwrap(forward), include_extras=True)
    except Exception:
        # Annotations may name what is only there for a type checker.
        hints = {}
    _, *parameters = inspect.signature(forward).parameters.values()
    fields = {}
    for parameter in parameters:
        if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
            raise _unknown(program, forward)
        default = MISSING if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = Field(hints.get(parameter.name, Any), "", default)
    if not fields:
        raise _unknown(program, forward)
    return fields


def _unknown(program: Any, forward: Callable[..., Any]) -> BindingError:
    name = type(program).__name__
    return BindingError(
        f"what {name} takes cannot be told from {forward.__name__}{inspect.signature(forward)}: give its fields, as in "
        'signature="question: str -> answer: str"'
    )


def _docstring_of(program: Any) -> str:
    """What a user's own class says of itself; DSPy's say how to use them."""
    cls = next((cls for cls in type(program).__mro__ if not cls.__module__.startswith("snakepit_bridge.")), dspy.Module)
    own = [] if defined_by_dspy(cls) else [cls, vars(cls).get("forward"), vars(cls).get("aforward")]
    return next((inspect.cleandoc(doc) for thing in own if (doc := getattr(thing, "__doc__", None))), "")
