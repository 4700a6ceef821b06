"""Runs the README's program as somebody who has just installed the package, with a scripted LM for want of another.

It stands beside a copy of `examples`, away from the repository, and is told where the program is.
"""

from __future__ import annotations

import os
import runpy
import sys

import dspy

from examples.scripted_lm import ScriptedLM

with ScriptedLM() as scripted:
    os.environ |= {"OPENAI_API_BASE": scripted.url, "OPENAI_API_KEY": "none"}
    runpy.run_path(sys.argv[1])
    print(f"sent temperature {dspy.settings.lm.history[-1]['kwargs']['temperature']}")
