"""Every member of the protocol's enums has its entry in Python's tables, and one that is too new is named as such."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from snakepit_bridge import exceptions
from snakepit_bridge._tools import models, wire
from snakepit_bridge._variables import changes, constraints, values, variables
from snakepit_bridge.exceptions import BridgeError
from snakepit_bridge.v1 import error_pb2, tool_pb2, value_pb2, variable_pb2

NEWER = 99


def names_of(enum: Any, prefix: str) -> set[str]:
    return {name.removeprefix(prefix).lower() for name, number in enum.items() if number}


TYPES = names_of(variable_pb2.VariableType, "VARIABLE_TYPE_")


def test_every_type_of_variable_has_its_constraints() -> None:
    assert constraints._ALLOWED.keys() == TYPES


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_every_constraint_of_the_protocol_can_be_given(kind: str) -> None:
    field, allowed = constraints._ALLOWED[kind]
    message = getattr(variable_pb2.Constraints(), field) if field else None
    known = {entry.name for entry in message.DESCRIPTOR.fields} if message is not None else set()
    assert allowed.keys() == known


def test_every_kind_of_constraints_is_that_of_a_type() -> None:
    kinds = {field.name for field in variable_pb2.Constraints.DESCRIPTOR.oneofs_by_name["kind"].fields}
    assert kinds == {field for field, _ in constraints._ALLOWED.values() if field}


def test_every_type_that_is_inferred_is_one() -> None:
    assert {kind for _, kind in variables._INFERRED} <= TYPES


def test_every_dtype_has_a_name() -> None:
    assert set(values.dtype_names()) == names_of(value_pb2.Dtype, "DTYPE_")


def test_every_reason_has_a_class() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name, number in error_pb2.ErrorReason.items() if number}
    assert exceptions._BY_REASON.keys() == reasons


@pytest.mark.parametrize(
    ("literal", "enum", "prefix", "ours"),
    [
        (models.CallState, tool_pb2.CallState, "CALL_STATE_", set()),
        (models.BreakerState, tool_pb2.BreakerState, "BREAKER_STATE_", set()),
        (changes.Kind, variable_pb2.ChangeKind, "CHANGE_KIND_", {"initial"}),
    ],
)
def test_every_member_is_in_the_type_that_users_see(literal: Any, enum: Any, prefix: str, ours: set[str]) -> None:
    assert set(get_args(literal)) == names_of(enum, prefix) | ours


def test_constraints_of_a_type_that_python_has_no_entry_for_say_to_upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {kind: entry for kind, entry in constraints._ALLOWED.items() if kind != "tensor"}
    monkeypatch.setattr(constraints, "_ALLOWED", known)
    with pytest.raises(BridgeError, match="upgrade") as refused:
        variables.spec_to_wire("x", "tensor")
    assert refused.value.facts == {
        "variable": "x",
        "type": "tensor",
        "number": str(variable_pb2.VARIABLE_TYPE_TENSOR),
    }


def test_what_a_newer_server_says_is_shown_by_its_number() -> None:
    spec = variable_pb2.VariableSpec()
    spec.MergeFromString(bytes([8, NEWER]))
    assert variables.variable_from_wire(variable_pb2.Variable(name="x", spec=spec)).type == f"type {NEWER}"
    newer: Any = NEWER
    assert variables.kind_from_wire(newer) == f"kind {NEWER}"
    assert values.dtype_name(newer) == f"dtype {NEWER}"
    call = tool_pb2.Call()
    call.state = newer
    assert wire.call_from_wire(call).state == f"state {NEWER}"
