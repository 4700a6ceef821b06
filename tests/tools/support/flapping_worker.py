"""A worker whose tool fails, retryably, for as long as a file exists.

`python -m tests.tools.support.flapping_worker ADDRESS SESSION FILE` serves until its stdin closes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from snakepit_bridge import SessionContext


def main() -> None:
    address, session_id, path = sys.argv[1:]

    def reach() -> int:
        """Reaches something that may be down."""
        if Path(path).exists():
            raise ConnectionError("it is down")
        return os.getpid()

    with SessionContext.connect(address, session_id=session_id, create=False) as ctx:
        ctx.offer(reach)
        print("serving", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
