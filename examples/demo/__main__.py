"""`python -m examples.demo`: a server, a bound program, and commands that change what the program uses."""

from __future__ import annotations

import argparse
import os
import sys


def main() -> int:
    """Runs the demo. Returns 0 if every LM request carried the values of its revision."""
    arguments = _parser().parse_args()
    # LiteLLM looks for a newer price list on the network at import otherwise.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    print("Loading DSPy. It takes about 5 seconds.", flush=True)
    from examples.demo.run import run

    return run(arguments.model, arguments.api_base, download=not arguments.offline, second_terminal=arguments.forever)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=__doc__)
    parser.add_argument("--model", help="any DSPy model, such as openai/gpt-4o-mini or ollama_chat/llama3.2")
    parser.add_argument("--api-base", help="the address of that model, if it is not its provider's own")
    parser.add_argument("--forever", action="store_true", help="skip the story, and answer until Ctrl-C")
    parser.add_argument("--offline", action="store_true", help="never download the local model")
    return parser


if __name__ == "__main__":
    sys.exit(main())
