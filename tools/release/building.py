"""Builds the wheel and the sdist: the same commit gives the same bytes, in whatever directory."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from tools.release.processes import CheckError, run

# What CPython's oldest supported Linux distributions have; Rust asks for the same.
COMPATIBILITY = "manylinux2014"


def build_wheel(root: Path, out: Path, target: Path, *, triple: str | None = None, log: Path | None = None) -> Path:
    """The wheel for Linux, linked by zig against the glibc of manylinux2014.

    Args:
        root: the repository.
        out: where it goes.
        target: where the compiler's work goes.
        triple: Rust's name of the target; else this machine's.
        log: where the compiler's words go.

    Raises:
        CheckError: it cannot be built.
    """
    command = [_maturin(), "build", "--release", "--locked", "--zig", "--compatibility", COMPATIBILITY]
    machine = ["--target", triple] if triple else []
    return _built(root, out, target, [*command, *machine, "--out", str(out)], "*.whl", log=log)


def build_sdist(root: Path, out: Path, target: Path, *, log: Path | None = None) -> Path:
    """The source distribution.

    Raises:
        CheckError: it cannot be built.
    """
    return _built(root, out, target, [_maturin(), "sdist", "--out", str(out)], "*.tar.gz", log=log)


def digest(path: Path) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _maturin() -> str:
    found = Path(sys.executable).with_name("maturin")
    if not found.is_file():
        raise CheckError(f"no maturin beside {sys.executable}: `make release` makes an environment that has it")
    return str(found)


def _built(root: Path, out: Path, target: Path, command: list[str], pattern: str, *, log: Path | None) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    before = {path: path.stat().st_mtime_ns for path in out.glob(pattern)}
    run(command, cwd=root, env=_environment(root, target), log=log)
    made = [path for path in out.glob(pattern) if path.stat().st_mtime_ns != before.get(path)]
    if len(made) != 1:
        raise CheckError(f"{out} should have got one {pattern}, and got {[path.name for path in made]}")
    return made[0]


def _environment(root: Path, target: Path) -> dict[str, str]:
    """This process's, in which nothing tells where or when the build runs."""
    cargo_home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    # They have to be there to be named: their directory is called after the registry, which may be a mirror.
    run(["cargo", "fetch", "--locked"], cwd=root)
    crates = dict.fromkeys(sorted((cargo_home / "registry" / "src").glob("*")), "/crates")
    # The last one that fits is taken, hence the most particular one.
    names = {root: "/snakepit", target: "/target", cargo_home: "/cargo"} | crates
    remapped = [f"--remap-path-prefix={path.resolve()}={name}" for path, name in names.items()]
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if name not in {"RUSTFLAGS", "CFLAGS", "CXXFLAGS"}}
    return kept | {
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(remapped),
        "CARGO_TARGET_DIR": str(target),
        "PATH": beside,
        "SOURCE_DATE_EPOCH": _committed_at(root),
    }


def _committed_at(root: Path) -> str:
    try:
        return run(["git", "log", "-1", "--format=%ct"], cwd=root).strip()
    except (CheckError, OSError) as error:
        raise CheckError(
            f"{root} is no clone of the repository, and a release is dated by its commit: {error}"
        ) from None
