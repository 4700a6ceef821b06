"""The other processes of `tool_calls.py`: what answers a call there. Each prints `listening on HOST:PORT` when ready.

    python benchmarks/tool_peers.py grpc                    # a bare grpcio server with one unary rpc
    python benchmarks/tool_peers.py mcp                     # an MCP server over streamable HTTP
    python benchmarks/tool_peers.py worker ADDRESS SESSION  # a worker of ours

All of them answer `echo(text)` with the text, and end when their stdin does.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

MESSAGE_BYTES = 32 * 1024 * 1024


def ready(where: str) -> None:
    """Says where, and waits until whoever started this is gone."""
    print(f"listening on {where}", flush=True)
    sys.stdin.read()


def serve_grpc() -> None:
    """One unary rpc that takes and gives what CallTool does."""
    import grpc

    from snakepit_bridge.v1 import tool_pb2

    def echo(request: tool_pb2.CallToolRequest, _: grpc.ServicerContext) -> tool_pb2.CallToolResponse:
        return tool_pb2.CallToolResponse(result=request.arguments.entries[0].value)

    method = grpc.unary_unary_rpc_method_handler(
        echo, tool_pb2.CallToolRequest.FromString, tool_pb2.CallToolResponse.SerializeToString
    )
    options = [("grpc.max_receive_message_length", MESSAGE_BYTES), ("grpc.max_send_message_length", MESSAGE_BYTES)]
    server = grpc.server(ThreadPoolExecutor(16), options=options)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bench.Echo", {"Call": method})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ready(f"127.0.0.1:{port}")
    server.stop(None)


def serve_mcp() -> None:
    """The MCP SDK's own server, with its fastest settings: no sessions to keep, JSON instead of event streams."""
    from mcp.server.mcpserver import MCPServer

    server = MCPServer("bench")

    @server.tool()
    def echo(text: str) -> str:
        """Gives the text back."""
        return text

    logging.disable(logging.INFO)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"host": "127.0.0.1", "port": port, "json_response": True, "stateless_http": True}
    settings["max_request_body_size"] = MESSAGE_BYTES
    threading.Thread(target=lambda: server.run("streamable-http", **settings), daemon=True).start()
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
    ready(f"127.0.0.1:{port}")


def serve_worker(address: str, session: str) -> None:
    """A worker as anybody writes one."""
    from snakepit_bridge import SessionContext

    with SessionContext.connect(address, session_id=session) as ctx:

        def echo(text: str) -> str:
            """Gives the text back."""
            return text

        def count(to: int) -> Iterator[int]:
            """Counts from 0."""
            yield from range(to)

        def blobs(many: int, size: int) -> Iterator[bytes]:
            """So many chunks of so many bytes."""
            for _ in range(many):
                yield bytes(size)

        for tool in (echo, count, blobs):
            ctx.offer(tool)
        ready(address)


if __name__ == "__main__":
    {"grpc": serve_grpc, "mcp": serve_mcp, "worker": serve_worker}[sys.argv[1]](*sys.argv[2:])
