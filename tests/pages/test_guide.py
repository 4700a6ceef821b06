"""The snippets of the guide and of the README run as they stand, one after another, and print what they show.

`pytest tests/pages/test_guide.py -k end --update-examples` writes what Python prints into the guide.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.clients.base_lm import GLOBAL_HISTORY
from dspy.clients.cache import Cache
from dspy.dsp.utils.settings import main_thread_config
from pytest_examples import CodeExample, EvalExample, find_examples

from snakepit_bridge import LocalServer
from snakepit_bridge._variables.constraints import _ALLOWED
from snakepit_bridge.dspy_integration.targets.generation import COMMON, OTHERS, Fit
from tests.pages.snippets.inventory import steps
from tests.pages.snippets.shell import like
from tests.support.recording_lm import RecordingLM, asked_fields

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide.md"
README = ROOT / "README.md"
WIDTH = 100
CAPITALS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Norway": "Oslo"}


@dataclass(frozen=True)
class Shell:
    """Commands, and what they are shown to print."""

    commands: str
    printed: str | None
    start_line: int


Snippet = CodeExample | Shell


def snippets(path: Path) -> list[Snippet]:
    """The snippets of a file that are to be run, in order."""
    page = path.relative_to(ROOT).as_posix()
    shell = [
        Shell(step.block.text, step.printed, step.block.line) for step in steps(page) if step.block.language == "sh"
    ]
    return sorted([*find_examples(path), *shell], key=lambda snippet: snippet.start_line)


def sections() -> dict[str, list[Snippet]]:
    """The snippets of the guide by the heading that they stand below."""
    found: dict[str, list[Snippet]] = {}
    lines = GUIDE.read_text(encoding="utf-8").splitlines()
    for snippet in snippets(GUIDE):
        heading = next(line for line in reversed(lines[: snippet.start_line]) if line.startswith("## "))
        found.setdefault(heading.removeprefix("## "), []).append(snippet)
    return found


FIRST, *OTHER_SECTIONS = sections()


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """Answers as an LM that follows every form: an agent finishes at once, and capitals are known."""
    last = str(body["messages"][-1]["content"])
    capital = next((city for country, city in CAPITALS.items() if country in last), "none")
    given = {"next_tool_name": "finish", "next_tool_args": {}, "capital": capital}
    return {field: given.get(field, f"some {field}") for field in asked_fields(body)}


@pytest.fixture
def wire(recording_lm: RecordingLM, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RecordingLM:
    """What a reader has: an account with an LM's provider, an empty directory, and nothing configured or cached."""
    recording_lm.reply(answer)
    account = {"api_base": recording_lm.url, "api_key": "test-key"}
    monkeypatch.setattr(dspy.LM, "__init__", partialmethod(dspy.LM.__init__, **account))
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.chdir(tmp_path)
    empty = Cache(enable_disk_cache=False, enable_memory_cache=True, disk_cache_dir=None)
    monkeypatch.setattr(dspy, "cache", empty, raising=False)
    # A snippet is run as `__main__`, and may call `dspy.configure`.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    for name, value in main_thread_config.items():
        monkeypatch.setitem(main_thread_config, name, value)
    return recording_lm


@dataclass
class Reader:
    """Runs snippets in one namespace and one shell, as somebody who pastes them one after another."""

    tool: EvalExample

    def __post_init__(self) -> None:
        self._names: dict[str, Any] = {}
        self._exported: list[str] = []

    def read(self, found: list[Snippet]) -> None:
        """Runs snippets, and checks what they print."""
        for snippet in found:
            self._run(snippet) if isinstance(snippet, CodeExample) else self._execute(snippet)

    def _run(self, snippet: CodeExample) -> None:
        printed: set[int] = set()
        printers: list[Any] = []

        def note(file: Path, frame: inspect.FrameInfo, _: Any) -> bool:
            here = frame.filename == str(file)
            printed.update([frame.lineno] if here else [])
            printers.append(builtins.print)
            return here

        claimed = claims(snippet.source)
        self.tool.include_print = note
        run = self.tool.run_print_update if self.tool.update_examples else self.tool.run_print_check
        self._names |= run(snippet, module_globals=self._names, rewrite_assertions=False)
        # What takes the place of print keeps all it was given: exceptions too, with their frames.
        for printer in printers:
            printer.reset_mock()
        # What stands below a line that was never reached is compared with nothing.
        assert claimed <= printed or self.tool.update_examples

    def _execute(self, snippet: Shell) -> None:
        self._exported += [line for line in snippet.commands.splitlines() if line.startswith("export ")]
        script = "\n".join([*self._exported, snippet.commands])
        done = subprocess.run(["bash", "-c", script], stdout=-1, stderr=subprocess.STDOUT, text=True, check=False)
        if snippet.printed is None:
            assert done.returncode == 0, done.stdout
        else:
            assert like(done.stdout, snippet.printed), done.stdout


def claims(source: str) -> set[int]:
    """The numbers of the lines below which a snippet shows what they print."""
    lines = source.splitlines()
    shown = [number for number, line in enumerate(lines) if line.lstrip().startswith("#> ")]
    long = [
        node.lineno - 1
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if lines[node.lineno - 2].lstrip().startswith("print(")
    ]
    return {number for number in shown if number - 1 not in shown} | set(long)


@pytest.fixture
def reader(
    wire: RecordingLM,
    start_server: Callable[..., LocalServer],
    server_binary: Path,
    eval_example: EvalExample,
    monkeypatch: pytest.MonkeyPatch,
) -> Reader:
    """Somebody with a server that is nobody else's."""
    monkeypatch.setenv("SNAKEPIT_ADDRESS", start_server().address)
    monkeypatch.setenv("PATH", f"{server_binary.parent}{os.pathsep}{os.environ['PATH']}")
    eval_example.set_config(line_length=WIDTH)
    return Reader(eval_example)


def test_the_guide_runs_from_its_beginning_to_its_end(reader: Reader, wire: RecordingLM) -> None:
    # It keeps the newest of all tests, up to a limit.
    GLOBAL_HISTORY.clear()
    reader.read(snippets(GUIDE))
    # The guide shows DSPy's record of requests: each of them went out as it says.
    unsaid = list(wire.requests)
    for row in sorted(GLOBAL_HISTORY, key=lambda row: "temperature" not in row["kwargs"]):
        unsaid.remove(next(body for body in unsaid if says(row, body)))
    assert unsaid == []
    assert len(GLOBAL_HISTORY) > 50


AS_SENT = {"temperature": "temperature", "max_tokens": "max_completion_tokens", "stop": "stop"}


def says(row: dict[str, Any], body: dict[str, Any]) -> bool:
    """Whether a row of DSPy's record may be of this request. It does not have what the LM itself is set to."""
    stated = {name: row["kwargs"][name] for name in AS_SENT if row["kwargs"].get(name) is not None}
    sent = {name: body.get(AS_SENT[name]) for name in stated}
    return bool(row["messages"] == body["messages"] and row["model"].endswith(body["model"]) and stated == sent)


@pytest.mark.parametrize("section", OTHER_SECTIONS)
def test_a_section_of_the_guide_needs_only_the_first(section: str, reader: Reader) -> None:
    found = sections()
    reader.read(found[FIRST] + found[section])


@pytest.mark.parametrize("shown", ["print(1)\n#> 2\n", "if False:\n    print(1)\n    #> 1\n", "print(1)\n"])
def test_a_snippet_that_shows_something_else_fails(shown: str, reader: Reader) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        reader.read([CodeExample.create(shown)])


def test_a_command_that_prints_something_else_fails(reader: Reader) -> None:
    with pytest.raises(AssertionError):
        reader.read([Shell("snakepit var get t --session none\n", "0.5\n", 1)])
    with pytest.raises(AssertionError):
        reader.read([Shell("snakepit var get t --session none\n", None, 1)])


def test_the_readmes_program_sends_what_the_readme_says(reader: Reader, wire: RecordingLM) -> None:
    program, shell = snippets(README)
    assert isinstance(shell, Shell)
    *commands, watch = shell.commands.splitlines()
    refused = 'snakepit: variable "llm_temperature" refuses 9.0: it has to satisfy max=2.0'
    advice = "  next: give a value within the limits, or declare others with `snakepit var define --replace`"
    printed = f"llm_temperature is at version 2\n{refused} (CONSTRAINT_VIOLATED)\n{advice}\n  request: …\n"
    reader.read([program, Shell("\n".join(commands), printed, 0), program])
    assert [body["temperature"] for body in wire.requests] == [0.7, 0.2]
    script = f"{commands[0]}; exec {watch}"
    with subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["value"] == 0.2
        watching.kill()


@pytest.mark.usefixtures("reader")
def test_the_guides_file_of_variables_is_applied_and_then_changes_nothing(tmp_path: Path) -> None:
    found = re.search(r"^```toml\n(.+?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    (tmp_path / "session.toml").write_text(found[1], encoding="utf-8")
    (tmp_path / "prompt.txt").write_text("Answer in one word.\n", encoding="utf-8")
    apply = ["snakepit", "apply", "session.toml"]
    subprocess.run(apply, cwd=tmp_path, check=True)
    assert subprocess.run([*apply, "--diff"], cwd=tmp_path, check=False, capture_output=True).stdout == b""
    prompt = [*apply[:1], "var", "get", "answer_prompt", "--session", "support"]
    assert subprocess.run(prompt, check=True, capture_output=True).stdout == b"Answer in one word.\n"


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the tables of a section, without their headers."""
    _, _, below = GUIDE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    lines = [line for line in below.partition("\n## ")[0].splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row, after in zip(cells, [*cells[1:], [""]], strict=True) if "---" not in row[0] + after[0]]


def test_the_guide_lists_every_generation_parameter_with_what_it_takes() -> None:
    rows = rows_of("What can be bound")
    listed = {name: row for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    fits: dict[str, Fit] = {**COMMON, **OTHERS}
    assert listed.keys() - fits.keys() == {"model", "lm", "instructions", "demos", "tools", "adapter"}
    assert {name: set(listed[name][1].split(", ")) for name in fits} == {
        name: set(fit.types) for name, fit in fits.items()
    }
    for name, fit in fits.items():
        bounds = re.findall(r"-?\d+", fit.allowed.replace(",", ""))
        assert name in {"seed", "rollout_id"} or re.findall(r"-?\d+", listed[name][2].replace(",", "")) == bounds


def test_the_guide_lists_every_type_with_its_constraints() -> None:
    listed = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[2])) for row in rows_of("Variables")}
    assert listed == {kind: set(constraints) for kind, (_, constraints) in _ALLOWED.items()}


def test_the_guide_has_its_sections_in_its_contents() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert re.findall(r"^- \[(.+)\]\(#", text.partition("\n## ")[0], re.MULTILINE) == headings[:-1]
