"""How the suites reach a server: in the open, with tokens, or with tokens and TLS.

Clients get token and certificate from the environment, as `SessionContext.connect` documents; so a test is written
once and the processes that it starts inherit both.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from snakepit_bridge import LocalServer, local_server
from snakepit_bridge.server import start
from tests.support.certificates import Authority

OPEN, TOKENS, SECURE = "open", "tokens", "secure"
SUITES = ("client", "tools", "dspy")
ALL_ROLES = "read,write,call_tool,offer_tool,read_secret,admin"


@dataclass(frozen=True, eq=False)
class Transport:
    """One way to reach a server.

    Attributes:
        name: "open", "tokens", or "secure", which is tokens and TLS.
        flags: what `snakepit serve` gets.
        environment: what clients get.
    """

    name: str
    flags: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, name: str, binary: Path, directory: Path) -> Transport:
        """Makes the files of it in an empty directory."""
        if name == OPEN:
            return cls(name)
        file = directory / "tokens.toml"
        token = new_token(binary, file, "all", ALL_ROLES, "*")
        flags, environment = ["--auth-token-file", str(file)], {"SNAKEPIT_TOKEN": token}
        if name == SECURE:
            authority = Authority(directory / "authority").make()
            cert, key = authority.sign("server", "IP:127.0.0.1")
            flags += ["--tls-cert", str(cert), "--tls-key", str(key)]
            environment["SNAKEPIT_TLS_CA"] = str(authority.ca)
        return cls(name, tuple(flags), environment)

    def serve(
        self, binary: Path, *, listen: str = "127.0.0.1:0", data_dir: str | os.PathLike[str] | None = None
    ) -> LocalServer:
        """Starts a server that is reached this way."""
        if not self.flags:
            return local_server(binary=binary, listen=listen, data_dir=data_dir)
        keep = ["--ephemeral"] if data_dir is None else ["--data-dir", os.fspath(data_dir)]
        return start(binary, ["serve", *keep, "--listen", listen, "--until-stdin-closes", *self.flags])


def new_token(binary: Path, file: Path, name: str, roles: str, sessions: str) -> str:
    """Makes a token, and puts it into the file."""
    words = ["token", "new", "--name", name, "--roles", roles, "--sessions", sessions, "--add-to", str(file)]
    return subprocess.run([binary, *words], check=True, capture_output=True, text=True).stdout.strip()


def chosen(config: pytest.Config, module: Path, only: str | None) -> list[str]:
    """How a module's tests reach servers.

    Drawn by the run's seed, which pytest-randomly prints, and which is the same in all processes of pytest-xdist; in
    the open where there is no seed.

    Args:
        config: says which option was given.
        module: the file of the tests.
        only: what their `transport` marker says.
    """
    path = module.relative_to(Path(__file__).parents[1]).as_posix()
    if only == OPEN or not path.startswith(SUITES):
        return [OPEN]
    secure = only or (SECURE if shutil.which("openssl") else TOKENS)
    option, seed = config.getoption("transport"), config.getoption("randomly_seed", None)
    if option == "both":
        return [OPEN, secure]
    drawn = OPEN if seed is None else random.Random(f"{seed} {path}").choice((OPEN, SECURE))
    return [OPEN] if (drawn if option == "drawn" else option) == OPEN else [secure]
