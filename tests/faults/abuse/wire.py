"""One connection that says whatever it is told to, well formed or not."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections.abc import Iterable
from time import monotonic
from types import TracebackType
from typing import Self

from hpack import Encoder

from tests.support.waiting import PATIENCE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PROMISE, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
INITIAL_WINDOW = 4
CANCEL = struct.pack(">I", 8)
BATCH = 100
# A client that reads as fast as it can.
WIDE = struct.pack(">I", 2**31 - 1 - 65_535)


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", length: int | None = None) -> bytes:
    """A frame of HTTP/2; `length` is what it says that it is."""
    said = len(payload) if length is None else length
    return struct.pack(">I", said)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def block(path: str, **other: str) -> bytes:
    """The header block of a call; `other` replaces headers, an empty text leaves one out."""
    headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "snakepit", "te": "trailers"}
    headers["content-type"] = "application/grpc"
    headers |= {name.replace("_", "-").replace("pseudo-", ":"): value for name, value in other.items()}
    return Encoder().encode([(name, value) for name, value in headers.items() if value], huffman=False)


def message(content: bytes, *, flag: int = 0, length: int | None = None) -> bytes:
    """A message as gRPC frames it."""
    return struct.pack(">BI", flag, len(content) if length is None else length) + content


GREETING = PREFACE + frame(SETTINGS) + frame(WINDOW, payload=WIDE)


class Wire:
    """A connection; it may be closed by the server at any time, and then it says so.

    Attributes:
        stream: the id of the next stream.
        received: how many bytes have come back.
    """

    def __init__(self, address: str, *, greeting: bytes = GREETING, timeout: float = 2) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(timeout)
        self._open = True
        self.stream = 1
        self.received = 0
        self.send([greeting])

    def next_stream(self) -> int:
        stream, self.stream = self.stream, self.stream + 2
        return stream

    def send(self, frames: Iterable[bytes]) -> bool:
        """Whether they could be sent: the server has neither hung up nor stopped reading."""
        if self._open:
            try:
                self._socket.sendall(b"".join(frames))
            except OSError:
                self.close()
        return self._open

    def read(self, within: float = 0.05) -> bytes:
        """What has come, or comes soon; nothing if nothing does, or the server has hung up."""
        if not self._open or not select.select([self._socket], [], [], within)[0]:
            return b""
        try:
            got = self._socket.recv(65_536)
        except OSError:
            got = b""
        self.received += len(got)
        if not got:
            self.close()
        return got

    def settle(self) -> None:
        """Waits until the server has dealt with all that was sent, or hangs up."""
        answer = frame(PING, ACK, 0, b"settled?")
        self.send([frame(PING, 0, 0, b"settled?")])
        end, got = monotonic() + 5, b""
        while self._open and answer not in got and monotonic() < end:
            got = got[-len(answer) :] + self.read()

    def drain(self) -> None:
        """Reads what has come."""
        while self.read(0):
            pass

    @property
    def open(self) -> bool:
        return self._open

    def close(self) -> None:
        self._open = False
        with contextlib.suppress(OSError):
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
