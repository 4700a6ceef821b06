"""The session as a context and its blocking twin share it: connection, mirror of variables, tools."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from snakepit_bridge._client.session import SessionClient
from snakepit_bridge._client.settings import Settings
from snakepit_bridge._client.transport import ASYNCIO, BLOCKING, finish
from snakepit_bridge._tools.serving import Serving
from snakepit_bridge._variables import operations
from snakepit_bridge._variables.freshness import Freshness
from snakepit_bridge._variables.mirror import Feed, Mirror, Snapshot
from snakepit_bridge.v1 import variable_pb2 as pb

if TYPE_CHECKING:
    from snakepit_bridge._variables.variables import Outcome, Variable
    from snakepit_bridge.server import LocalServer

__all__ = ["Session"]


class Session(SessionClient):
    """One session of one context pair. Usable from every thread and event loop at once."""

    def __init__(
        self, address: str, session_id: str | None, settings: Settings, launch: Callable[[], LocalServer] | None = None
    ) -> None:
        # First: a fork may come as soon as the session is known to its process.
        self.mirror = Mirror()
        super().__init__(address, session_id, settings, launch)
        self._freshness = Freshness(self, self.mirror)
        self.serving = Serving(self)

    def wrote(self, revision: int, changed: Iterable[str]) -> None:
        """Notes an acknowledged write, which the next live snapshot has to contain."""
        self.mirror.wrote(revision, changed)

    def _on_close(self) -> None:
        self.mirror.feeds(Feed.DOWN)

    def forked(self) -> bool:
        """In a forked child: refuses what comes next, leaves the parent's channel alone; tells whether there is one."""
        self.mirror.abandon()
        return super().forked()

    def track(self, names: Iterable[str]) -> None:
        """These names belong to the mirror from now on; counted, so that every `track` needs its `untrack`."""
        if self.mirror.track(names):
            self._freshness.refilter()

    def untrack(self, names: Iterable[str]) -> None:
        """Undoes one `track`."""
        self.mirror.untrack(names)

    def newest(self) -> Snapshot | None:
        """The newest mirror state, without any rpc."""
        return self.mirror.newest

    def take(self) -> Snapshot:
        """One snapshot for a forward; blocking, from any thread. Raises what `freshness` says."""
        live = self.mirror.live
        if live is not None and time.monotonic() < self._freshness.live_until:
            return live
        return finish(self._freshness.take(BLOCKING))

    async def take_async(self) -> Snapshot:
        """One snapshot for a forward."""
        live = self.mirror.live
        if live is not None and time.monotonic() < self._freshness.live_until:
            return live
        return await self._freshness.take(ASYNCIO)

    def describe(self, names: Sequence[str], *, allow_missing: bool = False) -> dict[str, Variable]:
        """Variables with their specs, by one rpc."""
        return finish(operations.describe(self, BLOCKING, names, allow_missing=allow_missing))

    async def describe_async(self, names: Sequence[str], *, allow_missing: bool = False) -> dict[str, Variable]:
        """Variables with their specs, by one rpc."""
        return await operations.describe(self, ASYNCIO, names, allow_missing=allow_missing)

    def list(self, pattern: str = "") -> builtins.list[Variable]:
        """The variables whose name matches a glob, by name."""
        return finish(operations.list_variables(self, BLOCKING, pattern))

    async def list_async(self, pattern: str = "") -> builtins.list[Variable]:
        """The variables whose name matches a glob, by name."""
        return await operations.list_variables(self, ASYNCIO, pattern)

    def write(self, batch: Sequence[pb.Operation], reason: str = "") -> builtins.list[Outcome]:
        """One atomic write; build operations with `Batch`."""
        return finish(operations.write(self, BLOCKING, batch, reason))

    async def write_async(self, batch: Sequence[pb.Operation], reason: str = "") -> builtins.list[Outcome]:
        """One atomic write; build operations with `Batch`."""
        return await operations.write(self, ASYNCIO, batch, reason)
