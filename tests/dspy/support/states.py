"""Numbered states of a session, and the client that goes through them as fast as the server takes it.

State n gives each variable a value that tells n, or n modulo `RING`, so that whatever reads one shows of which state
it is. Run as a program it reads session ids from stdin and writes state after state to that session until the next
line; then it answers with the number of the last one.

    python -m tests.dspy.support.states ADDRESS
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from snakepit_bridge import BlockingContext, SessionContext

RING = 32
"""As many different instructions and models as DSPy is made to handle; a mix of states this far apart goes unseen."""


def variables(number: int) -> dict[str, Any]:
    """What the variables are in a state."""
    place = number % RING
    return {
        "t": place / RING,
        "tokens": 100 + place,
        "prompt": f"You are in state {place}.",
        "model": f"state-{place}",
        "demos": [{"question": f"demo of state {place}?", "draft": "yes"}],
        "k": number,
        "width": number,
    }


TYPES = {
    "t": "float",
    "tokens": "integer",
    "prompt": "string",
    "model": "string",
    "demos": "list",
    "k": "integer",
    "width": "integer",
}


def register(session: BlockingContext) -> int:
    """Registers the variables in state 0; the revision then. State n is written at n revisions later."""
    for name, value in variables(0).items():
        session.register_variable(name, TYPES[name], value)
    return session.revision


def main(address: str) -> None:
    """Serves stdin until it ends."""
    for line in sys.stdin:
        with SessionContext.connect(address, session_id=line.strip(), create=False) as context:
            context.set_variables(variables(1))
            print(1, flush=True)
            ended = threading.Thread(target=sys.stdin.readline)
            ended.start()
            number = 1
            while ended.is_alive():
                number += 1
                context.set_variables(variables(number))
        print(number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
