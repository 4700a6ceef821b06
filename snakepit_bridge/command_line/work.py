"""What one process of a worker is to do, as its supervisor tells it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

UNUSABLE = 78
"""How a process ends that never can serve: what it was given is wrong. Every other end is worth another try."""

READY = b"ready\n"
"""What a process says to its supervisor when it serves."""

DRAIN = b"drain\n"
"""What it is told when it is to finish."""

GRACE_SECONDS = 5.0
"""How long a process gets to leave, after the time for its calls."""

_NAME_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Work:
    """What to serve, and where.

    Attributes:
        target: `package.module:attribute`.
        configure: `package.module:function`, called before anything else; "": nothing.
        name: the tool's name; "": that of the function, or of the attribute.
        concurrency: how many calls one process takes at once.
        stream: output fields of a program to stream.
        timeout: how many seconds a call may take; None: 300 for a program, for a function as long as its caller says.
        drain_timeout: how many seconds running calls get to finish.
        worker_id: names this process to the server, the same after a restart.
    """

    target: str
    configure: str
    name: str
    address: str
    session_id: str
    everywhere: bool
    concurrency: int
    stream: tuple[str, ...]
    signature: str
    description: str
    idempotent: bool
    timeout: float | None
    drain_timeout: float
    worker_id: str

    def to_text(self) -> str:
        """For the command line of the process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Work:
        """What `to_text` gave."""
        said: dict[str, Any] = json.loads(text)
        return cls(**{**said, "stream": tuple(said["stream"])})


def worker_id(target: str, supervisor: str, slot: int) -> str:
    """The name of the process in a slot of a supervisor."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", target.rpartition(":")[2] or target)[:_NAME_CHARACTERS]
    return f"{readable}-{supervisor}-{slot}"
