"""The fixtures that users get: pytest runs their tests in processes of its own, on the real server."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

# It is about the plugin's own server, which takes no tokens.
pytestmark = pytest.mark.transport("open")

ROOT = Path(__file__).parents[3]
NAME = "snakepit_bridge.pytest_plugin"
LOADED = ("-p", NAME, "-p", "pytest_asyncio.plugin")

TESTS = """
    import pytest
    from snakepit_bridge import BlockingContext, SessionContext
    from snakepit_bridge.exceptions import VariableNotFoundError

    def test_blocking(snakepit_session, snakepit_server):
        assert isinstance(snakepit_session, BlockingContext)
        assert snakepit_session.address == snakepit_server.address
        snakepit_session.register_variable("t", "float", 0.1)
        assert snakepit_session["t"] == 0.1

    @pytest.mark.asyncio
    async def test_async(snakepit_session):
        assert isinstance(snakepit_session, SessionContext)
        with pytest.raises(VariableNotFoundError):
            await snakepit_session.get_variable("t")
        await snakepit_session.register_variable("t", "float", 0.2)
        assert snakepit_session.blocking["t"] == 0.2

    class TestMethods:
        def test_method(self, snakepit_session):
            assert list(snakepit_session) == []

        @pytest.mark.asyncio
        async def test_async_method(self, snakepit_session):
            assert await snakepit_session.list_variables() == []

    @pytest.mark.parametrize("number", range(3))
    def test_code_under_test_finds_the_session(snakepit_session, number):
        with SessionContext.connect(create=False) as other:
            assert (other.address, other.session_id) == (snakepit_session.address, snakepit_session.session_id)
            other.register_variable("t", "integer", number)
        assert snakepit_session["t"] == number
"""


@pytest.fixture(autouse=True)
def _this_tree(monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # What else is installed here has no part in this, and takes a second each time.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n")


def test_each_test_has_a_new_session_in_the_form_it_needs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    pytester.runpytest_subprocess(*LOADED).assert_outcomes(passed=7)


def test_the_environment_is_as_before_after_a_test(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SESSION", "TOKEN", "TLS_CA"):
        monkeypatch.setenv(f"SNAKEPIT_{name}", "mine")
    pytester.makepyfile("""
        import os

        def told():
            return [os.environ.get(f"SNAKEPIT_{name}") for name in ("ADDRESS", "SESSION", "TOKEN", "TLS_CA")]

        def test_first(snakepit_session):
            assert told() == [snakepit_session.address, snakepit_session.session_id, None, None]

        def test_second():
            assert told() == [None, "mine", "mine", "mine"]
    """)
    pytester.runpytest_subprocess(*LOADED).assert_outcomes(passed=2)


def test_the_server_ends_with_the_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import os, pathlib

        def test_it(snakepit_server):
            os.kill(snakepit_server.pid, 0)
            pathlib.Path("pid").write_text(str(snakepit_server.pid))
    """)
    pytester.runpytest_subprocess(*LOADED).assert_outcomes(passed=1)
    with pytest.raises(ProcessLookupError):
        os.kill(int((pytester.path / "pid").read_text()), 0)


def test_processes_that_run_at_once_have_a_server_each(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import os, pathlib, sys

        def test_it(snakepit_server, snakepit_session):
            snakepit_session.register_variable("t", "integer", 1)
            pathlib.Path(f"server-{snakepit_server.pid}").touch()
            print("here", flush=True)
            sys.stdin.readline()
            assert snakepit_session.increment("t", 1) == 2
    """)
    command = [sys.executable, "-m", "pytest", "-s", "-q", *LOADED]
    runs = [subprocess.Popen(command, stdin=-1, stdout=-1, text=True, cwd=pytester.path) for _ in range(2)]
    for run in runs:
        assert run.stdout is not None
        assert any("here" in line for line in iter(run.stdout.readline, ""))
    assert len(list(pytester.path.glob("server-*"))) == len(runs)
    for run in runs:
        run.communicate("\n")
        assert run.returncode == 0


@pytest.mark.parametrize("kind", ["missing", "broken"])
def test_a_server_that_cannot_be_started_is_one_clear_error(
    kind: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = pytester.path / "no-server"
    if kind == "broken":
        binary.write_text("#!/bin/sh\necho out of luck >&2; exit 3\n", encoding="utf-8")
        binary.chmod(0o755)
    monkeypatch.setenv("SNAKEPIT_SERVER_BINARY", str(binary))
    pytester.makepyfile("""
        def test_with(snakepit_session):
            pass

        def test_without():
            pass
    """)
    result = pytester.runpytest_subprocess(*LOADED)
    result.assert_outcomes(passed=1, errors=1)
    text = result.stdout.str()
    assert str(binary) in text
    assert ("out of luck" in text) == (kind == "broken")
    assert "server.py" not in text
    assert "Error:" not in text


def test_who_uses_no_fixture_pays_nothing(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAKEPIT_SERVER_BINARY", str(pytester.path / "no-server"))
    pytester.makepyfile(f"""
        import sys

        def test_it():
            assert {NAME!r} in sys.modules
            mine = {{name for name in sys.modules if name.startswith("snakepit_bridge.")}}
            assert mine == {{{NAME!r}}}
            assert not {{"grpc", "google.protobuf", "dspy"}} & set(sys.modules)
    """)
    pytester.runpytest_subprocess(*LOADED).assert_outcomes(passed=1)


@pytest.mark.parametrize("named", [False, True])
def test_the_entry_point_goes_with_the_other_ways_to_name_the_plugin(
    named: bool, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [f"{name} = {module}\n" for name, module in project["entry-points"]["pytest11"].items()]
    about = pytester.mkdir("installed") / "as_installed-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: as-installed\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text("[pytest11]\n" + "".join(lines), encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(about.parent)]))
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    if named:
        pytester.makeconftest(f"pytest_plugins = [{NAME!r}]")
    pytester.makepyfile("""
        def test_it(snakepit_session):
            assert list(snakepit_session) == []
    """)
    pytester.runpytest_subprocess(*(("-p", NAME) if named else ())).assert_outcomes(passed=1)


def test_the_tests_of_the_guide_pass(pytester: pytest.Pytester) -> None:
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    _, _, section = guide.partition("\n## Testing\n")
    snippet = section.partition("```python\n")[2].partition("```")[0]
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile("import dspy\nimport snakepit_bridge.dspy_integration as sb\n" + snippet)
    pytester.runpytest_subprocess(*LOADED).assert_outcomes(passed=2)
