"""How a client knows a server, and shows who it is, when they encrypt."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import grpc

from snakepit_bridge.exceptions import InvalidRequestError

__all__ = ["TLS"]

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class TLS:
    """Files in PEM, read when a context connects.

    Attributes:
        ca: who signs the certificates of servers to trust; None: whom gRPC trusts by itself.
        cert: this client's certificate, for a server that asks for one.
        key: its key.
    """

    ca: AnyPath | None = None
    cert: AnyPath | None = None
    key: AnyPath | None = None

    def __post_init__(self) -> None:
        """Refuses half of an identity."""
        if (self.cert is None) != (self.key is None):
            raise InvalidRequestError("tls: cert and key go together", {"field": "tls"})

    def credentials(self) -> grpc.ChannelCredentials:
        """What gRPC makes of the files."""
        return grpc.ssl_channel_credentials(_read(self.ca), _read(self.key), _read(self.cert))


def tls_or_default(tls: bool | AnyPath | TLS | None) -> TLS | None:  # noqa: FBT001
    """What was given, else what $SNAKEPIT_TLS, its _CA, _CLIENT_CERT and _CLIENT_KEY say; None: in the clear."""
    if isinstance(tls, TLS):
        return tls
    if tls is True:
        return TLS()
    if tls is False:
        return None
    if tls is not None:
        return TLS(tls)
    ca, cert, key = (os.environ.get(f"SNAKEPIT_TLS_{name}") or None for name in ("CA", "CLIENT_CERT", "CLIENT_KEY"))
    asked = os.environ.get("SNAKEPIT_TLS", "").lower() not in {"", "0", "f", "false", "n", "no", "off"}
    return TLS(ca, cert, key) if asked or ca or cert or key else None


def _read(path: AnyPath | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidRequestError(f"tls: {error}", {"field": "tls"}) from None
