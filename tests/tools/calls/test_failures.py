"""What a tool raises, and what its caller catches."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from snakepit_bridge._tools.errors import failure_from_wire, failure_to_wire
from snakepit_bridge.exceptions import BridgeError, ToolFailedError, failed_class


class CityError(ValueError, KeyError):
    pass


class TryAgainError(Exception):
    retryable = True


class BrokenError(Exception):
    @property
    def retryable(self) -> bool:
        raise RuntimeError

    def __str__(self) -> str:
        raise RuntimeError


def across(error: BaseException, **options: Any) -> ToolFailedError:
    return failure_from_wire(failure_to_wire(error, **options), "tool", "call-1")


@pytest.mark.parametrize(
    ("error", "caught"),
    [
        (ValueError("no"), (ValueError,)),
        (KeyError("no"), (KeyError, LookupError)),
        (CityError("no"), (ValueError, KeyError, LookupError)),
        (FileNotFoundError(2, "no"), (FileNotFoundError, OSError)),
        (ConnectionResetError("no"), (ConnectionError, OSError)),
        (TimeoutError("no"), (TimeoutError,)),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "no"), (UnicodeError, ValueError)),
        (ZeroDivisionError("no"), (ArithmeticError,)),
        (NotImplementedError("no"), (RuntimeError,)),
        (RecursionError("no"), (RuntimeError,)),
        (AssertionError("no"), (AssertionError,)),
        (SyntaxError("no"), (SyntaxError,)),
        (ImportError("no"), (ImportError,)),
        (UserWarning("no"), (Warning,)),
        (ExceptionGroup("no", [ValueError()]), ()),
        (TryAgainError("no"), ()),
        (StopIteration("no"), ()),
        (StopAsyncIteration("no"), ()),
        (SystemExit(3), ()),
        (KeyboardInterrupt("no"), ()),
        (GeneratorExit("no"), ()),
    ],
)
def test_the_built_in_classes_of_what_was_raised_catch_it(
    error: BaseException, caught: tuple[type[BaseException], ...]
) -> None:
    failed = across(error)
    for kind in caught:
        assert isinstance(failed, kind)
    assert not isinstance(failed, (StopIteration, StopAsyncIteration, SystemExit, KeyboardInterrupt, GeneratorExit))
    assert failed.type == type(error).__name__
    assert failed.remote_message == str(error)
    assert (failed.tool, failed.call_id, failed.remote_traceback) == ("tool", "call-1", "")
    assert type(failed).__name__ == "ToolFailedError"
    assert str(error) in str(failed)


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (TryAgainError(), True),
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (ValueError(), False),
        (across(TimeoutError()), True),
        (across(ValueError()), False),
        (BrokenError(), False),
    ],
)
def test_it_is_retryable_if_it_says_so_or_the_connection_was_at_fault(error: Exception, retryable: bool) -> None:
    assert across(error).retryable is retryable


def test_an_exception_that_says_it_is_not_retryable_is_not() -> None:
    error = ConnectionError("for good")
    error.retryable = False  # type: ignore[attr-defined]
    assert across(error).retryable is False


def test_an_exception_that_cannot_even_be_printed_is_told() -> None:
    failed = across(BrokenError())
    assert (failed.type, failed.retryable) == ("BrokenError", False)
    assert "RuntimeError" in failed.remote_message


def test_long_and_broken_text_is_told_shortened_and_repaired() -> None:
    assert len(across(ValueError("x" * 10**6)).remote_message) < 20_000
    assert across(ValueError("a\ud800b")).remote_message == "a?b"


def test_failures_of_one_kind_share_a_class_and_survive_pickling_and_copying() -> None:
    failed = across(CityError("Atlantis"))
    assert type(failed) is type(across(CityError("El Dorado")))
    for again in (pickle.loads(pickle.dumps(failed)), copy.copy(failed)):
        assert isinstance(again, ValueError)
        assert isinstance(again, KeyError)
        assert isinstance(again, ToolFailedError)
        assert (str(again), again.facts) == (str(failed), failed.facts)


def test_a_strangers_bases_are_names_of_built_in_exceptions_or_nothing() -> None:
    for names in (
        (),
        ("print",),
        ("object", "type"),
        ("BridgeError",),
        ("__import__",),
        ("BaseException", "Exception"),
    ):
        assert failed_class(names) is ToolFailedError
    assert issubclass(failed_class(("NoSuchError", "KeyError", "OSError", "ValueError")), KeyError)
    assert issubclass(failed_class(("ValueError",)), BridgeError)


def test_a_traceback_is_told_only_where_it_is_wanted_and_begins_at_the_tool() -> None:
    def tool() -> None:
        raise ValueError("deep")

    with pytest.raises(ValueError, match="deep") as raised:
        tool()
    assert across(raised.value).remote_traceback == ""
    told = across(raised.value, with_traceback=True).remote_traceback
    assert "in tool" in told
    assert told.endswith("ValueError: deep\n")
