"""Programs to bind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dspy

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import BlockingContext


class Pair(dspy.Module):
    """Two predictors and an attribute, with both ways to be called."""

    def __init__(self) -> None:
        super().__init__()
        self.draft = dspy.Predict("question -> draft")
        self.polish = dspy.ChainOfThought("question, draft -> answer")
        self.k = 3

    def forward(self, question: str) -> Any:
        draft = self.draft(question=question).draft
        answer = self.polish(question=question, draft=draft).answer
        return dspy.Prediction(answer=answer, k=self.k)

    async def aforward(self, question: str) -> Any:
        draft = (await self.draft.acall(question=question)).draft
        answer = (await self.polish.acall(question=question, draft=draft)).answer
        return dspy.Prediction(answer=answer, k=self.k)


class ForwardOnly(dspy.Module):
    """Has no `aforward`, and does not call its parent's `__init__`."""

    def __init__(self) -> None:
        self.ask = dspy.Predict("question -> answer")

    def forward(self, question: str) -> Any:
        return self.ask(question=question)


class AforwardOnly(dspy.Module):
    """Has no `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.ask = dspy.Predict("question -> answer")

    async def aforward(self, question: str) -> Any:
        return await self.ask.acall(question=question)


def population(city: str) -> str:
    """The number of people in a city."""
    return f"{city}: 42"


def agent(max_iters: int = 3) -> Any:
    return dspy.ReAct("question -> answer", tools=[population], max_iters=max_iters)


def as_agent(body: dict[str, Any]) -> dict[str, Any]:
    """An answer for an agent that calls its tool once and then finishes."""
    last = str(body["messages"][-1]["content"])
    if "next_tool_name" not in last:
        return {"reasoning": "it says so", "answer": "42"}
    if "observation_0" in last:
        return {"next_thought": "done", "next_tool_name": "finish", "next_tool_args": {}}
    return {"next_thought": "look", "next_tool_name": "population", "next_tool_args": {"city": "Rome"}}


def prompt_of(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"])


def sent(body: dict[str, Any]) -> dict[str, Any]:
    """What a request asked for besides its messages."""
    return {name: value for name, value in body.items() if name != "messages"}


class Aliased(dspy.Module):
    """One predictor under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.one = dspy.Predict("question -> answer", max_tokens=50)
        self.same = self.one

    def forward(self, question: str) -> Any:
        return self.same(question=question)


class Mixed(sb.VariableAwareMixin, Pair):
    """A user's module with bindings built in."""


@dataclass(frozen=True)
class Kind:
    """A way to have a bound program: how it is made, and the class of which it is without its bindings."""

    make: Callable[[BlockingContext], Any]
    plain: Any

    def bound(self, session: BlockingContext) -> Any:
        """The program, its temperature bound to variable `t`."""
        return sb.bind(self.make(session), {"temperature": "t"}, session=session)


def switching(session: BlockingContext) -> Any:
    """A VariableModule of Predict and ChainOfThought, with the latter in effect at first."""
    allowed = {"modules": ["Predict", "ChainOfThought"]}
    session.register_variable("strategy", "module", "ChainOfThought", constraints=allowed)
    return sb.VariableModule("strategy", "question -> answer", session=session)


KINDS = {
    "Predict": Kind(lambda _: dspy.Predict("question -> answer"), dspy.Predict),
    "user module": Kind(lambda _: Pair(), Pair),
    "aware": Kind(
        lambda session: sb.VariableAwareChainOfThought("question -> answer", session_context=session),
        sb.VariableAwareChainOfThought,
    ),
    "mixin": Kind(lambda session: Mixed(session_context=session), Mixed),
    "VariableModule": Kind(switching, sb.VariableModule),
}
"""The ways to have a bound program."""


class Capital(dspy.Module):
    """Knows countries."""

    def __init__(self) -> None:
        super().__init__()
        self.ask = dspy.Predict("country -> capital")

    def forward(self, country: str) -> Any:
        return self.ask(country=country)
