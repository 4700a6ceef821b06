"""A mounted `tests.faults.disk.filesystem`, from the side of the tests, and the real server on it."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from tests.faults.disk.volume import Survived

# A file system that does not answer for so long is stuck, however busy the machine.
_PATIENCE = 120.0


def needs_fuse() -> None:
    """Skips the test, with the reason, where nothing can be mounted."""
    if not sys.platform.startswith("linux") or not Path("/dev/fuse").exists():
        pytest.skip("there is no /dev/fuse to mount a disk with")
    if os.geteuid() != 0:
        pytest.skip("only root may mount a disk here")
    try:
        import mfusepy  # noqa: F401
    except (ImportError, OSError) as error:
        pytest.skip(f"a disk cannot be mounted: {error}")


@dataclass
class Counted:
    """What a file system has counted.

    Attributes:
        seen: the operations since `arm` that its plan admitted, each a kind and a file's name.
        failed: those of them that have failed.
        checkpoints: how often a journal was synced since it was mounted.
    """

    seen: list[str]
    failed: list[str]
    checkpoints: int


class Mounted:
    """A disk whose power can be cut. Use it with `with`: then nothing stays mounted, and nothing runs on it."""

    def __init__(self, mountpoint: Path) -> None:
        self.path = mountpoint
        self.frozen = threading.Event()
        self.frozen_at = ""
        self._replies: queue.Queue[dict[str, Any]] = queue.Queue()
        self._serving: Serving | None = None

    def __enter__(self) -> Self:
        self.path.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "tests.faults.disk.filesystem", str(self.path)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3], text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        said = self._replies.get(timeout=_PATIENCE)
        if not said.get("mounted"):
            self.__exit__()
            if "mounted" in said:
                pytest.skip("the kernel lets nobody mount a disk here")
            raise AssertionError(f"the file system did not start: {said}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._serving is not None:
            self._serving.kill()
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # What was killed has unmounted nothing; and who still uses the disk must not keep it here.
        if os.path.ismount(self.path):
            subprocess.run(["umount", "--lazy", self.path], check=True)
        if self._serving is not None:
            self._serving.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            said = json.loads(line)
            if "frozen" in said:
                self.frozen_at = said["frozen"]
                self.frozen.set()
            else:
                self._replies.put(said)
        self._replies.put({"error": "the file system has ended"})

    def _ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        if self._process.stdin is None:
            raise AssertionError("its stdin is a pipe")
        self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        self._process.stdin.flush()
        reply = self._replies.get(timeout=_PATIENCE)
        if "done" not in reply:
            raise AssertionError(f"the file system refused {command}: {reply}")
        done: dict[str, Any] = reply["done"]
        return done

    def serve(
        self, binary: Path, data: Path, log: Path, *, listen: str = "127.0.0.1:0", env: Mapping[str, str] | None = None
    ) -> Serving:
        """Starts the real server on a directory of the disk, after the one before has ended."""
        self._serving = Serving(binary, data, log, listen, {**os.environ, **(env or {})})
        return self._serving

    def arm(self, at: int = 0, **plan: Any) -> None:
        """Counts from now on; at the `at`-th operation the disk freezes, or fails as the plan says."""
        self.frozen.clear()
        self.frozen_at = ""
        self._ask("arm", at=at, **plan)

    def freeze(self) -> None:
        """Has the next operation freeze, whatever it is."""
        self._ask("freeze")

    def heal(self) -> None:
        """From now on nothing fails."""
        self._ask("heal")

    def release(self) -> None:
        """Answers whoever waits with an error: only once they have been killed."""
        self._ask("release")

    def cut(self, seed: int, *, torn: bool, keeping: float | None = None) -> Survived:
        """Has the power gone and come back; `keeping` of what was not synced survives. Nobody may have files open."""
        return Survived(**self._ask("cut", seed=seed, torn=torn, keeping=keeping))

    def remove(self, directory: Path) -> None:
        """Removes a directory for good: no power cut brings it back."""
        shutil.rmtree(directory)
        root = os.open(self.path, os.O_RDONLY)
        os.fsync(root)
        os.close(root)

    def counted(self) -> Counted:
        """What has been counted."""
        return Counted(**self._ask("counted"))


class Serving:
    """The real server on a directory of the disk; what it says on stderr is kept."""

    def __init__(self, binary: Path, data: Path, log: Path, listen: str, env: Mapping[str, str]) -> None:
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [binary, "serve", "--data-dir", data, "--listen", listen, "--until-stdin-closes"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=dict(env),
                start_new_session=True,
            )
        self._listening: str | None = None

    def address(self) -> str | None:
        """Where it listens, once it does; None if it has ended before, or has to be given up."""
        if self._listening is None and self.process.stdout is not None:
            given_up = threading.Timer(_PATIENCE, self.process.kill)
            given_up.start()
            try:
                self._listening = self.process.stdout.readline().decode().removeprefix("listening on ").strip()
            finally:
                given_up.cancel()
        return self._listening or None

    def kill(self) -> None:
        self.process.kill()

    def ask_to_stop(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        code = self.process.wait(_PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        return code

    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def panicked(self) -> bool:
        return "panicked at" in self.said()
