"""Installs this clone into the environment of this Python, without compiling it.

    python -m tools.develop SERVER [EXTRA ...]

`import snakepit_bridge` then finds this tree, and `snakepit` runs the binary SERVER, so that both are always as last
built. `pip install --editable .` would compile the server a second time, with other features than the tests use.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from tools.release import versions

_ROOT = Path(__file__).parents[1]
_PIP = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--quiet"]

_WHEEL = """\
Wheel-Version: 1.0
Generator: tools.develop
Root-Is-Purelib: true
Tag: py3-none-any
"""


def main() -> int:
    """Installs; the exit code is pip's."""
    parser = argparse.ArgumentParser(prog="python -m tools.develop", description=__doc__)
    parser.add_argument("server", type=Path, help="the binary that `snakepit` runs; it need not exist yet")
    parser.add_argument("extra", nargs="*", help="an extra of pyproject.toml to install too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="snakepit-") as directory:
        wheel = write_wheel(Path(directory), given.server.absolute())
        # pip keeps an installed package of the same version unless it is told not to.
        commands = [
            [*_PIP, "--no-deps", "--force-reinstall", str(wheel)],
            [*_PIP, f"{wheel}[{','.join(given.extra)}]"],
        ]
        return next((code for command in commands if (code := subprocess.run(command, check=False).returncode)), 0)


def write_wheel(directory: Path, server: Path) -> Path:
    """A wheel that points to this tree: pip installs what it needs, and removes it like any other."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = versions.stated(_ROOT)
    stem = f"snakepit_bridge-{version}"
    files = {
        "snakepit_bridge.pth": f"{_ROOT}\n",
        f"{stem}.data/scripts/snakepit": f'#!/bin/sh\nexec {shlex.quote(str(server))} "$@"\n',
        f"{stem}.dist-info/METADATA": "\n".join(_metadata(project, version)) + "\n",
        f"{stem}.dist-info/WHEEL": _WHEEL,
        f"{stem}.dist-info/entry_points.txt": "\n".join(_entry_points(project)) + "\n",
    }
    record = f"{stem}.dist-info/RECORD"
    files[record] = "".join(f"{name},,\n" for name in (*files, record))
    wheel = directory / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel


def _metadata(project: dict[str, Any], version: str) -> list[str]:
    lines = ["Metadata-Version: 2.4", f"Name: {project['name']}", f"Version: {version}"]
    lines.append(f"Requires-Python: {project['requires-python']}")
    lines += [f"Requires-Dist: {needed}" for needed in project["dependencies"]]
    for extra, requirements in project["optional-dependencies"].items():
        lines.append(f"Provides-Extra: {extra}")
        for requirement in requirements:
            needed, _, marker = requirement.partition(";")
            condition = f"({marker.strip()}) and " if marker else ""
            lines.append(f"Requires-Dist: {needed.strip()} ; {condition}extra == '{extra}'")
    return lines


def _entry_points(project: dict[str, Any]) -> list[str]:
    lines = []
    for group, points in project.get("entry-points", {}).items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    return lines


if __name__ == "__main__":
    sys.exit(main())
