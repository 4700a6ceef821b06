"""What the package promises to who imports it."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXPORTS = {
    "snakepit_bridge": {
        "Attempt", "Author", "Batch", "BlockingContext", "BlockingToolStream", "BlockingWatch", "BridgeError",
        "CallStatus", "Change", "LatencyBucket", "LocalServer", "Outcome", "Retry", "RunningCall", "SessionContext",
        "TLS", "Tool", "ToolResult", "ToolStats", "ToolStatus", "ToolStream", "ToolWorker", "Variable",
        "VariableVersion", "Watch", "current_call", "exceptions", "local_server",
    },
    "snakepit_bridge.dspy_integration": {
        "MODULE_REGISTRY", "BindingError", "Effective", "ModelNotAllowedError", "ModuleVariableResolver",
        "Tables", "UnknownModuleError", "Var", "VariableAwareBestOfN", "VariableAwareChainOfThought",
        "VariableAwareCodeAct", "VariableAwareFlex", "VariableAwareMixin", "VariableAwareMultiChainComparison",
        "VariableAwarePredict", "VariableAwareProgramOfThought", "VariableAwareRLM", "VariableAwareReAct",
        "VariableAwareReActV2", "VariableAwareRefine", "VariableModule", "bind", "bind_async", "bind_matching",
        "bind_matching_async", "bindings", "carry", "create_variable_aware_module", "effective", "on_change",
        "revision_of", "snapshot", "unbind", "EnvelopeError", "LiveProgramWarning", "Published", "dump", "freeze",
        "freeze_async", "load", "load_bindings", "load_bindings_async", "save_bindings", "publish", "publish_async",
        "ParallelReActV2", "RemoteTool", "remote_tools", "remote_tools_async", "serve_program", "serve_program_async",
    },
    "snakepit_bridge.local_lm": {"LocalLM", "LocalModelError", "cached_model", "fetch_model"},
}  # fmt: skip


@pytest.mark.parametrize("module", EXPORTS)
def test_the_exported_names_are_exactly_these(module: str) -> None:
    exported = importlib.import_module(module).__all__
    assert sorted(set(exported)) == sorted(exported)
    assert set(exported) == EXPORTS[module]
    assert all(hasattr(importlib.import_module(module), name) for name in exported)


def test_importing_the_client_imports_neither_dspy_nor_numpy_nor_pydantic() -> None:
    heavy = "{'dspy', 'numpy', 'pydantic', 'litellm', 'xllamacpp'}"
    code = f"import sys; from snakepit_bridge import *; print(*({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_the_client_needs_only_grpc_and_protobuf_and_the_protos_of_google_rpc() -> None:
    needed = [line for line in metadata.requires("snakepit-bridge") or [] if "extra ==" not in line]
    assert sorted(line.partition(">=")[0] for line in needed) == ["googleapis-common-protos", "grpcio", "protobuf"]


def test_the_package_has_the_version_of_the_server_it_carries(server_binary: Path) -> None:
    said = subprocess.run([server_binary, "--version"], capture_output=True, text=True, check=True).stdout
    assert said.split()[-1] == metadata.version("snakepit-bridge")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What can be built of the package without compiling: the sdist, and a wheel's metadata."""
    directory = tmp_path_factory.mktemp("built")
    maturin = Path(sys.executable).with_name("maturin")
    about = ["pep517", "write-dist-info", "--metadata-directory", str(directory), "--interpreter", sys.executable]
    for command in (["sdist", "--out", str(directory)], about):
        done = subprocess.run([maturin, *command], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return directory


def test_the_sdist_says_that_it_is_typed_and_has_what_the_build_needs(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"snakepit_bridge/py.typed", "snakepit_bridge/pytest_plugin.py", "snakepit_bridge/v1/tool_pb2.pyi"} <= names
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "proto").rglob("*.proto")} <= names


def test_a_wheel_declares_the_pytest_plugin(built: Path) -> None:
    (about,) = built.glob("*.dist-info")
    (plugin,) = metadata.Distribution.at(about).entry_points.select(group="pytest11")
    assert importlib.util.find_spec(plugin.module) is not None
