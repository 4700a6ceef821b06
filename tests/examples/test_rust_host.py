"""Rust calls DSPy, DSPy calls Rust: examples/rust_host, with a script as its LM."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OWN = {"SNAKEPIT_ADDRESS", "SNAKEPIT_SESSION", "SNAKEPIT_MODEL", "SNAKEPIT_MODEL_API_BASE"}


def run(server_binary: Path, *options: str) -> list[str]:
    """The lines that the program prints; it has to succeed and to say nothing on stderr."""
    environment = {key: value for key, value in os.environ.items() if key not in OWN}
    command = [str(server_binary.with_name("rust_host")), "--python", sys.executable, *options]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr
    return ran.stdout.splitlines()


def test_a_rust_program_asks_an_agent_which_calls_its_function_and_prints_each_step(server_binary: Path) -> None:
    assert run(server_binary) == [
        "Q: What is the population of Paris?",
        "  1. thought      I have to look up how many people live in Paris.",
        '     tool         lookup_population {"city":"Paris"}',
        "     observation  2102650",
        "  2. thought      Now I know it.",
        "     tool         finish {}",
        "     observation  Completed.",
        "A: Paris has 2102650 inhabitants.",
    ]


def test_what_the_function_refuses_is_an_observation_without_a_traceback(server_binary: Path) -> None:
    lines = run(server_binary, "--question", "What is the population of Atlantis?")
    observed = next(line for line in lines if "observation" in line)
    assert 'no population of "Atlantis"; known are Paris' in observed
    assert "Traceback" not in observed
    assert ".py" not in observed


def test_many_agents_at_once_all_get_their_answer(server_binary: Path) -> None:
    lines = run(server_binary, "--agents", "300", "--lookups", "20", "--processes", "2")
    assert "300 agents at once: 300 looked up what they were asked for" in lines[-2]
    assert lines[-1].startswith("A lookup takes 100 ms and the host runs 20 at once")
