"""What a context and its blocking twin have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypedDict, TypeVar, Unpack, overload

from snakepit_bridge._client.settings import refuse_pickle
from snakepit_bridge._tools.definition import declare
from snakepit_bridge._tools.models import Retry
from snakepit_bridge._variables.display import facts

if TYPE_CHECKING:
    from snakepit_bridge._context.session import Session

__all__ = ["AnyContext", "Declaration"]

F = TypeVar("F", bound=Callable[..., Any])


class Declaration(TypedDict, total=False):
    """What is said about a tool besides its function; every part may be left out.

    Attributes:
        name: else the function's.
        description: for people and language models; else the docstring, without its `Args:`, which describe the
            arguments.
        idempotent: whether running it twice does no harm: then a call is retried when its worker is lost, or it failed
            retryably (raised a ConnectionError, a TimeoutError, or an exception whose `retryable` is True).
        timeout: how many seconds a call may take, retries included; else as long as its caller says.
        retry: how to retry it, if it is idempotent.
        max_concurrency: how many calls of it this worker runs at once; else as many as it runs in all.
        metadata: labels.
        traceback: whether its callers are told where it failed.
        arguments_schema: a JSON Schema of its arguments, as a mapping or as text; then they are passed as they arrive.
            Else it is made of the annotations, and arguments are converted to what those say.
        result_schema: a JSON Schema of its result, for readers; else made of the annotation, if there is one.
        everywhere: whether every session of the server has it.
    """

    name: str
    description: str
    idempotent: bool
    timeout: float | None
    retry: Retry | None
    max_concurrency: int | None
    metadata: Mapping[str, str] | None
    traceback: bool
    arguments_schema: Mapping[str, Any] | str
    result_schema: Mapping[str, Any] | str
    everywhere: bool


class AnyContext:
    """What a context and its blocking twin have in common."""

    _session: Session

    @property
    def address(self) -> str:
        """The server's address."""
        return self._session.address

    @property
    def session_id(self) -> str:
        """The session's id."""
        return self._session.session_id

    @property
    def revision(self) -> int:
        """The highest revision of the session that this client has seen; 0 before the first use."""
        return self._session.revision

    @overload
    def tool(self, function: F, /) -> F: ...

    @overload
    def tool(self, function: None = None, /, **declaration: Unpack[Declaration]) -> Callable[[F], F]: ...

    def tool(self, function: F | None = None, /, **declaration: Unpack[Declaration]) -> F | Callable[[F], F]:
        """Records a function as a tool, which `serve` offers: `@ctx.tool`, or `@ctx.tool(idempotent=True, …)`.

        The function stays what it was, and can be called as before. What may be said of it is told at `Declaration`.
        A plain function runs in a thread of the worker's, an async one in the loop in which it was offered, or, if
        that was done by blocking code, in one of the worker's. Generators of both kinds yield chunks.

        Raises:
            InvalidRequestError: it takes arguments that cannot travel by name, or of a type without a JSON Schema.
        """

        def record(function: F) -> F:
            self._session.serving.record(declare(function, **declaration))
            return function

        return record if function is None else record(function)

    def _repr_html_(self) -> str:
        # Without any rpc: what is merely shown must not wait for a server.
        at = self.address or "a local server"
        return facts({"session": self.session_id, "address": at, "revision seen": self.revision})

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        refuse_pickle("SessionContext")
