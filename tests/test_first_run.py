"""`make` reports what a machine lacks in one line before anything compiles, and installs into .venv only."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RUST = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]["package"]["rust-version"]
TOOLS = ["make", "sh", "sed", "sort", "head", "date", "echo", "test", "mkdir", "touch", "cp", "chmod", "rm"]
CARGO = """\
[ "$1" = --version ] && { echo "cargo VERSION (0123456 2026-01-01)"; exit; }
echo "cargo $*" >> "$LOG"
[ "$1" = build ] && mkdir -p target/debug && cp "$0" target/debug/snakepit
[ "$1" != tree ]
"""
PYTHON = """\
case "$*" in
*version_info*) exit TOO_OLD ;;
*python_version*) echo VERSION ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
esac
case "$1" in -m) echo "python $*" >> "$LOG" ;; esac
"""


@dataclass
class Machine:
    """A clone at a path with a blank, on a PATH with little more than scripts for cargo, Python and the C compiler."""

    clone: Path
    programs: Path
    log: Path

    def install(self, name: str, script: str) -> Path:
        path = self.programs / name
        # It may be a link to the real program.
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}", encoding="utf-8")
        path.chmod(0o755)
        return path

    def install_python(self, version: str) -> None:
        too_old = int(tuple(map(int, version.split("."))) < (3, 11))
        self.install("python3", PYTHON.replace("TOO_OLD", str(too_old)).replace("VERSION", version))

    def remove(self, name: str) -> None:
        (self.programs / name).unlink()

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        basic = {"PATH": str(self.programs), "HOME": str(self.programs.parent), "LOG": str(self.log)}
        return subprocess.run(
            ["make", *arguments], cwd=self.clone, env=basic | environment, capture_output=True, text=True, check=False
        )

    def ran(self) -> list[str]:
        """The commands of cargo and Python that ran, in order."""
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine that has all that is needed."""
    made = Machine(tmp_path / "my clone", tmp_path / "bin", tmp_path / "log")
    made.clone.mkdir()
    made.programs.mkdir()
    for name in ("Makefile", "Cargo.toml", "pyproject.toml"):
        shutil.copy(ROOT / name, made.clone)
    shutil.copytree(ROOT / "tools", made.clone / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for tool in TOOLS:
        (made.programs / tool).symlink_to(shutil.which(tool) or tool)
    made.install("cargo", CARGO.replace("VERSION", "9.0.0"))
    made.install("cc", "")
    made.install_python("3.12.1")
    return made


def complaint(result: subprocess.CompletedProcess[str]) -> str:
    """The one line that the check printed."""
    assert result.returncode != 0
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("make: *** ")]
    return line


def test_demo_makes_an_environment_of_its_own_and_compiles_the_server_once(machine: Machine) -> None:
    active = machine.programs.parent / "active"
    result = machine.make("demo", "FOREVER=1", VIRTUAL_ENV=str(active))
    assert result.returncode == 0, result.stderr
    server = machine.clone / "target" / "debug" / "snakepit"
    package = re.search(r"^SERVER := (\w+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert package
    assert machine.ran() == [
        "python -m venv .venv",
        f"python -m tools.develop {server} dspy",
        f"python -m tools.develop {server} local-lm",
        f"cargo build --package {package[1]} --bin snakepit",
        "python -m examples.demo --forever",
    ]
    assert str(active) not in result.stdout
    assert not active.exists()
    # The second time there is nothing to install.
    machine.log.unlink()
    assert machine.make("demo").returncode == 0
    assert [command.split()[2] for command in machine.ran()] == ["--package", "examples.demo"]


def test_what_is_silent_says_what_it_does_and_how_long(machine: Machine) -> None:
    out = machine.make("demo").stdout
    silent = ["Making the Python environment", "Installing DSPy", "Compiling the server"]
    lines = [next(line for line in out.splitlines() if line.startswith(begin)) for begin in silent]
    assert all("It takes about" in line for line in lines)


def test_without_cargo_make_says_where_to_get_it(machine: Machine) -> None:
    machine.remove("cargo")
    line = complaint(machine.make("demo"))
    assert "https://rustup.rs" in line
    assert RUST in line
    assert machine.ran() == []


def test_a_cargo_that_is_not_on_path_is_found(machine: Machine) -> None:
    home = machine.programs.parent / "cargo home"
    (home / "bin").mkdir(parents=True)
    (machine.programs / "cargo").rename(home / "bin" / "cargo")
    assert f'. "{home}/env"' in complaint(machine.make("demo", CARGO_HOME=str(home)))


@pytest.mark.parametrize("version", ["1.9.0", "1.88.2"])
def test_an_old_cargo_is_refused(machine: Machine, version: str) -> None:
    machine.install("cargo", CARGO.replace("VERSION", version))
    line = complaint(machine.make("demo"))
    assert version in line
    assert "rustup update" in line


def test_a_cargo_home_that_is_read_only_is_refused_unless_all_crates_are_there(machine: Machine) -> None:
    assert "export CARGO_HOME=" in complaint(machine.make("preflight", CARGO_HOME="/proc/nobody/cargo"))
    machine.install("cargo", CARGO.replace("VERSION", "9.0.0").replace("!= tree", "!= nothing"))
    assert machine.make("preflight", CARGO_HOME="/proc/nobody/cargo").returncode == 0


@pytest.mark.parametrize("task", ["demo", "setup", "build", "test-rust", "test"])
def test_without_a_c_compiler_nothing_compiles(machine: Machine, task: str) -> None:
    machine.remove("cc")
    result = machine.make(task)
    assert result.returncode != 0
    assert "cc, the C compiler, is missing" in result.stderr
    assert machine.ran() == []


def test_an_old_python_is_refused_and_a_newer_one_beside_it_taken(machine: Machine) -> None:
    machine.install_python("3.10.13")
    line = complaint(machine.make("demo"))
    assert "python3 is 3.10.13" in line
    assert "PYTHON=" in line
    assert machine.ran() == []
    newer = machine.install("python3.13", PYTHON.replace("TOO_OLD", "0").replace("VERSION", "3.13.0"))
    assert machine.make("preflight").returncode == 0
    newer.rename(machine.clone / "other python")
    assert machine.make("demo", "PYTHON=./other python").returncode == 0


def test_an_environment_with_an_old_python_is_refused(machine: Machine) -> None:
    machine.install_python("3.10.13")
    environment = machine.clone / "old" / "bin"
    environment.mkdir(parents=True)
    shutil.copy(machine.programs / "python3", environment / "python")
    machine.install_python("3.12.1")
    assert "old has Python 3.10.13" in complaint(machine.make("demo", "VENV=old"))
    (environment / "python").unlink()
    (environment / "python").symlink_to("gone")
    assert "does not run" in complaint(machine.make("demo", "VENV=old"))
    assert machine.ran() == []


def test_an_environment_whose_name_has_a_blank_is_refused(machine: Machine) -> None:
    result = machine.make("demo", "VENV=my env")
    assert result.returncode != 0
    assert "VENV=my env has a blank in it" in result.stderr
    assert machine.ran() == []


@pytest.mark.parametrize("fails", ["", "lint"])
def test_parts_print_how_long_each_took_also_if_one_fails(machine: Machine, fails: str) -> None:
    machine.install("make", f'[ "$2" != "{fails}" ]')
    result = subprocess.run(
        [ROOT / "tools" / "parts.sh", "setup", "lint", "build"],
        env={**os.environ, "MAKE": str(machine.programs / "make")},
        capture_output=True,
        text=True,
        check=False,
    )
    _, _, table = result.stdout.partition("Time of each part:\n")
    rows = [line.split() for line in table.splitlines()]
    assert [(name, rest) for name, _, _, *rest in rows] == (
        [("setup", []), ("lint", ["failed"])] if fails else [("setup", []), ("lint", []), ("build", [])]
    )
    assert result.returncode == (1 if fails else 0)
