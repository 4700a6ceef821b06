"""What docs/security.md says: its threats name tests that are there, its commands run, its formats are those in use."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

from snakepit_bridge import TLS, SessionContext
from snakepit_bridge.exceptions import UnauthenticatedError
from snakepit_bridge.server import start

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text()


def blocks(language: str, heading: str) -> list[str]:
    """The code of that language below a heading."""
    _, _, rest = TEXT.partition(f"\n## {heading}\n")
    section = rest.partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def threats() -> list[list[str]]:
    """The rows of the table of threats: threat, answer, what proves it."""
    _, _, text = TEXT.partition("\n## Threats\n")
    rows = [re.split(r" *\| *", line.strip().strip("|").strip()) for line in text.splitlines() if line.startswith("|")]
    return rows[2:]


def test_every_threat_is_answered_by_tests_that_exist() -> None:
    rust = "".join(path.read_text() for path in (ROOT / "server_rs").glob("**/*.rs"))
    python = "".join(path.read_text() for path in (ROOT / "tests").glob("**/*.py"))
    rows = threats()
    assert len(rows) > 15
    for threat, answer, proofs in rows:
        named = re.findall(r"`([^`]+)`", proofs)
        assert answer, threat
        assert named, threat
        for name in named:
            found = (ROOT / name).is_file() or f"fn {name}()" in rust or f"def {name}(" in python
            assert found, f"{threat}: there is no {name}"


def test_the_commands_for_tokens_run_and_print_such_tables(server_binary: Path, tmp_path: Path) -> None:
    commands = [shlex.split(line, comments=True) for line in blocks("sh", "Tokens")[0].splitlines()]
    assert [command[:3] for command in commands[:2]] == [["snakepit", "token", "new"], ["snakepit", "token", "check"]]
    for _, *arguments in commands[:2]:
        subprocess.run([server_binary, *arguments], cwd=tmp_path, check=True, capture_output=True)
    _, *serve = commands[2]
    serve = [str(tmp_path / word) if word.endswith(".toml") else word for word in serve]
    log = tmp_path / "audit"
    private = ["--ephemeral", "--listen", "127.0.0.1:0", "--until-stdin-closes", "--audit-log", str(log)]
    with start(server_binary, [*serve, *private]) as server:
        context = SessionContext.connect(server.address, session_id="s", token="spt_nobody").blocking
        with pytest.raises(UnauthenticatedError):
            context.get_variable("x")
        context.close()
    # A table, and a line of the audit log, are as they are shown.
    made = tomllib.loads((tmp_path / "tokens.toml").read_text())["token"][0]
    shown = tomllib.loads(blocks("toml", "Tokens")[0])["token"][0]
    assert made == shown | {"sha256": made["sha256"]}
    assert json.loads(blocks("json", "The audit log")[0]).keys() == json.loads(log.read_text().splitlines()[0]).keys()


def test_the_connections_can_be_made() -> None:
    lines = [line for line in blocks("py", "Encryption")[0].splitlines() if line]
    assert len(lines) == 2
    for line in lines:
        # Without I/O: the files are read at the first use.
        exec(line, {"SessionContext": SessionContext, "TLS": TLS})
