"""A fresh environment with what pip brings, and the ways in which its user uses it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.release.processes import CheckError, run, without_rust

_LISTENING = "listening on "
_DRIVER = "readme_program.py"
# Without DSPy: the client alone, through a server of its own.
_SESSION = """
import snakepit_bridge
with snakepit_bridge.SessionContext.local(session_id="release") as ctx:
    ctx.register_variable("x", "float", 0.5, constraints={"max": 1.0})
    ctx.set_variable("x", 0.25)
    print(ctx.get_variable("x"), snakepit_bridge.__version__, snakepit_bridge.__file__)
"""


class Installed:
    """A virtual environment that knows nothing of the repository.

    Args:
        home: an empty directory; the environment and all that is used go there.
        rust: whether its user has Rust.
        log: where pip's words go.
    """

    def __init__(self, home: Path, *, rust: bool, log: Path) -> None:
        self._home = home
        self._log = log
        home.mkdir(parents=True)
        run([sys.executable, "-m", "venv", "venv"], cwd=home)
        scripts = home / "venv" / "bin"
        self._python, self._snakepit = scripts / "python", scripts / "snakepit"
        path = os.environ["PATH"] if rust else without_rust(os.environ["PATH"])
        own = ("SNAKEPIT_", "PYTHON", "VIRTUAL_ENV", "CARGO_TARGET_DIR", "RUSTFLAGS")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        self._env = kept | {
            "PATH": f"{scripts}{os.pathsep}{path}",
            "DSPY_CACHEDIR": str(home / "cache"),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }

    def pip(self, *arguments: str) -> str:
        """`pip install`; gives how many packages that brought."""
        install = [str(self._python), "-m", "pip", "install", "--disable-pip-version-check", *arguments]
        said = run(install, cwd=self._home, env=self._env, log=self._log)
        brought = re.findall(r"^Successfully installed (.+)", said, re.MULTILINE)
        return f"{len(' '.join(brought).split())} packages"

    def versions(self) -> dict[str, str]:
        """What the package, its metadata, its binary and a server of it say, and that the client alone works."""
        value, package, where = self._run(self._python, "-c", _SESSION).split()
        if float(value) != 0.25 or not Path(where).is_relative_to(self._home / "venv"):
            raise CheckError(f"the installed client read {value} through {where}")
        metadata = "import importlib.metadata as m; print(m.version('snakepit-bridge'))"
        with self._serving() as address:
            status = json.loads(self._run(self._snakepit, "status", "--address", address, "--json"))
        return {
            "snakepit_bridge.__version__": package,
            "metadata": self._run(self._python, "-c", metadata).strip(),
            "snakepit --version": self._run(self._snakepit, "--version").split()[-1],
            "GetServerInfo": str(status["version"]),
        }

    def keeps(self) -> None:
        """A server on disk keeps what was written."""
        written = ["--session", "kept"]
        with self._serving() as address:
            at = [*written, "--address", address]
            self._run(self._snakepit, "session", "create", "kept", "--address", address)
            self._run(self._snakepit, "var", "define", "x", "float", "0.5", *at)
            self._run(self._snakepit, "var", "set", "x", "0.75", *at)
        with self._serving() as address:
            found = self._run(self._snakepit, "var", "get", "x", *written, "--address", address).strip()
        if found != "0.75":
            raise CheckError(f"x was set to 0.75 and is {found} after a restart")

    def quickstart(self, examples: Path) -> None:
        """The quickstart against a server that runs."""
        beside = self._beside(examples)
        with self._serving() as address:
            env = self._env | {"SNAKEPIT_ADDRESS": address}
            said = run([self._python, "-m", "examples.quickstart"], cwd=beside, env=env)
        sent = re.findall(r"sent temperature (\S+)", said)
        if sent != ["0.7", "0.0"]:
            raise CheckError(f"the quickstart should have sent the temperatures 0.7 and 0.0:\n{said}")

    def readme(self, readme: Path, examples: Path) -> None:
        """The README's program, before and after the README's commands, which change a variable."""
        text = readme.read_text(encoding="utf-8")
        found = re.search(r"^```python\n(.+?)^```.+?^```sh\n(export .+?)^```", text, re.MULTILINE | re.DOTALL)
        if found is None:
            raise CheckError(f"{readme} has no program that is followed by commands")
        program, (export, *commands) = found[1], found[2].splitlines()
        beside = self._beside(examples)
        (beside / "program.py").write_text(program, encoding="utf-8")
        shutil.copy(Path(__file__).with_name(_DRIVER), beside)
        wanted = re.findall(r"var set \S+ (\S+)", "\n".join(line for line in commands if "# refused" not in line))
        with self._serving() as address:
            env = self._env | {"SNAKEPIT_ADDRESS": address}
            before = self._sent(beside, env)
            for command in commands:
                # A watch goes on for ever.
                if " var watch " not in command:
                    script = ["sh", "-c", f"{export}\n{command}"]
                    run(script, cwd=beside, env=env, refused="# refused" in command)
            after = self._sent(beside, env)
        if wanted[-1:] != [after] or before == after:
            raise CheckError(f"the README sets {wanted}, and its program sent {before}, then {after}")

    def _sent(self, beside: Path, env: dict[str, str]) -> str:
        """The temperature that the README's program sends."""
        return run([self._python, _DRIVER, "program.py"], cwd=beside, env=env).split()[-1]

    def _run(self, *command: str | Path) -> str:
        return run(command, cwd=self._home, env=self._env)

    def _beside(self, examples: Path) -> Path:
        """A directory with the examples and without the package."""
        beside = self._home / "use"
        if not beside.is_dir():
            shutil.copytree(examples, beside / "examples", ignore=shutil.ignore_patterns("target", "__pycache__"))
        return beside

    @contextmanager
    def _serving(self) -> Iterator[str]:
        """Where `snakepit serve` listens."""
        serve = [str(self._snakepit), "serve", "--listen", "127.0.0.1:0", "--data-dir", "data", "--until-stdin-closes"]
        with subprocess.Popen(
            serve,
            cwd=self._home,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as server:
            if server.stdin is None or server.stdout is None:
                raise AssertionError("both are pipes")
            line = server.stdout.readline()
            if not line.startswith(_LISTENING):
                raise CheckError(f"`snakepit serve` said {line!r}, not where it listens")
            yield line.removeprefix(_LISTENING).strip()
