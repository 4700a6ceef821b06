"""Everything the bridge raises, and the one table from a server's reason to its class."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from functools import lru_cache

__all__ = [
    "BindingError",
    "BridgeError",
    "CallCancelledError",
    "CallTimeoutError",
    "CompactedError",
    "ConstraintError",
    "EnvelopeError",
    "ForkedProcessError",
    "InvalidRequestError",
    "LimitExceededError",
    "ModelNotAllowedError",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "ServerReadOnlyError",
    "ServerStartError",
    "ServerUnavailableError",
    "SessionClosedError",
    "SessionError",
    "SessionExpiredError",
    "SessionNotFoundError",
    "ToolExistsError",
    "ToolFailedError",
    "ToolNotFoundError",
    "ToolUnavailableError",
    "TypeMismatchError",
    "UnauthenticatedError",
    "UnknownModuleError",
    "ValidationError",
    "VariableExistsError",
    "VariableNotFoundError",
    "VariableReadOnlyError",
    "VersionConflictError",
    "VersionUnsupportedError",
]


# A coroutine that raises one of these is taken for one that has ended.
_ENDS = (StopIteration, StopAsyncIteration)


class BridgeError(Exception):
    """Anything the bridge raises. It survives pickling.

    Attributes:
        reason: the server's reason (an ErrorReason without its prefix), or None if no server gave one.
        facts: what the error is about, as text; which keys there are depends on the class.
        request_id: what the failed request is known by in the server's log; None if there was no request.
    """

    reason: str | None = None

    def __init__(
        self,
        message: str,
        /,
        facts: Mapping[str, object] | None = None,
        *,
        reason: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.request_id = request_id
        self.facts: dict[str, str] = {key: str(fact) for key, fact in (facts or {}).items()}
        if reason is not None:
            self.reason = reason

    @property
    def message(self) -> str:
        """What was wrong and what to do, for a person."""
        return str(self.args[0])

    @property
    def operation(self) -> int | None:
        """The index of the refused operation in its batch, from 0; None if no single one was refused."""
        return self._number("operation")

    def _number(self, fact: str) -> int | None:
        text = self.facts.get(fact, "")
        return int(text) if text.lstrip("-").isdigit() else None

    def __str__(self) -> str:
        # KeyError, a base of some of these, would print the repr.
        return f"{self.message} (request {self.request_id})" if self.request_id else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.facts, self.reason, self.request_id)


def _rebuild(
    cls: type[BridgeError], message: str, facts: dict[str, str], reason: str | None, request_id: str | None
) -> BridgeError:
    return cls(message, facts, reason=reason, request_id=request_id)


class SessionError(BridgeError):
    """Something is wrong with the session, not with a variable in it."""

    @property
    def session(self) -> str:
        """The session's id."""
        return self.facts.get("session", "")


class SessionNotFoundError(SessionError):
    """No session has that id."""


class SessionExpiredError(SessionError):
    """The session outlived its ttl, or its id now names another life. Open a new context to go on."""


class SessionClosedError(SessionError):
    """This context was closed; connect anew."""


class ForkedProcessError(SessionError):
    """A context was used in a process forked from one that had a connection; start workers with spawn or forkserver."""


class _AboutVariableError(BridgeError):
    @property
    def variable(self) -> str:
        """The variable's name."""
        return self.facts.get("variable", "")


class VariableNotFoundError(_AboutVariableError, KeyError):
    """The session has no such variable."""

    @property
    def closest(self) -> list[str]:
        """The nearest existing names, nearest first."""
        return [name for name in self.facts.get("closest", "").split(",") if name]


class VariableExistsError(_AboutVariableError):
    """A variable of that name exists with another spec."""


class VariableReadOnlyError(_AboutVariableError):
    """The variable changes only by registering it with `replace`."""


class ValidationError(_AboutVariableError):
    """A value was not acceptable."""


class TypeMismatchError(ValidationError, TypeError):
    """A value is of another type than its variable. Facts: variable, expected, got."""

    @property
    def expected(self) -> str:
        """The type wanted."""
        return self.facts.get("expected", "")

    @property
    def got(self) -> str:
        """The type given."""
        return self.facts.get("got", "")


class ConstraintError(ValidationError, ValueError):
    """A value is outside what its variable allows. Facts: variable, constraint, value."""

    @property
    def constraint(self) -> str:
        """The constraint broken, e.g. `max=2`."""
        return self.facts.get("constraint", "")


class InvalidRequestError(BridgeError, ValueError):
    """The request itself is malformed. Facts: field."""

    @property
    def field(self) -> str:
        """What part of the request."""
        return self.facts.get("field", "")


class VersionConflictError(_AboutVariableError):
    """The variable did not have the expected version."""

    @property
    def expected(self) -> int:
        """The version the write expected; 0: that it does not exist."""
        return self._number("expected") or 0

    @property
    def actual(self) -> int:
        """The version it has; 0: it does not exist."""
        return self._number("actual") or 0


class CompactedError(BridgeError):
    """The changes asked for are no longer kept."""

    @property
    def oldest(self) -> int:
        """The oldest revision still kept."""
        return self._number("oldest") or 0


class ServerReadOnlyError(BridgeError):
    """The server takes no writes now; this one was certainly not applied. Facts: cause."""


class OutcomeUnknownError(BridgeError):
    """The server cannot know whether this write survives. Facts: cause."""


class UnauthenticatedError(BridgeError):
    """The server wants to know who is asking: there was no token, or none of its own. Facts: role (the one wanted)."""


class PermissionDeniedError(BridgeError, PermissionError):
    """The caller may not do this. Facts: role (the one wanted), session (if the token is not for it)."""


class VersionUnsupportedError(BridgeError):
    """Client and server do not understand each other: another protocol, or a call that the server does not know yet.

    Facts: server and client (their api versions, or "older"); server_release, client_release (if this client found it).
    """


class LimitExceededError(BridgeError):
    """More than the server accepts."""

    @property
    def limit(self) -> str:
        """The limit's name, a field of Limits."""
        return self.facts.get("limit", "")

    @property
    def max(self) -> int | None:
        """Its value; None if the server did not say."""
        return self._number("max")


class _AboutToolError(BridgeError):
    @property
    def tool(self) -> str:
        """The tool's name."""
        return self.facts.get("tool", "")

    @property
    def call_id(self) -> str:
        """The call's id; "" if there was none yet."""
        return self.facts.get("call", "")


class ToolNotFoundError(_AboutToolError):
    """The session has no such tool. Facts: session, tool, closest."""

    @property
    def closest(self) -> list[str]:
        """The nearest existing names, nearest first."""
        return [name for name in self.facts.get("closest", "").split(",") if name]


class ToolExistsError(_AboutToolError):
    """The tool is offered already, and is another: other description, schema or policy. Facts: tool."""


class ToolUnavailableError(_AboutToolError):
    """Nobody can run the tool now, or its worker was lost. Facts: tool, call, dispatched, cause."""

    @property
    def dispatched(self) -> bool:
        """Whether it may have run."""
        return self.facts.get("dispatched") == "true"


class CallCancelledError(_AboutToolError):
    """A call was cancelled, by someone other than who awaited it. Facts: tool, call, by."""

    @property
    def by(self) -> str:
        """Who cancelled it, as far as the server knows."""
        return self.facts.get("by", "")


class ToolFailedError(_AboutToolError):
    """The tool itself failed. Where what it raised is a built-in exception, or derives from one, this is one too.

    So `except ValueError` catches a ValueError that was raised in another process. Facts: tool, call, type, message,
    bases, retryable, traceback.
    """

    @property
    def type(self) -> str:
        """The name of the class that was raised, without its module."""
        return self.facts.get("type", "")

    @property
    def remote_message(self) -> str:
        """What was raised says, word for word."""
        return self.facts.get("message", "")

    @property
    def retryable(self) -> bool:
        """Whether another try might go well, as its worker says."""
        return self.facts.get("retryable") == "true"

    @property
    def remote_traceback(self) -> str:
        """Where it was raised, if the tool was offered with `traceback=True`; else ""."""
        return self.facts.get("traceback", "")

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_failed, (self.message, self.facts, self.request_id)


def _rebuild_failed(message: str, facts: dict[str, str], request_id: str | None) -> BridgeError:
    return failed_class(tuple(facts.get("bases", "").split(",")))(message, facts, request_id=request_id)


@lru_cache(maxsize=256)
def failed_class(bases: tuple[str, ...]) -> type[ToolFailedError]:
    """The ToolFailedError that is also each of the built-in exceptions named, as far as Python can combine them."""
    known = [found for name in bases if (found := builtin_exception(name)) is not None]
    nearest = [found for index, found in enumerate(known) if not any(issubclass(k, found) for k in known[:index])]
    for mixed in (nearest, *([single] for single in known)) if known else ():
        try:
            made = type("ToolFailedError", (ToolFailedError, *mixed), {"__module__": ToolFailedError.__module__})
            made("")
        except TypeError:
            # Their layouts do not go together, or such an exception wants more than a message.
            continue
        made.__doc__ = ToolFailedError.__doc__
        return made
    return ToolFailedError


def builtin_exception(name: str) -> type[Exception] | None:
    """The built-in exception of that name that a failed tool may be; None if there is none."""
    found = getattr(builtins, name, None)
    if not isinstance(found, type) or not issubclass(found, Exception) or found is Exception:
        return None
    return None if issubclass(found, _ENDS) else found


class ServerUnavailableError(BridgeError):
    """No answer from the server. A write may or may not have been applied.

    Facts: address, and tls if that may be why: "refused" (no trust, or no encryption there), "absent" (the server hung
    up on a client that does not encrypt), "anonymous" (or on one without a certificate that it trusts).
    """


class ServerStartError(BridgeError):
    """A local server could not be started."""


class CallTimeoutError(_AboutToolError, TimeoutError):
    """No answer in time. A write may or may not have been applied, a tool may have run.

    Facts: address, timeout (seconds), and of a tool: tool, call.
    """


class BindingError(BridgeError, ValueError):
    """A program cannot be bound this way."""


class EnvelopeError(BridgeError, TypeError, ValueError):
    """A value cannot be dumped, or data is no envelope. Facts: path (where in it), type or tag (what stands there)."""

    @property
    def path(self) -> str:
        """Where in the envelope, e.g. `fields['answer'].items[3]`; "" for the whole."""
        return self.facts.get("path", "")


class UnknownModuleError(BridgeError, ValueError):
    """A module variable names a module that is not known here."""


class ModelNotAllowedError(BridgeError, ValueError):
    """A model variable names a model that this program may not switch to."""


_BY_REASON: Mapping[str, type[BridgeError]] = {
    "SESSION_NOT_FOUND": SessionNotFoundError,
    "SESSION_EXPIRED": SessionExpiredError,
    "VARIABLE_NOT_FOUND": VariableNotFoundError,
    "VARIABLE_EXISTS": VariableExistsError,
    "TYPE_MISMATCH": TypeMismatchError,
    "CONSTRAINT_VIOLATED": ConstraintError,
    "INVALID_REQUEST": InvalidRequestError,
    "VERSION_CONFLICT": VersionConflictError,
    "COMPACTED": CompactedError,
    "VARIABLE_READ_ONLY": VariableReadOnlyError,
    "SERVER_READ_ONLY": ServerReadOnlyError,
    "OUTCOME_UNKNOWN": OutcomeUnknownError,
    "UNAUTHENTICATED": UnauthenticatedError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "VERSION_UNSUPPORTED": VersionUnsupportedError,
    "LIMIT_EXCEEDED": LimitExceededError,
    "TOOL_NOT_FOUND": ToolNotFoundError,
    "TOOL_EXISTS": ToolExistsError,
    "TOOL_UNAVAILABLE": ToolUnavailableError,
    "CALL_CANCELLED": CallCancelledError,
}
for _reason, _class in _BY_REASON.items():
    _class.reason = _reason


def from_reason(reason: str, message: str, facts: Mapping[str, str], request_id: str | None = None) -> BridgeError:
    """Builds the error that belongs to a server's reason; a reason unknown here is a plain BridgeError."""
    return _BY_REASON.get(reason, BridgeError)(message, facts, reason=reason, request_id=request_id)
