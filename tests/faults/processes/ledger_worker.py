"""A worker that writes down every run before it does anything, for a harness that kills it.

`python -m tests.faults.processes.ledger_worker ADDRESS SESSION LEDGER` serves until its stdin closes. Each run is a
line of the ledger, `CALL_ID ATTEMPT TOOL`, appended by one write, so that no kill tears it.
"""

from __future__ import annotations

import os
import random
import sys
import time

from snakepit_bridge import Retry, SessionContext, current_call

# As many attempts as the protocol allows: most of the calls that are lost meet another kill.
PATIENT = Retry(max_attempts=10, initial_backoff=0.01, max_backoff=10.0)


def main() -> None:
    address, session_id, path = sys.argv[1:]
    ledger = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def run(number: int) -> int:
        call = current_call()
        assert call is not None
        os.write(ledger, f"{call.call_id} {call.attempt} {call.tool}\n".encode())
        time.sleep(random.uniform(0, 0.05))
        return number * 2

    def charge(number: int) -> int:
        """May run once."""
        return run(number)

    def look_up(number: int) -> int:
        """May run again."""
        return run(number)

    with SessionContext.connect(address, session_id=session_id, create=False) as ctx:
        ctx.offer(charge)
        ctx.offer(look_up, idempotent=True, retry=PATIENT)
        print("serving", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
