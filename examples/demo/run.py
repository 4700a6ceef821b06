"""Starts the LM, the server and the program, and then plays the story or answers until Ctrl-C."""

from __future__ import annotations

import logging
import sys
import threading
from typing import NoReturn

import dspy

from examples.demo import show
from examples.demo.commands import Terminal
from examples.demo.models import Model, open_model
from examples.demo.program import QUESTION, Assistant
from examples.demo.story import conclude, print_forward, tell
from snakepit_bridge import BlockingContext, SessionContext
from snakepit_bridge.exceptions import BridgeError

PAUSE = 3.0
TRY = [
    ["var", "set", "llm_temperature", "1.2"],
    ["var", "set", "llm_instructions", "Answer like a pirate."],
    ["var", "set", "reasoning_module", "ChainOfThought"],
    ["var", "history", "llm_temperature"],
    ["var", "rollback", "llm_temperature"],
    ["var", "watch"],
]
"""Commands for the second terminal."""
SET_IN_PYTHON = (
    "from snakepit_bridge import SessionContext as S; "
    "S.connect(create=False).blocking.set_variable('llm_max_tokens', 12)"
)
"""What another Python program would do."""


def run(model: str | None, api_base: str | None, *, download: bool, second_terminal: bool) -> int:
    """Runs the demo; the exit code.

    Args:
        model: a DSPy model string; None takes the local model.
        api_base: the address of that model, if it is not its provider's own.
        download: whether the local model may be downloaded.
        second_terminal: skip the story, and answer until Ctrl-C.
    """
    # Its advice about truncated answers would interrupt: the demo shows that answers are cut off.
    logging.getLogger("dspy").setLevel(logging.ERROR)
    try:
        with open_model(model, api_base, download=download) as opened:
            return _run(opened, second_terminal=second_terminal)
    except KeyboardInterrupt:
        show.line("\nStopped.")
        return 130
    except BridgeError as error:
        print(f"\n{type(error).__name__}: {error}", file=sys.stderr)
    except Exception as error:
        if not _is_of_the_lm(error):
            raise
        print(f"\nThe LM did not answer: {' '.join(str(error).split())[:300]}", file=sys.stderr)
    return 1


def _run(model: Model, *, second_terminal: bool) -> int:
    with SessionContext.local(session_id="demo") as ctx:
        assistant = Assistant(ctx, model)
        show.row("LM", model.description)
        show.row("server", f"{ctx.address}, session {ctx.session_id!r}")
        show.row("program", "VariableModule of Predict and ChainOfThought, bound to the session's variables")
        show.row("asks", QUESTION)
        if second_terminal:
            _answer(assistant, ctx)
        forwards = tell(assistant, Terminal(ctx))
        return 0 if conclude(forwards, model.description) else 1


def _answer(assistant: Assistant, ctx: BlockingContext) -> NoReturn:
    terminal = Terminal(ctx)
    show.heading(f"It asks every {PAUSE:g} seconds. Paste these lines into a second terminal:")
    show.line(terminal.preparation())
    show.heading("Then any of these, and watch the next forward here:")
    for command in TRY:
        show.line(terminal.written(command))
    show.line(terminal.in_python(SET_IN_PYTHON))
    show.heading("Ctrl-C ends it.")
    pause = threading.Event()
    number, before = 0, None
    while True:
        number += 1
        forward = assistant.ask()
        print_forward(number, forward, before)
        before = forward
        pause.wait(PAUSE)


def _is_of_the_lm(error: Exception) -> bool:
    return isinstance(error, getattr(dspy.utils.exceptions, "LMError", ())) or "litellm" in type(error).__module__
