"""Shows what really goes to the LM: a proxy on loopback that keeps the bodies it forwards."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_OWN_HEADERS = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}


class WireTap:
    """Forwards each POST to another address, unchanged, and keeps its body.

    Attributes:
        url: the `api_base` for the LM, in place of the real one.
        bodies: the request bodies, in the order of arrival.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self.bodies: list[dict[str, Any]] = []
        self.upstream = f"{parts.scheme}://{parts.netloc}"
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{parts.path}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stops forwarding."""
        self._server.shutdown()
        self._server.server_close()


def _handler_of(tap: WireTap) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            tap.bodies.append(json.loads(data))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN_HEADERS}
            request = urllib.request.Request(tap.upstream + self.path, data, headers)  # noqa: S310
            try:
                with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310
                    self._answer(response.status, response.headers, response.read())
            except urllib.error.HTTPError as error:
                with error:
                    self._answer(error.code, error.headers, error.read())
            except OSError as error:
                reason = getattr(error, "reason", error)
                problem = {"error": {"message": f"no LM answers at {tap.upstream}: {reason}", "type": "unreachable"}}
                self._answer(502, Message(), json.dumps(problem).encode())

        def _answer(self, status: int, headers: Message, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", headers.get("Content-Type", "application/json"))
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler
