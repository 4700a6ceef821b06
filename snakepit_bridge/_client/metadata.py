"""What every rpc is sent with: an id of its own, by which the server's log knows it, and the trace it belongs to."""

from __future__ import annotations

import os

from snakepit_bridge._client import traces

__all__ = ["Metadata", "new_request_id", "sent_with"]

Metadata = tuple[tuple[str, str], ...]


def new_request_id() -> str:
    """Made here and not by the server, so that also a request that is never answered can be found in its log."""
    return os.urandom(8).hex()


def sent_with(metadata: Metadata, request_id: str) -> Metadata:
    """What an rpc of that id is sent with, besides what all are."""
    return (*metadata, ("x-request-id", request_id), *traces.outgoing())
