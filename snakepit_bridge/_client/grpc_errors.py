"""What a failed rpc means: the one place where it becomes an exception of ours."""

from __future__ import annotations

import grpc

from snakepit_bridge._client.transport import API_VERSION, MESSAGE_BYTES
from snakepit_bridge._client.version import release as own_release
from snakepit_bridge.exceptions import (
    BridgeError,
    CallTimeoutError,
    LimitExceededError,
    ServerUnavailableError,
    VersionUnsupportedError,
    from_reason,
)

__all__ = ["translate", "unsupported"]

_DOMAIN = "snakepit_bridge.v1"
# How gRPC says that a connection was accepted and closed; the last one where it was encrypted.
_HUNG_UP = ("Socket closed", "Connection reset by peer", "Broken pipe", "Unwrap failed")


def unsupported(address: str, server: int, release: str) -> VersionUnsupportedError:
    """The error for a server that speaks another protocol than this client."""
    older = "snakepit-bridge here" if server > API_VERSION else "the server"
    message = (
        f"the server at {address}, snakepit {release}, speaks protocol {server}, and this client, snakepit-bridge "
        f"{own_release()}, protocol {API_VERSION}: upgrade {older}"
    )
    facts = {"server": server, "client": API_VERSION}
    return VersionUnsupportedError(message, facts | {"server_release": release, "client_release": own_release()})


def translate(
    error: grpc.RpcError,
    address: str,
    within: float | None = None,
    request_id: str | None = None,
    *,
    release: str | None = None,
    encrypted: bool = False,
) -> BridgeError:
    """The exception for a failed rpc.

    Args:
        error: how it failed.
        address: where.
        within: how many seconds it had.
        request_id: what it was sent as; the server's word counts, if it said one.
        release: the server's; None if nothing has ever been heard from it.
        encrypted: whether this client encrypts.
    """
    info, said = _parsed(error)
    if info is not None:
        reason, given = info
        built = from_reason(reason, error.details() or "", given)
    else:
        built = _without_reason(error, address, within, release, encrypted=encrypted)
    built.request_id = said or request_id
    return built


def _without_reason(
    error: grpc.RpcError, address: str, within: float | None, release: str | None, *, encrypted: bool
) -> BridgeError:
    code, details = error.code(), error.details() or ""
    facts: dict[str, object] = {"address": address}
    built: BridgeError
    match code:
        case grpc.StatusCode.UNAVAILABLE if (untrusted := _untrusted(details)) is not None:
            message = f"no encrypted connection to {address}: {untrusted}"
            built = ServerUnavailableError(message, facts | {"tls": "refused"})
        case grpc.StatusCode.UNAVAILABLE if release is None and any(said in details for said in _HUNG_UP):
            # Nothing has told it that this client cannot be understood, or is not trusted.
            wanted = (
                "asks for certificates, give one that it trusts: tls=TLS(ca, cert, key)"
                if encrypted
                else "encrypts, give tls="
            )
            message = f"what listens at {address} hung up without a word: if it {wanted} ({details})"
            built = ServerUnavailableError(message, facts | {"tls": "anonymous" if encrypted else "absent"})
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
            message = f"no answer from {address}: is `snakepit serve` running there? ({details})"
            built = ServerUnavailableError(message, facts)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            message = f"no answer from {address} within {within} s; a write may or may not have been applied"
            built = CallTimeoutError(message, facts | {"timeout": within})
        case grpc.StatusCode.UNIMPLEMENTED if release is None:
            message = (
                f"what answers at {address} speaks gRPC, but is no snakepit server: see what runs there ({details})"
            )
            built = ServerUnavailableError(message, facts)
        case grpc.StatusCode.UNIMPLEMENTED:
            message = (
                f"the server at {address}, snakepit {release}, does not know this call of snakepit-bridge "
                f"{own_release()}: upgrade the server"
            )
            releases = {"server_release": release, "client_release": own_release()}
            built = VersionUnsupportedError(message, facts | {"client": API_VERSION, "server": "older"} | releases)
        case grpc.StatusCode.RESOURCE_EXHAUSTED | grpc.StatusCode.OUT_OF_RANGE:
            # gRPC itself refuses an oversize message, on either side, before any code of ours sees it.
            message = f"a message is larger than {MESSAGE_BYTES} bytes; split it ({details})"
            built = LimitExceededError(message, facts | {"limit": "message_bytes", "max": MESSAGE_BYTES})
        case _:
            built = BridgeError(f"the call to {address} failed with {code.name}: {details}", facts, reason=code.name)
    return built


def _untrusted(details: str) -> str | None:
    """Why TLS could not begin, of the chain of errors that gRPC tells; None if it is about something else."""
    if "WRONG_VERSION_NUMBER" in details:
        return "what answers there does not encrypt; connect without tls=, or start it with --tls-cert and --tls-key"
    if "Hostname Verification" in details:
        return "the certificate is for another host"
    _, refused, why = details.partition("CERTIFICATE_VERIFY_FAILED: ")
    if refused:
        return f"the certificate is not accepted: {why.partition(':')[0]}"
    return f"the handshake failed ({details})" if "handshake failed" in details.lower() else None


def _parsed(error: grpc.RpcError) -> tuple[tuple[str, dict[str, str]] | None, str]:
    """The server's reason and its facts, if it gave one, and the id that it knows the request by, or ""."""
    for item in error.trailing_metadata() or ():
        if item.key == "grpc-status-details-bin" and isinstance(item.value, bytes):
            return _parse_details(item.value)
    return None, ""


def _parse_details(raw: bytes) -> tuple[tuple[str, dict[str, str]] | None, str]:
    from google.protobuf.message import DecodeError
    from google.rpc.error_details_pb2 import ErrorInfo, RequestInfo  # type: ignore[import-untyped]
    from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

    info, request = ErrorInfo(), RequestInfo()
    reason = None
    try:
        for detail in Status.FromString(raw).details:
            if detail.Unpack(info) and info.domain == _DOMAIN:
                reason = info.reason, dict(info.metadata)
            else:
                detail.Unpack(request)
    except DecodeError:
        return None, ""
    return reason, request.request_id
