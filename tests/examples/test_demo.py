"""The demo does the main job: what another process sets is in the program's next LM request."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from examples.demo.run import TRY
from examples.scripted_lm import ScriptedLM, asked_fields
from tests.support.recording_lm import RecordingLM

ROOT = Path(__file__).parents[2]
TIMEOUT = 120
QUIET = "http://127.0.0.1:9/v1"  # the discard port: nobody answers


def start(
    *arguments: str, directory: Path = ROOT, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "examples.demo", *arguments],
        cwd=directory,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    with start(*arguments, environment=environment) as demo:
        out, err = demo.communicate(timeout=TIMEOUT)
    return demo.returncode, out, err


def forwards(out: str) -> list[str]:
    """What the demo printed of each forward."""
    return re.split(r"^forward \d+, ", out, flags=re.MULTILINE)[1:]


def lm_of(out: str) -> str:
    return next(line for line in out.splitlines() if line.startswith("  LM "))


def test_each_request_carries_what_another_process_set_just_before(recording_lm: RecordingLM) -> None:
    status, out, err = run("--model", "openai/gpt-4o-mini", "--api-base", recording_lm.url)
    assert (status, err) == (0, ""), out + err
    pirate = ["pirate" in body["messages"][0]["content"] for body in recording_lm.requests]
    sent = [(body["temperature"], body["max_completion_tokens"], asked_fields(body)) for body in recording_lm.requests]
    assert sent == [
        *[(0.0, 60, ["answer"])] * 3,
        *[(1.5, 60, ["answer"])] * 3,
        (0.0, 12, ["answer"]),
        (0.3, 120, ["answer"]),
        *[(0.3, 120, ["reasoning", "answer"])] * 2,
    ]
    assert pirate == [False] * 7 + [True] * 3


def test_each_forward_prints_its_revision_and_answer_and_only_what_changed(recording_lm: RecordingLM) -> None:
    _, out, _ = run("--model", "openai/gpt-4o-mini", "--api-base", recording_lm.url)
    assert "gpt-4o-mini" in lm_of(out)
    # The session is revision 1, its four variables 2 to 5, and each write after them one more.
    printed = forwards(out)
    revisions = [int(text.split()[1]) for text in printed]
    assert revisions == [5, 5, 5, 6, 6, 6, 8, 9, 10, 10]
    changed = [bool(re.search(r"^  changed ", text, re.MULTILINE)) for text in printed]
    sent = [bool(re.search(r"^  sent ", text, re.MULTILINE)) for text in printed]
    assert changed == [False, False, False, True, False, False, True, True, True, False]
    assert sent == [True, *changed[1:]]
    assert "llm_temperature 0.0 → 1.5" in printed[3]
    assert '{"temperature": 1.5}' in printed[3]
    assert "answer 4" in printed[3]
    assert "WRONG" not in out


def test_each_step_shows_the_command_that_was_run_and_what_it_printed(recording_lm: RecordingLM) -> None:
    _, out, _ = run("--model", "openai/gpt-4o-mini", "--api-base", recording_lm.url)
    lines = out.splitlines()
    commands = {line.strip(): lines[at + 1] for at, line in enumerate(lines) if line.startswith("  $ ")}
    assert list(commands) == [
        "$ snakepit var set llm_temperature 1.5",
        "$ snakepit var set llm_temperature 9",
        "$ snakepit var set llm_temperature 0",
        "$ snakepit var set llm_max_tokens 12",
        "$ snakepit apply --set-values examples/demo/pirate.toml",
        "$ snakepit var set reasoning_module ChainOfThought",
    ]
    assert "max=2" in commands["$ snakepit var set llm_temperature 9"]
    assert "FOREVER=1" in out[out.index("\nNext\n") :]


def test_a_scripted_lm_is_announced_and_shows_what_the_parameters_do(tmp_path: Path) -> None:
    status, out, err = run("--offline", XDG_CACHE_HOME=str(tmp_path))
    assert status == 0, out + err
    assert "NO LANGUAGE MODEL" in err
    assert "SCRIPTED" in lm_of(out)
    assert "temperature 0.0: 3 answers, 1 distinct" in out


def test_an_lm_that_is_down_is_reported_in_one_line() -> None:
    status, _, err = run("--model", "openai/gpt-4o-mini", "--api-base", QUIET)
    assert status == 1
    assert len(err.strip().splitlines()) == 1
    assert "127.0.0.1:9" in err


def test_forever_skips_the_story_and_a_second_terminal_can_paste_its_commands(tmp_path: Path) -> None:
    # A clone at a path with a blank and a quote in it.
    clone = tmp_path / "bob's clone"
    for part in ("examples", "snakepit_bridge"):
        shutil.copytree(ROOT / part, clone / part, ignore=shutil.ignore_patterns("__pycache__"))
    server = clone / "snakepit"
    server.symlink_to(os.environ["SNAKEPIT_SERVER_BINARY"])
    own = {"SNAKEPIT_SERVER_BINARY": str(server), "PYTHONPATH": str(clone)}
    arguments = ("--model", "openai/scripted", "--forever", "--api-base")
    with ScriptedLM() as lm, start(*arguments, lm.url, directory=clone, environment=own) as demo:
        assert demo.stdout
        printed = []
        for line in demo.stdout:
            printed.append(line.strip())
            if line.startswith("forward 1,"):
                break
        begin = next(at for at, line in enumerate(printed) if line.startswith("cd "))
        cd, export, *rest = printed[begin:]
        commands = [line for line in rest if shlex.split(line)[:1] == ["snakepit"]]
        assert [shlex.split(line)[1:] for line in commands] == TRY
        (python,) = [line for line in rest if " -c " in line]
        script = "\n".join(["set -e", cd, export, *(line for line in commands if "watch" not in line), python])
        pasted = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert pasted.returncode == 0, script + pasted.stderr
        assert any("llm_max_tokens 60 → 12" in line for line in demo.stdout)
        demo.send_signal(signal.SIGINT)
        _, err = demo.communicate(timeout=TIMEOUT)
    assert not any("snakepit apply" in line for line in printed)
    assert (demo.returncode, err) == (130, "")
