"""The other process, and how the first one tells it when to turn a knob.

The two share nothing but the server's address and the session's name. The second one sets what its stdin says: one JSON
object of variables a line, each line one atomic write.
"""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from snakepit_bridge import BlockingContext, SessionContext
from snakepit_bridge.exceptions import BridgeError


class SecondProcess:
    """A process of its own that sets variables of the session. Ends with its `with` block.

    Attributes:
        pid: its process id.
    """

    def __init__(self, ctx: BlockingContext) -> None:
        command = [sys.executable, "-m", "examples.demo.second_process", ctx.address, ctx.session_id]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.pid = self._process.pid

    def set(self, values: dict[str, Any]) -> str:
        """Has it set variables, and gives what became of it once the server has answered."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(values), file=self._process.stdin, flush=True)
        outcome = self._process.stdout.readline()
        if not outcome:
            raise RuntimeError(f"the second process ended with status {self._process.wait()}")
        return outcome.strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def main(address: str, session: str) -> None:
    """Sets variables until stdin closes; answers each line with what became of it."""
    with SessionContext.connect(address, session_id=session, create=False) as ctx:
        for line in sys.stdin:
            values = json.loads(line)
            try:
                ctx.set_variables(values, reason="the demo turns a knob")
                outcome = f"set {', '.join(f'{name} = {value!r}' for name, value in values.items())}"
            except BridgeError as error:
                outcome = f"was refused: {error}"
            print(outcome, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
