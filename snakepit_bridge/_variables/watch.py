"""Watching variables: every change, in order, once, across lost streams."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from snakepit_bridge._client.settings import refuse_pickle
from snakepit_bridge._client.transport import ASYNCIO, BLOCKING, Waiting, finish
from snakepit_bridge._variables.changes import Change
from snakepit_bridge._variables.watch_stream import Pump

if TYPE_CHECKING:
    from snakepit_bridge._client.session import SessionClient


class _AnyWatch:
    def __init__(
        self,
        session: SessionClient,
        pattern: str,
        names: Sequence[str],
        after: int,
        on_compacted: Literal["snapshot", "raise"],
    ) -> None:
        self._session = session
        self._pump = Pump(session, pattern, names, after, resume=on_compacted == "snapshot")
        # The pump's thread knows nothing of the watch, so that dropping the watch ends the stream.
        weakref.finalize(self, self._pump.stop).atexit = False

    @property
    def revision(self) -> int:
        """All changes up to this revision were handed out; `after=` goes on from here."""
        return self._pump.revision

    async def _next(self, waiting: Waiting) -> Change | None:
        if not self._pump.started:
            await self._session.open(waiting)
            self._pump.start()
        return await self._pump.next(waiting)

    def __reduce_ex__(self, protocol: Any) -> Any:
        refuse_pickle("watch")


class Watch(_AnyWatch):
    """An async iterator of `Change`; ends when it, or its context, is closed. Leaving the loop early needs no care."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        """The next change.

        Raises:
            SessionNotFoundError, SessionExpiredError: the session ended.
            CompactedError: changes were missed, and the watch was told to raise.
        """
        change = await self._next(ASYNCIO)
        if change is None:
            raise StopAsyncIteration
        return change

    async def aclose(self) -> None:
        """Ends the watch."""
        self._pump.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class BlockingWatch(_AnyWatch):
    """An iterator of `Change`; ends when it, or its context, is closed. Leaving the loop early needs no care."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        """The next change; blocks until there is one. Raises like `Watch`."""
        change = finish(self._next(BLOCKING))
        if change is None:
            raise StopIteration
        return change

    def close(self) -> None:
        """Ends the watch."""
        self._pump.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
