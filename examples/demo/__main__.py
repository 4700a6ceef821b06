"""`python -m examples.demo`: a server, a bound program, and a second process that changes what it uses."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from pathlib import Path

import dspy

from examples.demo import show
from examples.demo.models import Model, open_model
from examples.demo.program import Assistant
from examples.demo.second_process import SecondProcess
from examples.demo.story import conclude, print_forward, tell
from snakepit_bridge import BlockingContext, SessionContext
from snakepit_bridge.exceptions import BridgeError

PAUSE = 3.0


def main() -> int:
    """Runs the demo; 0 if every LM request carried what it should."""
    arguments = _parser().parse_args()
    # Its advice about truncated answers would interrupt what is shown: that they are cut off is the point.
    logging.getLogger("dspy").setLevel(logging.ERROR)
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        with open_model(arguments.model, arguments.api_base, download=not arguments.offline) as model:
            return _run(model, forever=arguments.forever)
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


def _run(model: Model, *, forever: bool) -> int:
    show.line(f"{show.bold('LM')}       {model.description}")
    with SessionContext.local(session_id="demo") as ctx:
        assistant = Assistant(ctx, model)
        show.line(f"{show.bold('server')}   {ctx.address}, session {ctx.session_id!r}")
        show.line(
            f"{show.bold('program')}  VariableModule of Predict and ChainOfThought, bound to the session's variables"
        )
        with SecondProcess(ctx) as second:
            forwards = tell(assistant, second)
        right = conclude(forwards, model.description)
        if forever:
            _go_on(assistant, ctx, len(forwards))
        return 0 if right else 1


def _go_on(assistant: Assistant, ctx: BlockingContext, number: int) -> None:
    binary = os.environ.get("SNAKEPIT_SERVER_BINARY", "snakepit")
    if Path(binary).is_relative_to(Path.cwd()):
        binary = str(Path(binary).relative_to(Path.cwd()))
    show.heading("It keeps answering. In a second terminal, in this directory, paste any of:")
    show.line(f"  export SNAKEPIT_ADDRESS={ctx.address} SNAKEPIT_SESSION={ctx.session_id}")
    show.line(f"  {binary} var set llm_temperature 1.2")
    show.line(f"  {binary} var set llm_instructions 'Answer like a pirate.'")
    show.line(f"  {binary} var set reasoning_module Predict")
    show.line(f"  {binary} var watch")
    show.line(
        f'  {os.path.relpath(sys.executable)} -c "from snakepit_bridge import BlockingContext, SessionContext as S; '
        "S.connect(create=False).blocking.set_variable('llm_max_tokens', 12)\""
    )
    show.line("Ctrl-C ends it.")
    pause = threading.Event()
    while True:
        number += 1
        print_forward(number, assistant.ask())
        pause.wait(PAUSE)


def _is_of_the_lm(error: Exception) -> bool:
    return isinstance(error, getattr(dspy.utils.exceptions, "LMError", ())) or "litellm" in type(error).__module__


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--model", help="any DSPy model, such as openai/gpt-4o-mini or ollama_chat/llama3.2")
    parser.add_argument("--api-base", help="where that model answers, if not at its provider's own address")
    parser.add_argument("--forever", action="store_true", help="go on after the summary, for a second terminal")
    parser.add_argument("--offline", action="store_true", help="never download the local model")
    return parser


if __name__ == "__main__":
    sys.exit(main())
