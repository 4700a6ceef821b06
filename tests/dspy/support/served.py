"""A process that serves programs: `python -m tests.dspy.support.served ADDRESS SESSION LM_URL`.

It ends with its stdin.
"""

from __future__ import annotations

import sys
from typing import Any

import dspy
from pydantic import BaseModel

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import SessionContext


class Ticket(BaseModel):
    """What a customer wants."""

    subject: str
    urgent: bool = False


class Support(dspy.Signature):
    """Help a customer."""

    ticket: Ticket = dspy.InputField(desc="what is wanted")
    photo: dspy.Image | None = dspy.InputField(default=None)
    history: dspy.History = dspy.InputField()
    answer: str = dspy.OutputField()


class Plain(dspy.Module):
    """Has but a forward, so that it can only run in a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.draft = dspy.Predict("question -> draft")
        self.answer = dspy.Predict("question, draft -> answer")

    def forward(self, question: str) -> Any:
        draft = self.draft(question=question).draft
        return dspy.Prediction(answer=self.answer(question=question, draft=draft).answer, draft=draft)


class Strange(dspy.Module):
    """Fails, or answers with what cannot be sent, as it is told."""

    def forward(self, how: str) -> Any:
        if how == "raise":
            raise ZeroDivisionError("nothing to divide")
        if how == "object":
            return dspy.Prediction(answer=object())
        nested: Any = "end"
        for _ in range(40):
            nested = [nested]
        return dspy.Prediction(answer="short", path=nested)


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def main() -> None:
    """Serves all of them until stdin ends."""
    address, session_id, url = sys.argv[1:]
    lm = dspy.LM("openai/gpt-4o-mini", api_base=url, api_key="test-key", cache=False, num_retries=0)
    dspy.configure(lm=lm)
    with SessionContext.connect(address, session_id=session_id, tool_concurrency=32) as ctx:
        ctx.register_variable("t", "float", 0.5)
        answers = dspy.ChainOfThought("question -> answer")
        sb.serve_program(ctx, "qa", dspy.Predict("question -> answer"), description="Answers questions.")
        sb.serve_program(ctx, "support", dspy.Predict(Support))
        sb.serve_program(ctx, "agent", dspy.ReAct("question -> answer", tools=[weather], max_iters=3))
        sb.serve_program(ctx, "bound", sb.bind(answers, {"temperature": "t"}, session=ctx), concurrency=4)
        sb.serve_program(ctx, "plain", Plain())
        sb.serve_program(ctx, "strange", Strange())
        sb.serve_program(ctx, "spoken", dspy.ChainOfThought("question -> answer"), stream=["answer"])
        sb.serve_program(ctx, "spoken-plain", Plain(), stream=["draft.draft", "answer.answer"])
        print("served", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
