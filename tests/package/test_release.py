"""What makes a commit a release, as far as that can be seen without building one: `make release-check` does."""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from tools.release import archives, versions
from tools.release.processes import CheckError, run, without_rust

ROOT = Path(__file__).parents[2]
STATED = versions.stated(ROOT)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What tells of versions in this tree, to be changed."""
    manifests = [path.relative_to(ROOT) for path in ROOT.glob("*/**/Cargo.toml") if "target" not in path.parts]
    for path in (*manifests, Path("Cargo.toml"), Path("Cargo.lock"), Path("CHANGELOG.md")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    return tmp_path


def test_one_version_stands_in_the_whole_tree(tree: Path) -> None:
    assert versions.disagreeing(ROOT) == {}
    assert versions.disagreeing(tree) == {}


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("CHANGELOG.md", f"## {STATED}", "## 7.7.7", {"CHANGELOG.md": "7.7.7"}),
        (
            "Cargo.lock",
            f'name = "rust_host"\nversion = "{STATED}"',
            'name = "rust_host"\nversion = "7.7.7"',
            {"Cargo.lock, rust_host": "7.7.7"},
        ),
        (
            "server_rs/server/Cargo.toml",
            "version.workspace = true",
            'version = "7.7.7"',
            {"Cargo.toml of snakepit_server": "7.7.7"},
        ),
    ],
)
def test_a_place_with_another_version_is_named(tree: Path, file: str, old: str, new: str, told: dict[str, str]) -> None:
    text = (tree / file).read_text(encoding="utf-8")
    assert old in text
    (tree / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    found = versions.disagreeing(tree)
    assert found.items() >= told.items()


def test_another_version_stated_is_one_that_the_lock_and_the_changelog_do_not_have(tree: Path) -> None:
    text = (tree / "Cargo.toml").read_text(encoding="utf-8")
    (tree / "Cargo.toml").write_text(text.replace(f'version = "{STATED}"', 'version = "7.7.7"'), encoding="utf-8")
    crates = {f"Cargo.lock, {name}": STATED for name in versions.of_members(ROOT)}
    assert versions.disagreeing(tree) == {"CHANGELOG.md": STATED} | crates


def test_what_a_wheel_lacks_or_has_too_much_is_named(tmp_path: Path) -> None:
    wheel = tmp_path / "snakepit_bridge-1.whl"
    wanted = archives.expected_in_wheel(ROOT, "1")
    assert {"snakepit_bridge/py.typed", "snakepit_bridge-1.data/scripts/snakepit"} <= wanted
    with zipfile.ZipFile(wheel, "w") as written:
        for name in wanted - {"snakepit_bridge/py.typed"}:
            written.writestr(name, name)
        written.writestr("tests/package/test_release.py", "")
    found = archives.members(wheel)
    assert archives.difference(wanted, found) == ["- snakepit_bridge/py.typed", "+ tests/package/test_release.py"]


def test_two_archives_are_told_apart_by_file_and_byte() -> None:
    one = {"same": b"same", "other": b"abcd", "longer": b"abcd", "gone": b""}
    other = {"same": b"same", "other": b"abXd", "longer": b"abc", "new": b""}
    assert archives.unlike(one, one) == []
    assert archives.unlike(one, other) == ["- gone", "+ new", "longer from byte 3 of 4", "other from byte 2 of 4"]


def test_a_program_that_fails_or_ought_to_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    fails = [sys.executable, "-c", "print('why'); raise SystemExit(3)"]
    with pytest.raises(CheckError, match="why"):
        run(fails, cwd=tmp_path, log=log)
    assert log.read_text(encoding="utf-8") == "why\n"
    assert run(fails, cwd=tmp_path, refused=True) == "why\n"
    with pytest.raises(CheckError):
        run([sys.executable, "-c", ""], cwd=tmp_path, refused=True)
    with pytest.raises(CheckError, match="no program"):
        run(["cargo"], cwd=tmp_path, env={"PATH": str(tmp_path)})


def test_there_is_no_rust_where_a_wheel_is_installed(tmp_path: Path) -> None:
    (tmp_path / "cargo").touch(mode=0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    assert shutil.which("cargo", path=path) is not None
    assert shutil.which("cargo", path=without_rust(path)) is None
    assert shutil.which("rustc", path=without_rust(path)) is None
