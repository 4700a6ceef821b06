"""How long `import snakepit_bridge` takes and how soon the server is ready.

    python benchmarks/start_up.py [--runs 15] [--out benchmarks/results]

Whole processes, from outside: an interpreter that imports the package beside one that imports nothing, and a server
from its start to its `listening on` line.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bound_call import machine


def interpreter(code: str) -> float:
    """Milliseconds of a fresh interpreter that runs `code`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - start) * 1000


def server() -> float:
    """Milliseconds from the start of a server until it listens."""
    binary = os.environ["SNAKEPIT_SERVER_BINARY"]
    start = time.perf_counter()
    command = [binary, "serve", "--ephemeral", "--listen", "127.0.0.1:0", "--until-stdin-closes"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("listening on ")
        ready = (time.perf_counter() - start) * 1000
        process.communicate()
    return ready


def main() -> None:
    """Runs all in turn, prints the table and writes the raw results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    cases = {
        "python -c pass": lambda: interpreter("pass"),
        "import grpc": lambda: interpreter("import grpc"),
        "import snakepit_bridge": lambda: interpreter("import snakepit_bridge"),
        "server ready": server,
    }
    runs: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(options.runs):
        for name, case in cases.items():
            runs[name].append(case())
    lines = [machine(), f"{options.runs} runs, interleaved; milliseconds", ""]
    lines += [f"{'case':26}{'median':>10}{'min':>10}{'max':>10}"]
    lines += [f"{name:26}{statistics.median(r):>10.1f}{min(r):>10.1f}{max(r):>10.1f}" for name, r in runs.items()]
    print("\n".join(lines))
    options.out.mkdir(parents=True, exist_ok=True)
    stem = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}-start-up"
    (options.out / f"{stem}.txt").write_text("\n".join(lines) + "\n")
    (options.out / f"{stem}.json").write_text(json.dumps({"machine": machine(), "runs": runs}) + "\n")


if __name__ == "__main__":
    main()
