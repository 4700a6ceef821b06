"""A TCP proxy before a real server that notes which rpcs pass, and can cut or freeze every connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

from hpack import Decoder

_PREFACE = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
_HEADERS, _CONTINUATION = 0x1, 0x9
_END_HEADERS, _PADDED, _PRIORITY = 0x4, 0x8, 0x20


class WireProxy:
    """Counts what really crosses the wire: each rpc is one HTTP/2 request with its method as `:path`.

    Attributes:
        connections: how many connections there were, those included that found no server.
        held: set once something waits that came while nothing may pass.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.paths: list[str] = []
        self.bytes_up = 0
        self.connections = 0
        self.held = threading.Event()
        self._flowing = threading.Event()
        self._flowing.set()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, name="proxy-accept", daemon=True).start()

    def rpcs(self) -> list[str]:
        """The methods called so far, in order, by their short names."""
        return [path.rpartition("/")[2] for path in list(self.paths)]

    def count(self, method: str = "") -> int:
        """How many calls there were, of one method or of all."""
        return sum(not method or rpc == method for rpc in self.rpcs())

    def cut(self) -> None:
        """Resets every connection; new ones are accepted."""
        with self._lock:
            for end in self._sockets:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def freeze(self) -> None:
        """Lets nothing pass any more, in either direction, without closing anything."""
        self.held.clear()
        self._flowing.clear()

    def thaw(self) -> None:
        """Lets everything pass again, what was held included."""
        self._flowing.set()

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.thaw()
        self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            host, _, port = self.upstream.rpartition(":")
            try:
                server = socket.create_connection((host, int(port)))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._sockets |= {client, server}
            done = threading.Barrier(2, action=lambda client=client, server=server: self._forget(client, server))  # type: ignore[misc]
            threading.Thread(target=self._pass, args=(client, server, _Reader(self.paths), done), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, None, done), daemon=True).start()

    def _pass(
        self, source: socket.socket, target: socket.socket, reader: _Reader | None, done: threading.Barrier
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not self._flowing.is_set():
                    self.held.set()
                self._flowing.wait()
                if reader:
                    self.bytes_up += len(data)
                    reader.feed(data)
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        done.wait()

    def _forget(self, *ends: socket.socket) -> None:
        with self._lock:
            self._sockets -= set(ends)
        for end in ends:
            end.close()


class _Reader:
    """Reads the requests out of one client's half of an HTTP/2 connection."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = paths
        self._held = b""
        self._skip = _PREFACE
        self._block = b""
        self._headers = Decoder()

    def feed(self, data: bytes) -> None:
        self._held += data
        if self._skip:
            if len(self._held) < self._skip:
                return
            self._held, self._skip = self._held[self._skip :], 0
        while len(self._held) >= 9:
            length = int.from_bytes(self._held[:3], "big")
            if len(self._held) < 9 + length:
                return
            kind, flags = self._held[3], self._held[4]
            payload, self._held = self._held[9 : 9 + length], self._held[9 + length :]
            if kind in {_HEADERS, _CONTINUATION}:
                self._read_headers(kind, flags, payload)

    def _read_headers(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _HEADERS and flags & _PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        if kind == _HEADERS and flags & _PRIORITY:
            payload = payload[5:]
        self._block += payload
        if flags & _END_HEADERS:
            block, self._block = self._block, b""
            self._paths.extend(str(value) for name, value in self._headers.decode(block) if name in (b":path", ":path"))
