"""`python -m tools.recording`: runs two terminals and draws what they have shown."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

from snakepit_bridge.local_lm import LocalModelError, fetch_model
from tools.recording.drawing import Pane, draw
from tools.recording.story import Recording, record

LMS = {"local": "SmolLM2-135M-Instruct on this machine", "scripted": "a SCRIPTED LM, which is not a language model"}


def main() -> int:
    """Records, draws, and writes the drawing."""
    parser = argparse.ArgumentParser(prog="python -m tools.recording", description=__doc__)
    parser.add_argument("--lm", choices=LMS, default="local", help="who answers (default: local)")
    parser.add_argument("--fast", action="store_true", help="without the pauses for whoever watches")
    parser.add_argument("--output", type=Path, default=Path("docs/recording.svg"), help="the file to write")
    arguments = parser.parse_args()
    if arguments.lm == "local":
        try:
            fetch_model()
        except LocalModelError as error:
            print(f"{error}; `--lm scripted` records without a language model, and says so", file=sys.stderr)
            return 1
    made = record(arguments.lm, os.environ, fast=arguments.fast)
    drawing = draw(_panes(made, arguments.lm), made.length, made.text)
    for private in (str(Path.cwd()), str(Path.home()), platform.node()):
        if len(private) > 1 and private in drawing:
            print(f"the recording shows {private!r}, which is of this machine", file=sys.stderr)
            return 1
    arguments.output.write_text(drawing, encoding="utf-8")
    print(f"{arguments.output}: {made.length:.0f} s, {len(drawing) / 1000:.0f} kB")
    return 0


def _panes(made: Recording, lm: str) -> list[Pane]:
    program = f"your program: a ChainOfThought, asked again and again; the LM is {LMS[lm]}"
    return [Pane(program, made.program), Pane("any other terminal", made.commands)]


if __name__ == "__main__":
    sys.exit(main())
