"""Which release of the package this is."""

from __future__ import annotations

from functools import cache
from importlib import metadata

__all__ = ["release"]


@cache
def release() -> str:
    """As it was installed, which is as the top Cargo.toml states it; "unknown" in a tree that nobody has installed."""
    try:
        return metadata.version("snakepit-bridge")
    except metadata.PackageNotFoundError:
        return "unknown"
