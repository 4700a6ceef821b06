"""Constraints as a dict by name, and as the wire carries them."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from snakepit_bridge._variables.values import decode, dtype_name, dtype_names, dtype_number, encode
from snakepit_bridge.exceptions import BridgeError, InvalidRequestError
from snakepit_bridge.v1 import variable_pb2 as pb


def _number(value: object) -> float:
    # numpy registers its scalars here, too, and keeps its booleans out.
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError("a number")
    return float(value)


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError("an integer")
    return int(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("True or False")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("text")
    return value


def _sequence(value: object) -> Iterable[object]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError("a list")
    return value


def _texts(value: object) -> list[str]:
    return [_text(item) for item in _sequence(value)]


def _scalars(value: object) -> list[Any]:
    return [encode(item) for item in _sequence(value)]


def _shape(value: object) -> list[int]:
    return [-1 if item is None else _integer(item) for item in _sequence(value)]


def _dtype(value: object) -> int:
    name = getattr(value, "__name__", None) or getattr(value, "name", None) or value
    if name not in dtype_names():
        raise TypeError(f"one of {', '.join(dtype_names())}")
    return dtype_number(str(name))


# By type: the field of the wire's oneof, and what turns each named constraint into its field.
_ALLOWED: Mapping[str, tuple[str, Mapping[str, Callable[[object], Any]]]] = {
    "float": (
        "float",
        {
            "min": _number,
            "max": _number,
            "exclusive_min": _flag,
            "exclusive_max": _flag,
            "step": _number,
            "allow_nan": _flag,
            "allow_infinity": _flag,
        },
    ),
    "integer": ("integer", {"min": _integer, "max": _integer, "step": _integer}),
    "string": ("string", {"min_length": _integer, "max_length": _integer, "pattern": _text, "enum": _texts}),
    "boolean": ("", {}),
    "choice": ("choice", {"choices": _scalars}),
    "module": ("module", {"modules": _texts}),
    "embedding": ("embedding", {"dimensions": _integer, "dtype": _dtype}),
    "tensor": ("tensor", {"shape": _shape, "dtype": _dtype}),
    "list": ("collection", {"max_items": _integer, "max_depth": _integer}),
    "map": ("collection", {"max_items": _integer, "max_depth": _integer}),
    "bytes": ("bytes", {"max_length": _integer}),
}


def constraints_to_wire(name: str, kind: str, constraints: Mapping[str, Any]) -> pb.Constraints | None:
    """Puts the constraints of a variable of that type on the wire; one of None is no constraint, none at all is None.

    Raises:
        InvalidRequestError: a name the type does not know, or a value that cannot be one.
        BridgeError: this client does not know the type.
    """
    if kind not in _ALLOWED:
        number = pb.VariableType.DESCRIPTOR.values_by_name[f"VARIABLE_TYPE_{kind.upper()}"].number
        raise BridgeError(
            f"variable {name}: the server has the type {kind!r} (number {number}), whose constraints this client does "
            "not know; upgrade snakepit-bridge",
            {"variable": name, "type": kind, "number": number},
        )
    field, allowed = _ALLOWED[kind]
    given = {key: value for key, value in constraints.items() if value is not None}
    wire: dict[str, Any] = {}
    for key, value in given.items():
        if key not in allowed:
            known = ", ".join(allowed) or "none"
            raise _refused(name, key, f"{kind} variable {name} knows no constraint {key!r}; it knows: {known}")
        try:
            wire[key] = allowed[key](value)
        except (TypeError, BridgeError) as error:
            raise _refused(name, key, f"constraint {key} of {name} cannot be {value!r}: wanted {error}") from None
    if not wire:
        return None
    message = pb.Constraints()
    try:
        getattr(message, field).MergeFrom(type(getattr(message, field))(**wire))
    except (ValueError, TypeError) as error:
        raise _refused(name, ",".join(wire), f"constraints {given!r} of {name} are out of range: {error}") from None
    return message


def _refused(name: str, key: str, message: str) -> InvalidRequestError:
    return InvalidRequestError(message, {"field": f"constraints.{key}", "variable": name})


def constraints_from_wire(message: pb.Constraints) -> dict[str, Any]:
    """Takes constraints off the wire: those given, by name."""
    kind = message.WhichOneof("kind")
    if kind is None:
        return {}
    constraints: dict[str, Any] = {}
    for field, value in getattr(message, kind).ListFields():
        if field.name == "dtype":
            constraints["dtype"] = dtype_name(value)
        elif field.name == "choices":
            constraints["choices"] = [decode(choice) for choice in value]
        else:
            constraints[field.name] = value if isinstance(value, (int, float, str)) else list(value)
    return constraints
