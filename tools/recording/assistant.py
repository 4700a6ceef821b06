"""The program of the recording: it asks the same question again and again, with whatever temperature is set by now."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import textwrap
import time
from contextlib import ExitStack

import dspy

import snakepit_bridge.dspy_integration as sb
from examples.scripted_lm import ScriptedLM
from snakepit_bridge import SessionContext
from snakepit_bridge.local_lm import LocalLM

QUESTION = "What should I do on a rainy Sunday?"
# Not as arguments: what the recording shows typed is what is of interest.
LM, EVERY = os.environ["RECORDED_LM"], float(os.environ["RECORDED_EVERY"])


def main() -> None:
    """Asks until it is ended; prints a line for each forward, from what went out and what came back."""
    # Its advice about answers that are cut off would stand among them.
    logging.getLogger("dspy").setLevel(logging.ERROR)
    with ExitStack() as stack, SessionContext.connect() as ctx:
        if LM == "local":
            local = stack.enter_context(LocalLM())
            dspy.configure(lm=local.lm.copy(max_tokens=120), adapter=local.adapter)
        else:
            dspy.configure(lm=stack.enter_context(ScriptedLM()).lm)
        ctx.register_variable("llm_temperature", "float", 0.0, constraints={"min": 0.0, "max": 2.0})
        qa = sb.bind(dspy.ChainOfThought("question -> answer"), {"temperature": "llm_temperature"}, session=ctx)
        before = None
        while True:
            began = time.monotonic()
            try:
                answer = qa(question=QUESTION)
            except dspy.utils.exceptions.AdapterParseError:
                # So small a model runs out of tokens now and then, within its reasoning.
                continue
            sent = qa.history[-1]["kwargs"]["temperature"]
            head = f"revision {sb.revision_of(answer)}  temperature {sent}"
            room = shutil.get_terminal_size().columns - len(head) - 3
            said = textwrap.shorten(" ".join(str(answer.answer).split()), room, placeholder="…")
            print(f"\033[{1 if sent != before else 0};36m{head}\033[0m  {said}", flush=True)
            before = sent
            time.sleep(max(0.0, EVERY - (time.monotonic() - began)))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
