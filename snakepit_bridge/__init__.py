"""Live, typed, versioned variables for DSPy programs.

A *session* on a server holds *variables*: a name, a type, constraints, a value and its history. `SessionContext` opens
one, to register, set, read and watch them; every client of the same session id sees the same:

    with SessionContext.connect("127.0.0.1:50051", session_id="demo") as ctx:
        ctx.register_variable("llm_temperature", "float", 0.7, constraints={"min": 0.0, "max": 2.0})
        ctx.set_variable("llm_temperature", 0.2, reason="less chatty")

A variable has a *version*, which counts its changes. A session has a *revision*, which counts the writes committed in
it; a write of several variables is one revision.

`snakepit_bridge.dspy_integration` binds DSPy programs to variables. `snakepit_bridge.exceptions` has what is raised.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snakepit_bridge import exceptions
    from snakepit_bridge.batch import Batch
    from snakepit_bridge.blocking import BlockingContext
    from snakepit_bridge.changes import Change
    from snakepit_bridge.current import RunningCall, current_call
    from snakepit_bridge.exceptions import BridgeError
    from snakepit_bridge.server import LocalServer, local_server
    from snakepit_bridge.session_context import SessionContext
    from snakepit_bridge.tls import TLS
    from snakepit_bridge.tool_stream import BlockingToolStream, ToolStream
    from snakepit_bridge.tools import (
        Attempt,
        CallStatus,
        LatencyBucket,
        Retry,
        Tool,
        ToolResult,
        ToolStats,
        ToolStatus,
        ToolWorker,
    )
    from snakepit_bridge.variables import Author, Outcome, Variable, VariableVersion
    from snakepit_bridge.watch import BlockingWatch, Watch

    __version__: str

__all__ = [
    "TLS",
    "Attempt",
    "Author",
    "Batch",
    "BlockingContext",
    "BlockingToolStream",
    "BlockingWatch",
    "BridgeError",
    "CallStatus",
    "Change",
    "LatencyBucket",
    "LocalServer",
    "Outcome",
    "Retry",
    "RunningCall",
    "SessionContext",
    "Tool",
    "ToolResult",
    "ToolStats",
    "ToolStatus",
    "ToolStream",
    "ToolWorker",
    "Variable",
    "VariableVersion",
    "Watch",
    "current_call",
    "exceptions",
    "local_server",
]

# gRPC's own fork handlers crash a forked child now and then while a stream is open; without them a child that leaves
# gRPC alone is safe, and ours does. gRPC reads this when it is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

_HOMES = {
    "Attempt": "tools",
    "Author": "variables",
    "Batch": "batch",
    "BlockingContext": "blocking",
    "BlockingToolStream": "tool_stream",
    "BlockingWatch": "watch",
    "BridgeError": "exceptions",
    "CallStatus": "tools",
    "Change": "changes",
    "LatencyBucket": "tools",
    "LocalServer": "server",
    "Outcome": "variables",
    "Retry": "tools",
    "RunningCall": "current",
    "SessionContext": "session_context",
    "TLS": "tls",
    "Tool": "tools",
    "ToolResult": "tools",
    "ToolStats": "tools",
    "ToolStatus": "tools",
    "ToolStream": "tool_stream",
    "ToolWorker": "tools",
    "Variable": "variables",
    "VariableVersion": "variables",
    "Watch": "watch",
    "current_call": "current",
    "local_server": "server",
}


def __getattr__(name: str) -> Any:
    # At first use: gRPC and protobuf take a tenth of a second, which nobody should pay for an import alone.
    from importlib import import_module

    if name in _HOMES:
        found = getattr(import_module(f"snakepit_bridge.{_HOMES[name]}"), name)
    elif name == "exceptions":
        found = import_module("snakepit_bridge.exceptions")
    elif name == "__version__":
        found = import_module("snakepit_bridge.release").release()
    else:
        raise AttributeError(f"module 'snakepit_bridge' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
