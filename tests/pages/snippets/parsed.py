"""What is read and not run: how far each language can be checked here."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import yaml

_INSTRUCTIONS = "ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|FROM|HEALTHCHECK|LABEL|RUN|STOPSIGNAL|USER|VOLUME|WORKDIR"


def _json(text: str, _: Path) -> None:
    for line in text.splitlines() if text.startswith("{") and "}\n{" in text + "\n" else [text]:
        json.loads(line)


def _yaml(text: str, _: Path) -> None:
    assert any(document is not None for document in yaml.safe_load_all(text))


def _unit(text: str, directory: Path) -> None:
    """A systemd unit. Its programs and users are not on this machine: those complaints are no fault of the page."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    assert {"Unit", "Service", "Install"} <= set(unit.sections())
    if shutil.which("systemd-analyze") is None:
        return
    path = directory / "snakepit.service"
    path.write_text(re.sub(r"^(ExecStart|ExecReload)=\S+", r"\1=/bin/true", text, flags=re.MULTILINE), encoding="utf-8")
    said = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    assert [line for line in said.stderr.splitlines() if path.name in line] == []


def _dockerfile(text: str, _: Path) -> None:
    joined = text.replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    assert lines[0].startswith("FROM ")
    assert [line for line in lines if not re.match(rf"(?:{_INSTRUCTIONS}) \S", line)] == []
    for line in lines:
        if re.match(r"(?:CMD|ENTRYPOINT) \[", line):
            json.loads(line.split(" ", 1)[1])


def _logrotate(text: str, directory: Path) -> None:
    assert text.count("{") == text.count("}") > 0
    if logrotate := shutil.which("logrotate", path="/usr/sbin:/usr/bin:/sbin:/bin"):
        path = directory / "logrotate.conf"
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)
        said = subprocess.run([logrotate, "--debug", path], capture_output=True, text=True, check=False)
        assert (said.returncode, [line for line in said.stderr.splitlines() if line.startswith("error:")]) == (0, [])


def _promql(text: str, _: Path) -> None:
    for opening, closing in ("()", "[]", "{}"):
        assert text.count(opening) == text.count(closing)
    assert text.count('"') % 2 == 0


PARSERS: dict[str, Callable[[str, Path], object]] = {
    "dockerfile": _dockerfile,
    "ini": _unit,
    "json": _json,
    "logrotate": _logrotate,
    "promql": _promql,
    "toml": lambda text, _: tomllib.loads(text),
    "yaml": _yaml,
}
"""By what a fence says: reads a block, given a directory of its own, and fails if it is not of that language."""
