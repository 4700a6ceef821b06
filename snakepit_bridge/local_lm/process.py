"""The process that answers for the local model: `python -m snakepit_bridge.local_lm.process MODEL_FILE NAME`.

The first line of stdin is the key that requests have to carry, so that no page in a browser can use the port. It
prints `listening on URL` on stdout once it accepts, complains on stderr, and ends when its stdin closes.
"""

from __future__ import annotations

import os
import signal
import sys

import xllamacpp


def serve(path: str, name: str) -> None:
    """Serves the OpenAI API for a model file on a free loopback port until stdin closes. Does not return."""
    # The runtime takes these over, and its own shutdown can hang while it generates.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = {name}
    params.port = 0
    params.n_ctx = 4096
    params.cpuparams.n_threads = os.cpu_count() or 1
    # A reused prompt shifts rounding: without this the same request at temperature 0 may get another answer.
    params.cache_prompt = False
    params.cache_ram_mib = 64
    params.api_keys = [sys.stdin.readline().strip()]
    params.verbosity = 1
    params.offline = True
    params.ui = False
    server = xllamacpp.Server(params)
    sys.stdout.write(f"listening on {server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    serve(*sys.argv[1:])
