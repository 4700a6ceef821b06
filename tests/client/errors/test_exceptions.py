"""The error table: one class per reason, facts as attributes, fit for pickling and printing."""

from __future__ import annotations

import pickle

import pytest

from snakepit_bridge import exceptions
from snakepit_bridge.exceptions import BridgeError, from_reason
from snakepit_bridge.v1.error_pb2 import ErrorReason

_REASONS = [name.removeprefix("ERROR_REASON_") for name, number in ErrorReason.items() if number]
_CLASSES = [
    found
    for name in exceptions.__all__
    if isinstance(found := getattr(exceptions, name), type) and issubclass(found, BridgeError)
]


@pytest.mark.parametrize("reason", _REASONS)
def test_every_reason_has_a_class_of_its_own(reason: str) -> None:
    error = from_reason(reason, "no", {}, "4f1c")
    assert type(error) is not BridgeError
    assert (error.request_id, str(error)) == ("4f1c", "no (request 4f1c)")
    assert error.reason == reason
    assert [found for found in _CLASSES if found.reason == reason] == [type(error)]


def test_a_reason_of_a_newer_server_is_a_plain_bridge_error() -> None:
    error = from_reason("NOT_YET_INVENTED", "no", {"fact": "1"})
    assert type(error) is BridgeError
    assert (error.reason, error.facts) == ("NOT_YET_INVENTED", {"fact": "1"})


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("SessionNotFoundError", exceptions.SessionError),
        ("SessionExpiredError", exceptions.SessionError),
        ("VariableNotFoundError", KeyError),
        ("TypeMismatchError", TypeError),
        ("ConstraintError", exceptions.ValidationError),
        ("ConstraintError", ValueError),
        ("InvalidRequestError", ValueError),
        ("PermissionDeniedError", PermissionError),
        ("CallTimeoutError", TimeoutError),
        ("BindingError", ValueError),
        ("EnvelopeError", TypeError),
        ("EnvelopeError", ValueError),
        ("UnknownModuleError", ValueError),
        ("ModelNotAllowedError", ValueError),
    ],
)
def test_a_class_is_also_what_python_would_raise(name: str, base: type[Exception]) -> None:
    assert issubclass(getattr(exceptions, name), base)


@pytest.mark.parametrize("kind", _CLASSES)
def test_every_error_prints_its_message_and_survives_pickling(kind: type[BridgeError]) -> None:
    error = kind("what was wrong", {"variable": "x", "expected": 1, "actual": 2, "operation": 3})
    again = pickle.loads(pickle.dumps(error))
    for one in (error, again):
        assert type(one) is kind
        assert str(one) == "what was wrong"
        assert one.facts == {"variable": "x", "expected": "1", "actual": "2", "operation": "3"}
        assert one.operation == 3
        assert one.reason == kind.reason
        assert one.request_id is None
    of_a_request = pickle.loads(pickle.dumps(kind("no", request_id="4f1c")))
    assert (of_a_request.message, str(of_a_request)) == ("no", "no (request 4f1c)")


def test_facts_are_attributes() -> None:
    conflict = exceptions.VersionConflictError("no", {"variable": "x", "expected": "4", "actual": "5"})
    assert (conflict.variable, conflict.expected, conflict.actual) == ("x", 4, 5)
    missing = exceptions.VariableNotFoundError("no", {"variable": "x", "closest": "y,z"})
    assert (missing.variable, missing.closest) == ("x", ["y", "z"])
    assert exceptions.VariableNotFoundError("no").closest == []
    assert exceptions.CompactedError("no", {"oldest": "7"}).oldest == 7
    tool = {"tool": "t", "call": "c", "closest": "a,b", "by": "me", "dispatched": "true"}
    assert exceptions.ToolNotFoundError("no", tool).closest == ["a", "b"]
    unavailable = exceptions.ToolUnavailableError("no", tool)
    assert (unavailable.tool, unavailable.call_id, unavailable.dispatched) == ("t", "c", True)
    assert exceptions.ToolUnavailableError("no").dispatched is False
    assert exceptions.CallCancelledError("no", tool).by == "me"
    failed = exceptions.ToolFailedError("no", tool)
    assert (failed.type, failed.retryable, failed.remote_message, failed.remote_traceback) == ("", False, "", "")
    limit = exceptions.LimitExceededError("no", {"limit": "value_bytes", "max": "16"})
    assert (limit.limit, limit.max) == ("value_bytes", 16)
