"""`python -m snakepit_bridge`: what runs from a command line. The server's own commands are those of `snakepit`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from snakepit_bridge.command_line.worker import add_worker


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m snakepit_bridge")
    add_worker(parser.add_subparsers(title="commands", metavar="COMMAND", required=True))
    given = parser.parse_args(arguments)
    code: int = given.run(given)
    return code


if __name__ == "__main__":
    sys.exit(main())
