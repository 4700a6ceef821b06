"""`python -m tools.release build` and `… check`, in an environment with the group `release` of pyproject.toml."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tools.release import building, checking
from tools.release.processes import CheckError

_ROOT = Path(__file__).parents[2]


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    tasks = parser.add_subparsers(dest="task", required=True)
    build = tasks.add_parser("build", help="builds the wheel and the sdist of this tree")
    build.add_argument("--out", type=Path, default=_ROOT / "dist", help="where to (default: dist)")
    build.add_argument("--triple", help="Rust's name of the machine to build for (default: this one)")
    check = tasks.add_parser("check", help="clones, builds, installs and uses the commit checked out here (minutes)")
    check.add_argument("--keep", type=Path, help="an empty directory to do it in, which stays")
    given = parser.parse_args()
    if given.task == "build":
        return _build(given.out.resolve(), given.triple)
    if given.keep is not None:
        given.keep.mkdir(parents=True)
        return _check(given.keep.resolve())
    with tempfile.TemporaryDirectory(prefix="snakepit-release-") as work:
        return _check(Path(work).resolve())


def _build(out: Path, triple: str | None) -> int:
    log, target = out / "build.log", Path(os.environ.get("CARGO_TARGET_DIR") or _ROOT / "target").resolve()
    out.mkdir(parents=True, exist_ok=True)
    print(f"The compiler's words go to {log}; the wheel takes minutes.", flush=True)
    try:
        sdist = building.build_sdist(_ROOT, out, target, log=log)
        for made in (sdist, building.build_wheel(_ROOT, out, target, triple=triple, log=log)):
            print(f"{building.digest(made)}  {made}")
    except CheckError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _check(work: Path) -> int:
    failed = checking.check_release(_ROOT, work)
    print(f"not a release: {'; '.join(failed)}" if failed else "this commit is a release")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
