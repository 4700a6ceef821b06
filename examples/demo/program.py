"""The program of the demo, its variables, and the check that each request carries their values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dspy

import snakepit_bridge.dspy_integration as sb
from examples.demo.models import Model
from examples.scripted_lm import asked_fields
from snakepit_bridge import BlockingContext

QUESTION = "What should I do on a rainy Sunday?"
BINDINGS = {"temperature": "llm_temperature", "max_tokens": "llm_max_tokens", "instructions": "llm_instructions"}
VARIABLES = [*BINDINGS.values(), "reasoning_module"]


@dataclass(frozen=True)
class Forward:
    """One call of the program.

    Attributes:
        revision: the session's revision that it used.
        used: the variables and their values at that revision.
        changed: the variables that differ from the call before, as (old, new).
        sent: the request bodies that went out.
        answer: the LM's answer; None if it was not in the form that was asked for.
        reasoning: the LM's reasoning, if the module asks for one.
    """

    revision: int | None
    used: dict[str, Any]
    changed: dict[str, tuple[Any, Any]]
    sent: list[dict[str, Any]]
    answer: str | None
    reasoning: str | None = None

    def differences(self) -> list[str]:
        """Where a request does not carry the values used; empty if each one does."""
        return [found for body in self.sent for found in _differences(self.used, body)] or (
            [] if self.sent else ["no request went out"]
        )


class Assistant:
    """A program that is bound to the session's variables."""

    def __init__(self, ctx: BlockingContext, model: Model) -> None:
        self._ctx = ctx
        self._model = model
        self._used: dict[str, Any] = {}
        register(ctx)
        self.program = sb.VariableModule("reasoning_module", "question -> answer", session=ctx)
        sb.bind(self.program, BINDINGS, session=ctx)

    def ask(self) -> Forward:
        """Asks the question once, with the newest values of the variables."""
        before, requests = self._used, len(self._model.requests())
        answer: str | None = None
        reasoning: str | None = None
        with dspy.context(lm=self._model.lm, adapter=self._model.adapter), sb.snapshot(self._ctx) as snapshot:
            try:
                prediction = self.program(question=QUESTION)
                answer, reasoning = prediction.answer, prediction.get("reasoning")
            except dspy.utils.exceptions.AdapterParseError:
                pass
            self._used = {name: snapshot.variables[name].value for name in VARIABLES}
        changed = {name: (before[name], new) for name, new in self._used.items() if before and before[name] != new}
        return Forward(snapshot.revision, self._used, changed, self._model.requests()[requests:], answer, reasoning)


def register(ctx: BlockingContext) -> None:
    """Registers the variables of the demo, with their constraints."""
    ctx.register_variable("llm_temperature", "float", 0.0, constraints={"min": 0.0, "max": 2.0})
    ctx.register_variable("llm_max_tokens", "integer", 60, constraints={"min": 1, "max": 4096})
    ctx.register_variable("llm_instructions", "string", "Answer the question in one short sentence.")
    modules = {"modules": ["Predict", "ChainOfThought"]}
    ctx.register_variable("reasoning_module", "module", "Predict", constraints=modules)


def _differences(used: Mapping[str, Any], body: Mapping[str, Any]) -> list[str]:
    sent = {
        "llm_temperature": body.get("temperature"),
        "llm_max_tokens": body.get("max_completion_tokens", body.get("max_tokens")),
        "reasoning_module": "ChainOfThought" if "reasoning" in asked_fields(dict(body)) else "Predict",
    }
    found = [f"{name} is {used[name]!r} but {value!r} was sent" for name, value in sent.items() if value != used[name]]
    if json.dumps(used["llm_instructions"])[1:-1] not in json.dumps(body["messages"]):
        found.append(f"the instructions {used['llm_instructions']!r} were not sent")
    return found
