"""A live program in a process of its own: `python -m tests.dspy.support.live_process`.

It reads a JSON request and writes a JSON answer per line.

`{"bind": [address, session, api_base], "bindings": {...}}` makes the program; `{"ask": country}` calls it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import dspy

import snakepit_bridge.dspy_integration as sb
from snakepit_bridge import SessionContext
from tests.dspy.support.programs import Capital


def main() -> None:
    program: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        if "bind" in request:
            address, session_id, api_base = request["bind"]
            lm = dspy.LM("openai/gpt-4o-mini", api_base=api_base, api_key="live", cache=False, num_retries=0)
            dspy.configure(lm=lm)
            session = SessionContext.connect(address, session_id=session_id, create=False).blocking
            program = sb.bind(Capital(), request["bindings"], session=session)
            answer: dict[str, Any] = sb.bindings(program)
        else:
            prediction = program(country=request["ask"])
            answer = {"capital": prediction.capital, "revision": sb.revision_of(prediction)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
