"""The language model of the examples: $SNAKEPIT_MODEL, any DSPy model string, else a scripted one without network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dspy

from examples.scripted_lm import ScriptedLM


@contextmanager
def language_model() -> Iterator[dspy.LM]:
    """Prints which LM the example uses, and gives it."""
    if model := os.environ.get("SNAKEPIT_MODEL"):
        print(f"LM: {model}")
        yield dspy.LM(model, cache=False, api_base=os.environ.get("SNAKEPIT_MODEL_API_BASE"))
        return
    print("LM: SCRIPTED, not a language model. SNAKEPIT_MODEL=openai/gpt-4o-mini, or any DSPy model, asks a real one.")
    with ScriptedLM() as scripted:
        yield scripted.lm


def last_request(lm: dspy.LM) -> dict[str, Any]:
    """The last request that DSPy made to this LM: its messages and its generation parameters."""
    entry = lm.history[-1]
    return {"messages": entry["messages"], **entry["kwargs"]}
