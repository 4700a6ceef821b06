"""Optimizing a program that is live, and improving all that run it: `python -m examples.optimization`."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, Self

import dspy

import snakepit_bridge.dspy_integration as sb
from examples.language_model import language_model
from snakepit_bridge import SessionContext

# Codes that no language model can know: they have to be shown to it.
MESSAGES = {
    "The parcel never arrived at my door.": "LOG-4",
    "My parcel arrived broken at the neighbours.": "LOG-4",
    "I cannot log in with my new password.": "SEC-1",
    "Please reset the password that I forgot.": "SEC-1",
    "The invoice lists an amount that I have paid.": "FIN-7",
    "You charged the amount of one invoice twice.": "FIN-7",
}
UNSEEN = {
    "Where is the parcel that should have arrived yesterday?": "LOG-4",
    "Somebody else knows my password and can log in.": "SEC-1",
    "Is the amount on this invoice before tax?": "FIN-7",
}
EXAMPLES, HELD_OUT = (
    [dspy.Example(message=message, code=code).with_inputs("message") for message, code in messages.items()]
    for messages in (MESSAGES, UNSEEN)
)


def is_right(example: dspy.Example, prediction: Any, _trace: Any = None) -> bool:
    """The metric: whether the code is exactly the right one."""
    return bool(example.code == prediction.code.strip())


def score(program: Any) -> float:
    """How many of the messages held out get the right code, in percent."""
    evaluate = dspy.Evaluate(devset=HELD_OUT, metric=is_right, num_threads=1, display_progress=False)
    percent: float = evaluate(program).score
    return percent


def router(session: Any) -> Any:
    """The program, bound to its variables: every process that runs it makes it like this."""
    program = dspy.Predict("message -> code")
    return sb.bind(program, {"instructions": "router_prompt", "demos": "router_demos"}, session=session)


def main() -> None:
    """Optimizes a copy of a live program, publishes the result, and measures it here and in another process."""
    connect = SessionContext.connect if "SNAKEPIT_ADDRESS" in os.environ else SessionContext.local
    dspy.disable_logging()
    with language_model() as lm, connect(session_id="optimization") as ctx, dspy.context(lm=lm):
        ctx.register_variable("router_prompt", "string", "Give the code of the desk that handles the message.")
        ctx.register_variable("router_demos", "list", [], constraints={"max_items": 20})
        live = router(ctx)
        with Elsewhere(ctx.address, ctx.session_id) as elsewhere:
            print(f"before: here {score(live)} %, in another process {elsewhere.score()} %")

            # A plain copy with the values of now. An optimizer has it for itself, so that what it measures is what it
            # tries, while the live program goes on answering and anybody may go on changing variables.
            plain = sb.freeze(live)
            optimizer = dspy.BootstrapFewShot(metric=is_right, max_bootstrapped_demos=3, max_labeled_demos=6)
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                optimized = optimizer.compile(plain, trainset=EXAMPLES)
            print(f"optimized copy: {score(optimized)} %; live program, still: {score(live)} %")

            # One write, all or nothing. It is refused if somebody else has changed what would be written, and if the
            # optimizer found something that is bound to no variable: half of a result is none.
            published = sb.publish(live, optimized, reason=f"BootstrapFewShot: {score(optimized)} %")
            print(published)
            print(f"after: here {score(live)} %, in another process {elsewhere.score()} %")

        # If it was no improvement after all, there is a way back.
        newest = ctx.history("router_demos")[0]
        print(f"router_demos is at version {newest.version}: {newest.reason}")
        ctx.rollback("router_demos", version=1, reason="only an example")
        print(f"rolled back: {score(live)} %")


class Elsewhere:
    """The same program in another process, which measures it whenever it is asked to."""

    def __init__(self, address: str, session_id: str) -> None:
        command = [sys.executable, "-m", "examples.optimization", address, session_id]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def score(self) -> float:
        """What that process measures now."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print("score", file=self._process.stdin, flush=True)
        return float(next(line for line in self._process.stdout if line.strip().replace(".", "").isdigit()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def measure_on_request(address: str, session_id: str) -> None:
    """What the other process does: it binds the program once, and knows nothing of any optimizer."""
    dspy.disable_logging()
    with (
        language_model() as lm,
        SessionContext.connect(address, session_id=session_id, create=False) as ctx,
        dspy.context(lm=lm),
    ):
        live = router(ctx)
        for _ in sys.stdin:
            print(score(live), flush=True)


if __name__ == "__main__":
    measure_on_request(*sys.argv[1:]) if len(sys.argv) > 1 else main()
