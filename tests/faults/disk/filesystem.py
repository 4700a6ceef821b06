"""A file system whose power can be cut, and which can be told to fail.

`python -m tests.faults.disk.filesystem MOUNTPOINT` mounts it.

It keeps a `Volume` in memory and serves it through FUSE, one request after the other. On stdin it takes one command a
line, as JSON, and answers each with one line; it also says when it is mounted and when it has frozen. It ends when
stdin does, and then nothing is left mounted.

| command | does |
|---|---|
| `arm` | from now on counts changes and syncs, and at the `at`-th that `files` and `kinds` admit freezes or fails |
| `freeze` | freezes at the next change or sync, whatever was planned |
| `heal` | nothing fails any more |
| `release` | after it has frozen: whoever waits is answered with an error, and so is all that follows |
| `cut` | takes the power away and brings it back |
| `counted` | tells what has been counted since `arm`, and what has failed |
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import stat
import sys
import threading
from dataclasses import asdict, dataclass, field
from typing import Any

import mfusepy

from tests.faults.disk.volume import Change, Directory, File, Node, Volume, VolumeError

# What fuse_main answers if the kernel refuses the mount.
_NOT_MOUNTED = 4


@dataclass
class Plan:
    """When to freeze, or to fail with which error. An empty choice of files or kinds admits all.

    Attributes:
        at: which of the operations, from 1; 0: none, they are only counted.
        error: the errno to fail with; 0: freeze.
        onwards: whether all that follow fail too; of a full disk only those of the same kind: it can still be synced.
    """

    at: int = 0
    files: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    error: int = 0
    onwards: bool = False
    seen: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    healed: bool = False

    def admits(self, kind: str, name: str) -> bool:
        return (not self.files or name in self.files) and (not self.kinds or kind in self.kinds)

    def fails(self, kind: str, count: int) -> bool:
        if not self.at or not self.error or self.healed:
            return False
        if count <= self.at or not self.onwards:
            return count == self.at
        return self.error != errno.ENOSPC or kind == self.failed[0].partition(" ")[0]


class FileSystem(mfusepy.Operations):
    """The volume, as FUSE asks for it."""

    use_ns = True

    def __init__(self) -> None:
        self.volume = Volume()
        self._mutex = threading.Lock()
        self.plan = Plan()
        self.dead = False
        self.checkpoints = 0
        self.released = threading.Event()
        self._handles: dict[int, Node] = {}
        self._next = itertools.count(1)

    def init(self, path: str) -> None:
        say({"mounted": True})

    def _step(self, kind: str, path: str, node: Node | None = None) -> bool:
        """What comes of an operation that changes or syncs: whether it is done, or nobody will know; or an error."""
        plan, name = self.plan, path.rpartition("/")[2]
        if self.dead:
            raise VolumeError(errno.EIO)
        if not plan.admits(kind, name):
            return True
        plan.seen.append(f"{kind} {name}")
        count = len(plan.seen)
        if plan.fails(kind, count):
            plan.failed.append(f"{kind} {name}")
            if kind == "sync" and isinstance(node, File):
                node.fail_to_sync()
            raise VolumeError(plan.error)
        return not (plan.at and not plan.error and count == plan.at)

    def _freeze(self) -> None:
        """The power is off from here on; the processes are to be killed before anything is answered."""
        self.dead = True
        say({"frozen": self.plan.seen[-1]})
        self._mutex.release()
        try:
            self.released.wait()
        finally:
            self._mutex.acquire()
        raise VolumeError(errno.EIO)

    def freeze_at_next(self) -> None:
        self.plan.files, self.plan.kinds, self.plan.at = [], [], len(self.plan.seen) + 1

    def _open(self, node: Node) -> int:
        handle = next(self._next)
        self._handles[handle] = node
        return handle

    def _parent(self, path: str) -> tuple[Directory, str]:
        head, _, name = path.rpartition("/")
        return self.volume.directory(head), name

    def _enter(self, kind: str, path: str, entries: dict[str, Node | None]) -> None:
        goes_on = self._step(kind, path)
        self._parent(path)[0].change(entries)
        if not goes_on:
            self._freeze()

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        with self._mutex:
            node = self._handles[fh] if fh else self.volume.find(path)
            if isinstance(node, Directory):
                return {"st_mode": stat.S_IFDIR | node.mode, "st_nlink": 2}
            size = len(node.live)
            return {
                "st_mode": stat.S_IFREG | node.mode,
                "st_nlink": 1,
                "st_size": size,
                "st_blocks": -(-size // 512),
                "st_uid": os.getuid(),
            }

    def readdir(self, path: str, fh: int) -> list[str]:
        with self._mutex:
            return [".", "..", *self.volume.directory(path).live]

    def mkdir(self, path: str, mode: int) -> int:
        with self._mutex:
            self._enter("create", path, {self._parent(path)[1]: Directory(mode & 0o777)})
        return 0

    def create(self, path: str, mode: int, flags: int) -> int:
        with self._mutex:
            node = File(mode & 0o777)
            self._enter("create", path, {self._parent(path)[1]: node})
            return self._open(node)

    def unlink(self, path: str) -> int:
        with self._mutex:
            self._enter("remove", path, {self._parent(path)[1]: None})
        return 0

    rmdir = unlink

    def rename(self, old: str, new: str) -> int:
        with self._mutex:
            (source, before), (target, after) = self._parent(old), self._parent(new)
            if source is not target:
                raise VolumeError(errno.EXDEV)
            self._enter("rename", new, {before: None, after: source.live[before]})
        return 0

    def open(self, path: str, flags: int) -> int:
        with self._mutex:
            return self._open(self.volume.find(path))

    def release(self, path: str, fh: int) -> int:
        with self._mutex:
            self._handles.pop(fh, None)
        return 0

    def _file(self, path: str, fh: int | None) -> File:
        node = self._handles[fh] if fh else self.volume.find(path)
        if isinstance(node, Directory):
            raise VolumeError(errno.EISDIR)
        return node

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        with self._mutex:
            return bytes(self._file(path, fh).live[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        with self._mutex:
            self._change("write", path, fh, Change(offset, data))
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        with self._mutex:
            self._change("truncate", path, fh, Change(length, None))
        return 0

    def _change(self, kind: str, path: str, fh: int | None, change: Change) -> None:
        node = self._file(path, fh)
        goes_on = self._step(kind, path, node)
        node.change(change)
        if not goes_on:
            self._freeze()

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        with self._mutex:
            node = self._handles[fh] if fh in self._handles else self.volume.find(path)
            if not self._step("sync", path, node):
                self._freeze()
            node.sync()
            self.checkpoints += path.endswith("/journal.db")
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        with self._mutex:
            node = self.volume.directory(path)
            if not self._step("sync", path, node):
                self._freeze()
            node.sync()
        return 0

    def chmod(self, path: str, mode: int) -> int:
        with self._mutex:
            self.volume.find(path).mode = mode & 0o777
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        return {"f_bsize": 4096, "f_frsize": 4096, "f_blocks": 1 << 24, "f_bfree": 1 << 23, "f_bavail": 1 << 23}

    def command(self, asked: dict[str, Any]) -> dict[str, Any]:
        with self._mutex:
            match asked.pop("command"):
                case "arm":
                    self.plan = Plan(**asked)
                case "freeze":
                    self.freeze_at_next()
                case "heal":
                    self.plan.healed = True
                case "release":
                    self.dead = True
                    self.released.set()
                case "cut":
                    survived = self.volume.cut(**asked)
                    self.plan, self.dead = Plan(), False
                    self.released.clear()
                    return asdict(survived)
                case "counted":
                    return {"seen": self.plan.seen, "failed": self.plan.failed, "checkpoints": self.checkpoints}
                case unknown:
                    raise ValueError(unknown)
        return {}

    def take_commands(self) -> None:
        for line in sys.stdin:
            try:
                say({"done": self.command(json.loads(line))})
            except Exception as error:
                say({"error": repr(error)})
        self.dead = True
        self.released.set()
        os.kill(os.getpid(), signal.SIGTERM)


def say(what: dict[str, Any]) -> None:
    # In one write, because two threads speak.
    os.write(1, json.dumps(what).encode() + b"\n")


def main() -> None:
    """Serves until stdin ends."""
    served = FileSystem()
    threading.Thread(target=served.take_commands, daemon=True).start()
    # The kernel keeps neither names nor sizes: after a cut they are others.
    uncached = {"attr_timeout": 0, "entry_timeout": 0, "negative_timeout": 0}
    try:
        mfusepy.FUSE(served, sys.argv[1], foreground=True, nothreads=True, hard_remove=True, **uncached)
    except RuntimeError as error:
        # libfuse calls it an error, too, that a signal has ended it.
        if error.args == (_NOT_MOUNTED,):
            say({"mounted": False})


if __name__ == "__main__":
    main()
