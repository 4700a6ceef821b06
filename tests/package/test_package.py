"""What the package promises to who imports it."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import snakepit_bridge
from snakepit_bridge import BlockingContext
from snakepit_bridge.session_context import session_of
from tools import develop
from tools.release import archives, versions

ROOT = Path(__file__).parents[2]
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


def test_one_version_is_told_by_package_metadata_binary_and_server(
    server_binary: Path, blocking: BlockingContext
) -> None:
    blocking.list_variables()
    said = subprocess.run([server_binary, "--version"], capture_output=True, text=True, check=True).stdout
    told = [snakepit_bridge.__version__, metadata.version("snakepit-bridge"), said.split()[-1]]
    assert [*told, session_of(blocking).server_release] == [versions.stated(ROOT)] * 4


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


def test_the_sdist_has_what_the_build_needs_and_nothing_else(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    found = archives.members(archive)
    assert archives.difference(archives.expected_in_sdist(ROOT), found) == []
    assert {
        "snakepit_bridge/py.typed",
        "server_rs/proto/build.rs",
        "proto/snakepit_bridge/v1/tool.proto",
    } <= found.keys()


def test_a_wheel_declares_the_pytest_plugin(built: Path) -> None:
    (about,) = built.glob("*.dist-info")
    (plugin,) = metadata.Distribution.at(about).entry_points.select(group="pytest11")
    assert importlib.util.find_spec(plugin.module) is not None


def test_the_environment_that_make_makes_has_the_metadata_of_a_wheel(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.dist-info")
    with zipfile.ZipFile(develop.write_wheel(tmp_path, Path("/somewhere/snakepit"))) as archive:
        archive.extractall(tmp_path)
    shipped, ours = (metadata.Distribution.at(about) for about in (wheel, *tmp_path.glob("*.dist-info")))
    assert ours.metadata["Name"] == shipped.metadata["Name"]
    assert (ours.version, set(ours.requires or [])) == (shipped.version, set(shipped.requires or []))
    assert sorted(ours.metadata.get_all("Provides-Extra", [])) == shipped.metadata.get_all("Provides-Extra")
    assert set(ours.entry_points) == set(shipped.entry_points)
