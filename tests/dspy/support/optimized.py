"""What an optimizer might make of a program."""

from __future__ import annotations

from typing import Any

import dspy

from snakepit_bridge import BlockingContext

BINDINGS = {
    "temperature": "t",
    "draft.instructions": "prompt",
    "draft.demos": "demos",
    "polish.model": "model",
    "k": "tokens",
}
DEMO = {"question": "2+2?", "draft": "four"}
FOUND = {"question": "3+3?", "draft": "six", "augmented": True}


def instruct(predictor: Any, text: str) -> None:
    """What most optimizers do."""
    predictor.signature = predictor.signature.with_instructions(text)


def improve(optimized: Any) -> Any:
    """What an optimizer might do to everything that is bound."""
    instruct(optimized.draft, "Answer like a poet.")
    optimized.draft.demos = [dspy.Example(**FOUND).with_inputs("question")]
    for predictor in optimized.predictors():
        predictor.config = {**predictor.config, "temperature": 0.75}
    optimized.polish.predict.lm = optimized.polish.predict.lm.copy(model="openai/gpt-4.1")
    optimized.k = 7
    return optimized


def values(session: BlockingContext) -> dict[str, Any]:
    return session.get_variables(["t", "prompt", "demos", "model", "tokens"])


def describe(optimized: Any) -> None:
    """Gives a field another description."""
    predictor = optimized.draft
    predictor.signature = predictor.signature.with_updated_fields("draft", desc="in one word")
