"""Live, typed, versioned variables for DSPy programs."""

import os

# gRPC's own fork handlers crash a forked child now and then while a stream is open; without them a child that leaves
# gRPC alone is safe, and ours does. gRPC reads this when it is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from snakepit_bridge import exceptions
from snakepit_bridge.batch import Batch
from snakepit_bridge.blocking import BlockingContext
from snakepit_bridge.changes import Change
from snakepit_bridge.exceptions import BridgeError
from snakepit_bridge.server import LocalServer, local_server
from snakepit_bridge.session_context import SessionContext
from snakepit_bridge.variables import Author, Outcome, Variable, VariableVersion
from snakepit_bridge.watch import BlockingWatch, Watch

__all__ = [
    "Author",
    "Batch",
    "BlockingContext",
    "BlockingWatch",
    "BridgeError",
    "Change",
    "LocalServer",
    "Outcome",
    "SessionContext",
    "Variable",
    "VariableVersion",
    "Watch",
    "exceptions",
    "local_server",
]
