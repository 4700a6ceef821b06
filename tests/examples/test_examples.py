"""Every example runs by itself, against a server it starts, and prints what its text promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from examples.optimization import MESSAGES, UNSEEN
from tests.dspy.support.agents import ANSWER, calling
from tests.support.recording_lm import RecordingLM

ROOT = Path(__file__).parents[2]
OWN = {"SNAKEPIT_ADDRESS", "SNAKEPIT_SESSION", "SNAKEPIT_MODEL", "SNAKEPIT_MODEL_API_BASE", "OPENAI_API_BASE"}


def run(name: str, **environment: str) -> list[str]:
    """The lines an example prints; it has to succeed and to say nothing on stderr."""
    inherited = {key: value for key, value in os.environ.items() if key not in OWN}
    result = subprocess.run(
        [sys.executable, "-m", f"examples.{name}"],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, ""), result.stdout + result.stderr
    return result.stdout.splitlines()


def asking(recording_lm: RecordingLM) -> dict[str, str]:
    return {
        "SNAKEPIT_MODEL": "openai/gpt-4o-mini",
        "SNAKEPIT_MODEL_API_BASE": recording_lm.url,
        "OPENAI_API_KEY": "test-key",
    }


def test_every_example_has_a_test() -> None:
    support = {"__init__", "language_model", "scripted_lm"}
    examples = {path.stem for path in (ROOT / "examples").glob("*.py")} - support
    tested = {name.removesuffix("_shows") for name in globals() if name.endswith("_shows")}
    assert {f"test_{name}" for name in examples} == tested


def test_without_a_model_an_example_says_that_its_lm_is_scripted() -> None:
    assert "SCRIPTED" in run("quickstart")[0]


def test_quickstart_shows(recording_lm: RecordingLM) -> None:
    lines = run("quickstart", **asking(recording_lm))
    assert [body["temperature"] for body in recording_lm.requests] == [0.7, 0.0]
    assert [line for line in lines if line.startswith("revision")] == [
        "revision 2: sent temperature 0.7",
        "revision 3: sent temperature 0.0",
    ]


def test_variable_binding_shows(recording_lm: RecordingLM) -> None:
    lines = run("variable_binding", **asking(recording_lm))
    sent = [(body["temperature"], body["max_completion_tokens"]) for body in recording_lm.requests]
    assert sent == [(1.2, 80), (1.2, 80), (0.1, 80), (1.2, 40), (0.1, 40)]
    prompts = [body["messages"][0]["content"] for body in recording_lm.requests]
    assert "Choose the cheapest idea." in prompts[2]
    assert "Choose the strangest idea." in prompts[4]
    assert not any("Choose the" in prompts[index] for index in (0, 1, 3))
    assert "unbound: rounds is 1 again" in lines
    assert len([line for line in lines if line.startswith("refused,")]) == 4


def test_module_selection_shows(recording_lm: RecordingLM) -> None:
    lines = run("module_selection", **asking(recording_lm))
    asked = ["reasoning" in body["messages"][-1]["content"] for body in recording_lm.requests]
    assert asked == [False, True]
    assert "Predict answered with answer" in lines
    assert "ChainOfThought answered with reasoning, answer" in lines
    assert "still: VariableAwareChainOfThought" in lines
    assert "cot is: ChainOfThought" in lines


def test_sync_callbacks_shows(recording_lm: RecordingLM) -> None:
    lines = run("sync_callbacks", **asking(recording_lm))
    # Two changes between two forwards are one call; after the unbind there is none.
    assert [line.strip() for line in lines if line.startswith("  callback")] == ["callback: temperature 0.7 -> 0.9"]
    assert [body.get("temperature") for body in recording_lm.requests] == [0.7, 0.9, None]
    assert "asked: {'temperature': (0.9, 0.2)}" in lines
    assert "asked again: {}" in lines
    assert [line.split(" at ")[0].strip() for line in lines[-3:-1]] == ["set 0.2 -> 0.3", "set 0.3 -> 0.4"]
    assert lines[-1].startswith("  deleted 0.4 -> None")


def test_batch_configuration_shows(recording_lm: RecordingLM) -> None:
    lines = run("batch_configuration", **asking(recording_lm))
    sent = [(body["temperature"], body["max_completion_tokens"], body["top_p"]) for body in recording_lm.requests]
    assert sent == [(0.0, 200, 1.0), (1.4, 400, 0.9)]
    assert "refused: llm_temperature has to satisfy max=2.0" in lines
    assert "unchanged: True" in lines
    assert "batch sent: {'llm_temperature': 0.5, 'llm_max_tokens': 150}" in lines
    assert "someone was faster: llm_temperature is at version 4, not 1" in lines
    assert "top_p still: 0.9" in lines


def test_tools_shows(recording_lm: RecordingLM) -> None:
    recording_lm.reply(calling(("population", {"city": "Paris"})))
    lines = [re.sub(r"[0-9a-f]{16}", "…", line) for line in run("tools", **asking(recording_lm))]
    missing = "no city named Atlantis; there are Paris, Rome, Oslo"
    assert lines[1:] == [
        "offering population",
        "serving support_agent",
        "population(city), by 1 worker: Looks up how many people live in a city.",
        "support_agent(question), by 1 worker: Given the fields `question`, produce the fields `answer`.",
        "step 1: t -> population({'city': 'Paris'}) -> 2113705",
        "step 2: t -> finish({}) -> Completed.",
        f"answer at revision 2: {ANSWER}",
        "refused: InvalidRequestError",
        f"raised there and here: tool 'population' failed with KeyError: {missing!r} (request …)",
    ]
    assert ["2113705" in str(body["messages"]) for body in recording_lm.requests] == [False, True, True]


def test_tools_shows_the_same_with_the_scripted_lm() -> None:
    assert "answer at revision 2: 2113705" in run("tools")


def test_optimization_shows(recording_lm: RecordingLM) -> None:
    codes = MESSAGES | UNSEEN

    def answer(body: dict[str, Any]) -> dict[str, str]:
        asked = next(message for message in codes if message in str(body["messages"][-1]["content"]))
        shown = any(message["role"] == "assistant" for message in body["messages"])
        return {"code": codes[asked] if shown else "Ask a colleague."}

    recording_lm.reply(answer)
    lines = run("optimization", **asking(recording_lm))
    assert lines[1:] == [
        "before: here 0.0 %, in another process 0.0 %",
        "optimized copy: 100.0 %; live program, still: 0.0 %",
        "revision 4",
        "  written   router_demos  (demos)",
        "  unchanged router_prompt  (instructions)",
        "after: here 100.0 %, in another process 100.0 %",
        "router_demos is at version 2: BootstrapFewShot: 100.0 %",
        "rolled back: 0.0 %",
    ]
    # Three questions each: before, here and there; after, here and there; rolled back. In between, the optimizer's.
    shown = [sum(message["role"] == "assistant" for message in body["messages"]) for body in recording_lm.requests]
    assert shown[:6] == [0] * 6
    assert shown[-9:] == [6] * 6 + [0] * 3


def test_optimization_shows_the_same_with_the_scripted_lm() -> None:
    assert "after: here 100.0 %, in another process 100.0 %" in run("optimization")
