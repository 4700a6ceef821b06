"""What can be bound, and to what: `python -m examples.variable_binding`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import dspy

import snakepit_bridge.dspy_integration as sb
from examples.language_model import language_model, last_request
from snakepit_bridge import BlockingContext, SessionContext
from snakepit_bridge.exceptions import BindingError, ConstraintError, VariableNotFoundError


class Adviser(dspy.Module):
    """Drafts some ideas, then chooses one: two predictors, and a number of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.draft = dspy.Predict("question -> ideas")
        self.choose = dspy.ChainOfThought("question, ideas -> answer")
        self.rounds = 1

    def forward(self, question: str) -> dspy.Prediction:
        """Asks the LM once for each round of ideas, and once more to choose."""
        ideas = [self.draft(question=question).ideas for _ in range(self.rounds)]
        return self.choose(question=question, ideas="\n".join(ideas))


def main() -> None:
    """Binds parameters of a program of two predictors, one by one and all at once."""
    connect = SessionContext.connect if "SNAKEPIT_ADDRESS" in os.environ else SessionContext.local
    with language_model() as lm, connect(session_id="variable-binding") as ctx:
        ctx.register_variable("bold", "float", 1.2, constraints={"min": 0.0, "max": 2.0})
        ctx.register_variable("careful", "float", 0.1, constraints={"min": 0.0, "max": 2.0})
        ctx.register_variable("length", "integer", 80, constraints={"min": 1, "max": 4096})
        ctx.register_variable("prompt", "string", "Choose the cheapest idea.")
        ctx.register_variable("rounds", "integer", 2, constraints={"min": 1, "max": 5})

        # A path leads through attributes to a generation parameter, the instructions, or a plain attribute. A
        # parameter of a container means every predictor below it; the longer path wins.
        program = sb.bind(
            Adviser(),
            {
                "draft.temperature": "bold",
                "choose.temperature": "careful",
                "max_tokens": "length",
                "choose.instructions": "prompt",
                "rounds": "rounds",
            },
            session=ctx,
        )
        with dspy.context(lm=lm):
            ask(program, lm)

            # One forward, one snapshot: all of these change between two forwards, never within one.
            ctx.set_variables({"rounds": 1, "length": 40, "prompt": "Choose the strangest idea."})
            ask(program, lm)

        # `bindings` says what is bound where; `unbind` gives the program its own value back.
        print("bound:", ", ".join(sorted(sb.bindings(program))))
        sb.unbind(program, "rounds")
        print("unbound: rounds is", program.rounds, "again")

        refusals(program, ctx)


def ask(program: Adviser, lm: dspy.LM) -> None:
    """Calls the program, and prints what each of its requests carried."""
    before = len(lm.history)
    program(question="What should I do on a rainy Sunday?")
    requests = lm.history[before:]
    print(f"{len(requests)} requests")
    for entry in requests:
        print(f"  temperature {entry['kwargs']['temperature']}, max_tokens {entry['kwargs']['max_tokens']}")
    print("  chosen by:", instructions_of(last_request(lm)))


def instructions_of(request: dict[str, Any]) -> str:
    """The last line of the system message, which is where DSPy puts the instructions."""
    lines: list[str] = request["messages"][0]["content"].strip().splitlines()
    return lines[-1].strip()


def refusals(program: Adviser, ctx: BlockingContext) -> None:
    """Mistakes are told where they are made, not by the LM's provider an hour later."""
    attempts: dict[str, Callable[[], object]] = {
        "a value out of range": lambda: ctx.set_variable("careful", 7.0),
        "an unknown variable": lambda: sb.bind(program, {"draft.top_p": "carefull"}, session=ctx),
        "an unknown path": lambda: sb.bind(program, {"draught.temperature": "bold"}, session=ctx),
        "a parameter that would give away a key": lambda: sb.bind(program, {"api_key": "prompt"}, session=ctx),
    }
    for name, attempt in attempts.items():
        try:
            attempt()
        except (BindingError, ConstraintError, VariableNotFoundError) as error:
            print(f"refused, {name}: {error}")


if __name__ == "__main__":
    main()
