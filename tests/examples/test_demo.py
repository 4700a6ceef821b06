"""The demo does the main job: what its second process sets is in the next LM request of the first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from examples.scripted_lm import ScriptedLM, asked_fields
from tests.support.recording_lm import RecordingLM

ROOT = Path(__file__).parents[2]
TIMEOUT = 120
QUIET = "http://127.0.0.1:9/v1"  # the discard port: nobody answers


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "examples.demo", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    with start(*arguments, **environment) as demo:
        out, err = demo.communicate(timeout=TIMEOUT)
    return demo.returncode, out, err


def test_each_request_carries_what_the_second_process_set_just_before(recording_lm: RecordingLM) -> None:
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


def test_each_forward_prints_its_revision_values_request_and_answer(recording_lm: RecordingLM) -> None:
    _, out, _ = run("--model", "openai/gpt-4o-mini", "--api-base", recording_lm.url)
    assert "gpt-4o-mini" in out.splitlines()[0]
    # The session is revision 1, its four variables 2 to 5, and each accepted change one more.
    heads = [line.split(", ")[1] for line in out.splitlines() if line.startswith("forward ")]
    assert heads == [f"revision {revision}" for revision in (5, 5, 5, 6, 6, 6, 7, 8, 9, 9)]
    fourth = out[out.index("forward 4,") : out.index("forward 5,")]
    assert "llm_temperature 0.0 → 1.5" in fourth
    assert '"temperature": 1.5' in fourth
    assert "answer 4" in fourth
    assert out.count("  changed ") == 4
    assert "refused" in out
    assert "WRONG" not in out


def test_a_scripted_lm_is_announced_and_shows_what_the_parameters_do(tmp_path: Path) -> None:
    status, out, err = run("--offline", XDG_CACHE_HOME=str(tmp_path))
    assert status == 0, out + err
    assert "NO LANGUAGE MODEL" in err
    assert "SCRIPTED" in out.splitlines()[0]
    assert "temperature 0.0: 3 answers, 1 distinct" in out


def test_an_lm_that_is_down_is_told_in_one_line() -> None:
    status, _, err = run("--model", "openai/gpt-4o-mini", "--api-base", QUIET)
    assert status == 1
    assert len(err.strip().splitlines()) == 1
    assert "127.0.0.1:9" in err


def test_forever_goes_on_until_it_is_interrupted_and_takes_commands_from_a_second_terminal() -> None:
    with ScriptedLM() as lm, start("--model", "openai/scripted", "--api-base", lm.url, "--forever") as demo:
        assert demo.stdout
        commands: dict[str, str] = {}
        for line in demo.stdout:
            if line.strip().startswith("export "):
                commands = dict(word.split("=") for word in line.split()[1:])
            if line.startswith("forward 11,"):
                break
        command = [os.environ["SNAKEPIT_SERVER_BINARY"], "var", "set", "llm_temperature", "1.25"]
        subprocess.run(command, env=os.environ | commands, check=True, capture_output=True, timeout=TIMEOUT)
        assert any("llm_temperature 0.3 → 1.25" in line for line in demo.stdout)
        demo.send_signal(signal.SIGINT)
        _, err = demo.communicate(timeout=TIMEOUT)
    assert (demo.returncode, err) == (130, "")
