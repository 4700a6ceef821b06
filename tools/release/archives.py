"""What is in a wheel and in an sdist: all of it, and nothing else."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

PACKAGE = "snakepit_bridge"
# What whoever builds from source needs besides the package, the server and the protocol.
_SOURCES = (".cargo/config.toml", "Cargo.lock", "Cargo.toml", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml")
_ABOUT = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
# What tools leave behind in a tree, and git ignores.
_CACHES = ("__pycache__", "proptest-regressions")


def members(archive: Path) -> dict[str, bytes]:
    """The files of a wheel, or of an sdist without its top directory, by name."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist() if not name.endswith("/")}
    found: dict[str, bytes] = {}
    with tarfile.open(archive) as sdist:
        for member in sdist:
            content = sdist.extractfile(member)
            if content is not None:
                found[member.name.partition("/")[2]] = content.read()
    return found


def expected_in_wheel(root: Path, version: str) -> set[str]:
    """The package, the server's binary, and what says so."""
    binary = f"{PACKAGE}-{version}.data/scripts/snakepit"
    about = {f"{PACKAGE}-{version}.dist-info/{name}" for name in _ABOUT}
    return {*_files(root, PACKAGE), binary, *about}


def expected_in_sdist(root: Path) -> set[str]:
    """What the package and the server are built of."""
    protocol = {name for name in _files(root, "proto") if name.endswith(".proto")}
    return {*_files(root, PACKAGE), *_files(root, "server_rs"), *protocol, *_SOURCES}


def difference(wanted: Iterable[str], found: Iterable[str]) -> list[str]:
    """What is missing (-) and what is too much (+), by name."""
    wanted, found = set(wanted), set(found)
    return [f"- {name}" for name in sorted(wanted - found)] + [f"+ {name}" for name in sorted(found - wanted)]


def unlike(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> list[str]:
    """In which files two archives differ, and from which byte on."""
    told = difference(one, other)
    for name in sorted(one.keys() & other.keys()):
        if one[name] != other[name]:
            pairs = enumerate(zip(one[name], other[name], strict=False))
            shorter = min(len(one[name]), len(other[name]))
            first = next((at for at, (left, right) in pairs if left != right), shorter)
            told.append(f"{name} from byte {first} of {len(one[name])}")
    return told


def _files(root: Path, directory: str) -> set[str]:
    found = {PurePosixPath(path.relative_to(root)) for path in (root / directory).rglob("*") if path.is_file()}
    return {str(path) for path in found if not set(path.parts) & set(_CACHES)}
