"""Clients that ask as they should, and then do not read: their windows stay closed, or open by a byte at a time."""

from __future__ import annotations

import contextlib

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from snakepit_bridge.v1 import variable_pb2
from tests.faults.abuse.attacks import SERVICE, Target, attack, watch_of
from tests.faults.abuse.wire import Wire, message

HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "snakepit"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]
GREAT = "great"
"""A session that has a variable of a megabyte, and that variable."""
AT_ONCE = 20
"""Streams of one slow reader; what it does not read of great replies, the server has to keep meanwhile."""


class SlowReader:
    """A correct client of HTTP/2 whose streams have a window of so many bytes at first."""

    def __init__(self, address: str, window: int) -> None:
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._h2.local_settings = Settings(client=True, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window})
        self._h2.initiate_connection()
        self.wire = Wire(address, greeting=self._h2.data_to_send())
        self.streams: list[int] = []

    def ask(self, rpc: str, request: bytes) -> None:
        """Calls, and does not read."""
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, [(":path", SERVICE + rpc), *HEADERS])
        self._h2.send_data(stream, request, end_stream=True)
        self.streams.append(stream)
        self.wire.send([self._h2.data_to_send()])

    def take(self, size: int) -> int:
        """Opens each window by so many bytes and reads what comes; how many bytes of messages did."""
        for stream in self.streams:
            with contextlib.suppress(ProtocolError):
                self._h2.increment_flow_control_window(size, stream)
        self.wire.send([self._h2.data_to_send()])
        events = self._h2.receive_data(self.wire.read())
        self.wire.send([self._h2.data_to_send()])
        return sum(len(event.data) for event in events if isinstance(event, DataReceived))


def slow(target: Target, count: int, window: int, rpc: str, request: bytes) -> int:
    """Asks so often, with one reader after the other, and takes a byte at a time of some."""
    for _ in range(-(-count // AT_ONCE)):
        reader = SlowReader(target.address, window)
        with reader.wire:
            for _ in range(AT_ONCE):
                reader.ask(rpc, request)
            for _ in range(3):
                reader.take(1)
    return count


@attack(10)
def slow_watches(target: Target, count: int) -> int:
    """Watches of every change that nobody reads, while there are changes."""
    return slow(target, count, 0, "WatchVariables", watch_of(target.session))


@attack(2)
def slow_replies(target: Target, count: int) -> int:
    """Great replies that nobody reads."""
    request = variable_pb2.GetVariablesRequest(session_id=GREAT, names=[GREAT])
    return slow(target, count, 7, "GetVariables", message(request.SerializeToString()))


@attack(4)
def idle_connections(target: Target, count: int) -> int:
    """Connections that say what they have to, and then nothing; in turns of 200."""
    for _ in range(-(-count // 200)):
        with contextlib.ExitStack() as stack:
            for _ in range(min(count, 200)):
                stack.enter_context(Wire(target.address))
    return count
