"""What is committed as generated is what the protocol in proto/ generates."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROTOS = sorted((ROOT / "proto").glob("snakepit_bridge/v1/*.proto"))


def test_the_committed_stubs_are_what_protoc_generates(tmp_path: Path) -> None:
    outputs = [f"--{kind}={tmp_path}" for kind in ("python_out", "grpc_python_out")]
    outputs += [f"--{kind}=quiet:{tmp_path}" for kind in ("mypy_out", "mypy_grpc_out")]
    # protoc looks for its plugins on the PATH, where an environment that is not activated is not.
    plugins = [
        f"--plugin={name}={Path(sys.executable).parent / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
    ]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}", *plugins, *outputs, *map(str, PROTOS)]
    subprocess.run(command, check=True)
    generated = {path.name: path.read_text() for path in (tmp_path / "snakepit_bridge/v1").iterdir()}
    committed = {
        path.name: path.read_text() for path in (ROOT / "snakepit_bridge/v1").glob("*_pb2*.py*") if path.is_file()
    }
    assert len(generated) == 4 * len(PROTOS)
    assert committed == generated
