"""The version: stated once, in the top Cargo.toml, and the same wherever it shows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

_HEADING = re.compile(r"^## (\d+\.\d+\.\d+\S*)", re.MULTILINE)


def stated(root: Path) -> str:
    """The one place."""
    return str(_read(root / "Cargo.toml")["workspace"]["package"]["version"])


def of_members(root: Path) -> dict[str, Any]:
    """What each crate says, by its name; a version that it does not state itself is `{"workspace": True}`."""
    members = _read(root / "Cargo.toml")["workspace"]["members"]
    manifests = [_read(manifest) for member in members for manifest in sorted(root.glob(f"{member}/Cargo.toml"))]
    return {manifest["package"]["name"]: manifest["package"]["version"] for manifest in manifests}


def in_lock(root: Path) -> dict[str, str]:
    """The versions that Cargo.lock has for this repository's own crates, by name."""
    own = of_members(root)
    return {found["name"]: found["version"] for found in _read(root / "Cargo.lock")["package"] if found["name"] in own}


def in_changelog(root: Path) -> str:
    """The newest version that the changelog tells about."""
    found = _HEADING.search((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    return found[1] if found else "none"


def disagreeing(root: Path) -> dict[str, str]:
    """Where in the tree another version stands than the one stated, and which."""
    version = stated(root)
    found = {f"Cargo.toml of {name}": said for name, said in of_members(root).items() if said != {"workspace": True}}
    found |= {f"Cargo.lock, {name}": said for name, said in in_lock(root).items() if said != version}
    if in_changelog(root) != version:
        found["CHANGELOG.md"] = in_changelog(root)
    return {place: str(said) for place, said in found.items()}


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))
