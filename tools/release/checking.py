"""Whether a commit is a release: it is cloned, built, looked into, installed and used."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tools.release import archives, building, versions
from tools.release.installed import Installed
from tools.release.processes import CheckError, run

T = TypeVar("T")

# The glibc that manylinux2014 stands for.
_GLIBC = (2, 17)


@dataclass(frozen=True, slots=True)
class Built:
    """What one clone gave."""

    wheel: Path
    sdist: Path


class Report:
    """Tells of each check as it goes, on a line."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def check(self, name: str, look: Callable[[], T]) -> T | None:
        """What looking gave; None if that failed."""
        print(f"     {name} …", end="", flush=True)
        began = time.monotonic()
        try:
            found = look()
        except CheckError as error:
            self._tell("FAIL", name, began)
            print(f"     {error}".replace("\n", "\n     "), flush=True)
            self.failed.append(name)
            return None
        self._tell("ok", name, began, found if isinstance(found, str) else "")
        return found

    def _tell(self, verdict: str, name: str, began: float, found: str = "") -> None:
        told = f"{verdict:4} {name} ({time.monotonic() - began:.0f} s){f': {found}' if found else ''}"
        # Over what said that it was going on, where that is a terminal.
        print(f"\r{told}\x1b[K" if sys.stdout.isatty() else f"\n{told}", flush=True)


def check_release(root: Path, work: Path) -> list[str]:
    """Checks the commit that is checked out at `root`, in the empty directory `work`; the names of what failed."""
    report, log = Report(), work / "log.txt"
    log.touch()
    print(f"The words of compilers and pip go to {log}", flush=True)
    report.check("nothing is uncommitted", lambda: _clean(root))
    one, other = work / "one", work / "in" / "another" / "place"
    for clone in (one, other):
        run(["git", "clone", "--quiet", "--no-hardlinks", root, clone], cwd=work)
    report.check("one version in the tree, the lock and the changelog", lambda: _agree(one))
    built = report.check("wheel and sdist are built of a clean clone", lambda: _build(one, work / "dist", log))
    if built is None:
        return report.failed
    report.check("the wheel has the package, the server, and nothing else", lambda: _wheel_is_whole(one, built.wheel))
    report.check("the sdist has what the build needs, and nothing else", lambda: _sdist_is_whole(one, built.sdist))
    report.check("any Python 3 on manylinux takes the wheel", lambda: _tags(built.wheel))
    report.check("twine takes both", lambda: _twine(built, work))
    report.check("building has left the clone as it was", lambda: _clean(one))
    _use(report, one, built, work, log)
    report.check("a clone elsewhere gives the same bytes", lambda: _same(built, other, work, log))
    report.check("the sdist builds and runs, where there is Rust", lambda: _from_source(one, built.sdist, work, log))
    return report.failed


def _use(report: Report, clone: Path, built: Built, work: Path, log: Path) -> None:
    user = Installed(work / "user", rust=False, log=log)
    wheel = str(built.wheel)
    # Wheels only: nobody's compiler is asked for.
    installed = report.check("the wheel installs without Rust", lambda: user.pip("--only-binary", ":all:", wheel))
    if installed is None:
        return
    version = versions.stated(clone)
    report.check("client, metadata, command line and server tell that version", lambda: _all(version, user.versions()))
    report.check("a server on disk keeps what was written", user.keeps)
    examples = clone / "examples"
    with_dspy = report.check("it installs with DSPy", lambda: user.pip("--only-binary", ":all:", f"{wheel}[dspy]"))
    if with_dspy is not None:
        report.check("the quickstart runs", lambda: user.quickstart(examples))
        report.check("the README's program and commands do", lambda: user.readme(clone / "README.md", examples))


def _from_source(clone: Path, sdist: Path, work: Path, log: Path) -> str:
    user = Installed(work / "builder", rust=True, log=log)
    user.pip("--no-binary", "snakepit-bridge", str(sdist))
    return _all(versions.stated(clone), user.versions())


def _clean(root: Path) -> None:
    changed = run(["git", "status", "--porcelain"], cwd=root)
    if changed:
        raise CheckError(f"what is checked is the commit, and the tree has something else:\n{changed}")


def _agree(root: Path) -> str:
    other = versions.disagreeing(root)
    if other:
        raise CheckError(f"the top Cargo.toml says {versions.stated(root)}, but: {other}")
    return versions.stated(root)


def _build(clone: Path, out: Path, log: Path) -> Built:
    # Each clone's own: what another one has compiled must not be taken for its work.
    target = clone / "target"
    sdist = building.build_sdist(clone, out, target, log=log)
    return Built(building.build_wheel(clone, out, target, log=log), sdist)


def _wheel_is_whole(clone: Path, wheel: Path) -> str:
    found = archives.members(wheel)
    if any(b"SNAKEPIT_INJECT_FAULT" in content for content in found.values()):
        raise CheckError("the server in the wheel can have injected faults: it is not an optimised build")
    return _nothing(archives.difference(archives.expected_in_wheel(clone, versions.stated(clone)), found))


def _sdist_is_whole(clone: Path, sdist: Path) -> str:
    return _nothing(archives.difference(archives.expected_in_sdist(clone), archives.members(sdist)))


def _nothing(told: list[str]) -> str:
    if told:
        raise CheckError("\n".join(told))
    return ""


def _tags(wheel: Path) -> str:
    """Its name's, checked by auditwheel against the symbols that the binary takes from glibc."""
    if "-py3-none-manylinux2014_" not in wheel.name:
        raise CheckError(f"{wheel.name} is not for every Python 3 on manylinux2014")
    seen = json.loads(run([_beside("auditwheel"), "show", "--json", wheel], cwd=wheel.parent))
    found = [tuple(map(int, glibc)) for glibc in re.findall(r"GLIBC_(\d+)\.(\d+)", json.dumps(seen))]
    newest = max(found, default=(0, 0))
    if not (0, 0) < newest <= _GLIBC:
        raise CheckError(f"{wheel.name} takes symbols of glibc {newest}, and may of {_GLIBC} at the most: {seen}")
    return f"{wheel.name}, glibc {newest[0]}.{newest[1]}"


def _twine(built: Built, work: Path) -> None:
    run([_beside("twine"), "check", "--strict", built.wheel, built.sdist], cwd=work)


def _same(built: Built, clone: Path, work: Path, log: Path) -> str:
    again = _build(clone, work / "again", log)
    for one, other in ((built.wheel, again.wheel), (built.sdist, again.sdist)):
        if one.read_bytes() != other.read_bytes():
            differing = archives.unlike(archives.members(one), archives.members(other))
            raise CheckError(f"{one.name}: " + ("\n".join(differing) or "the files are alike, the archive is not"))
    return building.digest(built.wheel)


def _all(version: str, told: dict[str, str]) -> str:
    if set(told.values()) != {version}:
        raise CheckError(f"{version} is what all of these should say: {told}")
    return version


def _beside(tool: str) -> Path:
    return Path(sys.executable).with_name(tool)
