"""Running the load generator against the server under test, and what it says of a stuck watcher."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

# Far more than any run that goes on takes.
_SECONDS = 900


def run_stuck_watcher(server_binary: Path, directory: Path, *options: str) -> tuple[str, dict[str, Any]]:
    """Runs `snakepit_load stuck`: what it printed, and its figures. Fails with what it found wrong."""
    generator = server_binary.parent / "snakepit_load"
    if not generator.is_file():
        pytest.fail(f"no load generator at {generator}: run `make build`", pytrace=False)
    results = directory / "results"
    arguments: list[str | Path] = [
        "--server",
        server_binary,
        "--disk",
        directory / "disk",
        "--results",
        results,
        "stuck",
        *options,
    ]
    ended = subprocess.run([generator, *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (figures,) = results.glob("*.json")
    facts: dict[str, Any] = json.loads(figures.read_text())["facts"]
    return ended.stdout.strip(), facts
