"""One stream between a worker and the server, from its hello to its end."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

import grpc

from snakepit_bridge._client.metadata import new_request_id, sent_with
from snakepit_bridge._tools.invocation import Offer, Run
from snakepit_bridge.exceptions import BridgeError
from snakepit_bridge.v1 import tool_pb2 as pb

if TYPE_CHECKING:
    from snakepit_bridge._client.session import SessionClient
    from snakepit_bridge._tools.worker_threads import Threads

__all__ = ["Answered", "Link"]

# Silence for so many heartbeats is a loss.
_SILENT_BEATS = 3
_HEARTBEAT = pb.ServeToolsRequest(heartbeat=pb.WorkerHeartbeat())

Answered = Callable[[Sequence[pb.OfferRefusal]], None]


class Owner(Protocol):
    """Whose link it is."""

    def find(self, name: str) -> Offer | None:
        """What is to be run."""

    def retract(self, names: Iterable[str]) -> None:
        """These cannot be run any more."""


class Link:
    """Reads the stream in the thread that calls `follow`; anybody may `send`, and what is sent keeps its order.

    gRPC has a thread of its own for what is sent, which also sends the heartbeats: neither a tool that blocks its
    loop nor threads that are all taken make a worker look dead.
    """

    def __init__(self, session: SessionClient, hello: pb.WorkerHello, threads: Threads, owner: Owner) -> None:
        self.request_id = new_request_id()
        self.welcomed = False
        self.value_bytes = 0
        self.runs: dict[int, Run] = {}
        self.drained: Future[bool] = Future()
        self._session = session
        self._threads = threads
        self._owner = owner
        self._out: SimpleQueue[pb.ServeToolsRequest | None] = SimpleQueue()
        self._beat = session.heartbeat
        self._heard = time.monotonic()
        self._numbers = itertools.count(1)
        self._unanswered: dict[int, Answered] = {}
        self._lock = threading.Lock()
        self._ended = False
        self._call: Any = None
        self.send(pb.ServeToolsRequest(hello=hello))

    def send(self, message: pb.ServeToolsRequest) -> None:
        """Sends it after what was sent before; nowhere, if the stream has ended."""
        self._out.put(message)

    def offer(self, specs: Sequence[pb.ToolSpec], answered: Answered) -> None:
        """Offers tools: all, or if any is refused, none."""
        request = next(self._numbers)
        self._unanswered[request] = answered
        self.send(pb.ServeToolsRequest(offer=pb.OfferTools(request=request, tools=specs)))

    def withdraw(self, names: Sequence[str], answered: Answered) -> None:
        """Offers tools no longer."""
        request = next(self._numbers)
        self._unanswered[request] = answered
        self.send(pb.ServeToolsRequest(withdraw=pb.WithdrawTools(request=request, tools=names)))

    def drain(self) -> None:
        """Asks for no more calls; `drained` tells when there are none."""
        self.send(pb.ServeToolsRequest(drain=pb.DrainWorker()))

    def cut(self) -> None:
        """Ends the stream at once."""
        with self._lock:
            self._ended = True
            call = self._call
        if call is not None:
            call.cancel()

    def follow(self) -> BridgeError | None:
        """Does what the server says until the stream ends; tells why it did. What still runs then is cancelled."""
        session = self._session
        with self._lock:
            if self._ended:
                return None
            try:
                metadata = sent_with(session.connection.metadata, self.request_id)
                call = self._call = session.connection.tool.ServeTools(self._outgoing(), metadata=metadata)
            except ValueError:
                # How grpcio says that the channel was closed meanwhile.
                return None
        try:
            for message in call:
                self._heard = time.monotonic()
                self._take(message)
        except grpc.RpcError as error:
            return session.translated(error, request_id=self.request_id)
        finally:
            call.cancel()
            self._out.put(None)
            for run in list(self.runs.values()):
                run.cancel()
        return None

    def _outgoing(self) -> Iterator[pb.ServeToolsRequest]:
        while True:
            try:
                message = self._out.get(timeout=self._beat)
            except Empty:
                message = _HEARTBEAT
            if message is None:
                return
            if time.monotonic() - self._heard > _SILENT_BEATS * self._beat:
                self._call.cancel()
                return
            yield message

    def _take(self, message: pb.ServeToolsResponse) -> None:
        match message.WhichOneof("event"):
            case "dispatch":
                self._dispatch(message.dispatch)
            case "cancel":
                run = self.runs.get(message.cancel.dispatch)
                if run is not None:
                    run.cancel()
            case "credit":
                run = self.runs.get(message.credit.dispatch)
                if run is not None:
                    run.grant(message.credit.chunks)
            case "answer":
                answered = self._unanswered.pop(message.answer.request, None)
                if answered is not None:
                    answered(message.answer.refused)
            case "welcome":
                self.value_bytes = message.welcome.value_bytes
                self._beat = message.welcome.heartbeat_interval.ToTimedelta().total_seconds() or self._beat
                self.welcomed = True
            case "drained":
                if not self.drained.done():
                    self.drained.set_result(True)

    def _dispatch(self, dispatch: pb.Dispatch) -> None:
        offer = self._owner.find(dispatch.tool)
        if offer is None:
            failure = pb.ToolFailure(
                type="LookupError",
                bases=["LookupError"],
                message=f"this worker no longer has a tool {dispatch.tool!r}",
                retryable=True,
            )
            self.send(pb.ServeToolsRequest(failure=pb.DispatchFailure(dispatch=dispatch.dispatch, failure=failure)))
            return
        run = self.runs[dispatch.dispatch] = Run(self, offer, dispatch)
        if offer.loop is None:
            self._threads.run(run.in_thread)
            return
        try:
            run.in_loop(offer.loop)
        except RuntimeError:
            run.refuse(RuntimeError(f"the event loop in which tool {dispatch.tool!r} was offered has been closed"))
            self._owner.retract([dispatch.tool])
