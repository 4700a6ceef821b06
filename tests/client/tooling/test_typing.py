"""A user's program passes `mypy --strict` on the package as it is installed, and does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).with_name("typed_program.py")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A copy of the program, where no configuration of ours is found."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program.py").write_text(PROGRAM.read_text(encoding="utf-8"), encoding="utf-8")
    return [sys.executable]


def test_a_users_program_passes_mypy_strict(run: list[str], pytestconfig: pytest.Config) -> None:
    assert pytestconfig.cache is not None
    cache = pytestconfig.cache.mkdir("mypy-of-users")
    mypy = [*run, "-m", "mypy", "--strict", f"--config-file={os.devnull}", f"--cache-dir={cache}", "program.py"]
    done = subprocess.run(mypy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# The program starts a server with `local_server`, which takes no tokens.
@pytest.mark.transport("open")
def test_a_users_program_runs(run: list[str]) -> None:
    done = subprocess.run([*run, "program.py"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("['typed'] 0.3\n42\n", "")
