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
    from snakepit_bridge._client.current_call import RunningCall, current_call
    from snakepit_bridge._tools.models import (
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
    from snakepit_bridge._tools.stream import BlockingToolStream, ToolStream
    from snakepit_bridge._variables.batch import Batch
    from snakepit_bridge._variables.changes import Change
    from snakepit_bridge._variables.variables import Author, Outcome, Variable, VariableVersion
    from snakepit_bridge._variables.watch import BlockingWatch, Watch
    from snakepit_bridge.blocking import BlockingContext
    from snakepit_bridge.exceptions import BridgeError
    from snakepit_bridge.server import LocalServer, local_server
    from snakepit_bridge.session_context import SessionContext
    from snakepit_bridge.tls import TLS

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
    "Attempt": "_tools.models",
    "Author": "_variables.variables",
    "Batch": "_variables.batch",
    "BlockingContext": "blocking",
    "BlockingToolStream": "_tools.stream",
    "BlockingWatch": "_variables.watch",
    "BridgeError": "exceptions",
    "CallStatus": "_tools.models",
    "Change": "_variables.changes",
    "LatencyBucket": "_tools.models",
    "LocalServer": "server",
    "Outcome": "_variables.variables",
    "Retry": "_tools.models",
    "RunningCall": "_client.current_call",
    "SessionContext": "session_context",
    "TLS": "tls",
    "Tool": "_tools.models",
    "ToolResult": "_tools.models",
    "ToolStats": "_tools.models",
    "ToolStatus": "_tools.models",
    "ToolStream": "_tools.stream",
    "ToolWorker": "_tools.models",
    "Variable": "_variables.variables",
    "VariableVersion": "_variables.variables",
    "Watch": "_variables.watch",
    "current_call": "_client.current_call",
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
        found = import_module("snakepit_bridge._client.version").release()
    else:
        raise AttributeError(f"module 'snakepit_bridge' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
