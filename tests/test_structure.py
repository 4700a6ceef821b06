"""The tree stays easy to find one's way in: folders and files are small, and no module imports its own package."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path, PurePosixPath

import grimp

ROOT = Path(__file__).parents[1]
MOST_FILES, MOST_LINES, WITHOUT_DOCSTRING = 20, 500, 60
GENERATED = PurePosixPath("snakepit_bridge/v1")


def sources(*folders: str) -> list[PurePosixPath]:
    """The tracked Python and Rust files that people write."""
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [PurePosixPath(line) for line in listed.stdout.splitlines()]
    there = [path for path in paths if path.suffix in {".py", ".rs"} and (ROOT / path).is_file()]
    return [path for path in there if GENERATED not in path.parents]


def lines_of(path: PurePosixPath) -> list[str]:
    return (ROOT / path).read_text(encoding="utf-8").splitlines()


def test_no_product_folder_has_too_many_files() -> None:
    files = [path for path in sources("snakepit_bridge", "server_rs") if "tests" not in path.parts]
    counts = Counter(path.parent for path in files)
    assert {str(folder): count for folder, count in counts.items() if count > MOST_FILES} == {}


def test_no_file_is_too_long() -> None:
    long = {path: length for path in sources() if (length := len(lines_of(path))) > MOST_LINES}
    assert {str(path): length for path, length in long.items()} == {}


def test_every_python_file_of_some_length_opens_with_what_it_is_for() -> None:
    files = [path for path in sources() if path.suffix == ".py"]
    told = {str(path): lines for path in files if len(lines := lines_of(path)) > WITHOUT_DOCSTRING}
    assert [path for path, lines in told.items() if not lines[0].startswith(('"""', 'r"""'))] == []


def test_no_module_imports_the_package_that_it_is_in() -> None:
    # import-linter compares siblings only. The plugin imports the package when a test asks for a server.
    graph = grimp.build_graph("snakepit_bridge", cache_dir=None)
    upward = {
        (module, imported)
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
        if module.startswith(f"{imported}.")
    }
    assert upward == {("snakepit_bridge.pytest_plugin", "snakepit_bridge")}
