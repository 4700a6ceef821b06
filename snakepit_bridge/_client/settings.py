"""What a context is told when it is made, and where that comes from when it is not."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Literal, NoReturn

from snakepit_bridge.exceptions import InvalidRequestError
from snakepit_bridge.tls import TLS

Freshness = Literal["latest", "streamed"]

# What the server accepts of a worker.
_MOST_CONCURRENCY = 10_000
_DEFAULT_ADDRESS = "127.0.0.1:50051"


@dataclass(frozen=True, slots=True)
class Settings:
    """What `connect` and `local` were told; times in seconds."""

    freshness: Freshness = "latest"
    max_staleness: float = 30.0
    sync_timeout: float = 2.0
    timeout: float = 10.0
    strict: bool = True
    create: bool = True
    ttl: float | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    tool_concurrency: int = 16
    # Goes into metadata and nowhere else.
    token: str | None = field(default=None, repr=False)
    tls: TLS | None = None

    def __post_init__(self) -> None:
        """Refuses what cannot be meant."""
        if self.freshness not in {"latest", "streamed"}:
            raise _refused("freshness", self.freshness, '"latest" or "streamed"')
        if not self.max_staleness >= 0:
            raise _refused("max_staleness", self.max_staleness, "0 or more seconds")
        for name in ("sync_timeout", "timeout"):
            if not getattr(self, name) > 0:
                raise _refused(name, getattr(self, name), "more than 0 seconds")
        if not 1 <= self.tool_concurrency <= _MOST_CONCURRENCY:
            raise _refused("tool_concurrency", self.tool_concurrency, f"1 to {_MOST_CONCURRENCY} calls")
        if self.token is not None and (not self.token.isascii() or not self.token.isprintable() or " " in self.token):
            raise InvalidRequestError("token: wanted printable ASCII characters without spaces", {"field": "token"})


def _refused(name: str, value: object, wanted: str) -> InvalidRequestError:
    return InvalidRequestError(f"{name}={value!r}: wanted {wanted}", {"field": name})


def address_or_default(address: str | None) -> str:
    """The address given, else $SNAKEPIT_ADDRESS, else the server's own default."""
    found = address or os.environ.get("SNAKEPIT_ADDRESS") or _DEFAULT_ADDRESS
    if not found.rpartition(":")[2].isdigit():
        raise InvalidRequestError(f"address {found!r} is not HOST:PORT", {"field": "address"})
    return found


def session_id_or_default(session_id: str | None) -> str | None:
    """The id given, else $SNAKEPIT_SESSION, else None for a generated one."""
    return session_id or os.environ.get("SNAKEPIT_SESSION") or None


def token_or_default(token: str | None) -> str | None:
    """The token given, else $SNAKEPIT_TOKEN, else None."""
    return token or os.environ.get("SNAKEPIT_TOKEN") or None


def user() -> str:
    """Who runs this, as far as the system says."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"


def refuse_pickle(what: str) -> NoReturn:
    """Says why a session, or what holds one, cannot be pickled."""
    raise TypeError(
        f"a {what} holds a live connection and cannot be pickled; send its address and session_id instead, "
        "and call SessionContext.connect(address, session_id=...) over there"
    )
