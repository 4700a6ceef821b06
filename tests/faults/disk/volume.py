"""What a disk holds, what of it is durable, and what a power cut may make of the rest.

This is the worst that Linux's ext4 and xfs allow, and somewhat more, so that whoever survives here survives there:

- **fsync and fdatasync of a file** make its content and its size durable, as of then. Nothing else does. They say
  nothing about its name: ext4 and xfs keep the name of a new file that was synced, but POSIX does not ask for it.
- **fsync of a directory** makes the names in it durable: what was created, removed, renamed. Nothing else does.
- **What was not synced** survives in any combination. A write or truncation may be there though an earlier one is not:
  the kernel writes pages back as it likes, and sizes are recorded apart from data. ext4 and xfs keep *metadata* in
  order, at least; here each change of a directory stands for itself. A rename survives whole or not at all.
- **A size without its data**: a file may have grown by a write whose bytes have not arrived; they read as zeros.
- **A torn write**: sectors of 512 bytes arrive one by one, in any order, each whole. So a part of a write arrives: up
  to some sector, or some sectors of it. What shares a sector with a write but is not part of it stays as it is: SQLite
  relies on that (`SQLITE_POWERSAFE_OVERWRITE`), and disks promise it.
- **A failed fsync** loses what it was to make durable: the kernel marks the pages as clean, reads go on returning them,
  and no later fsync writes them. Who asked hears of it, and nobody after. A directory's changes are only not durable
  yet: they are in the file system's own journal.

Permissions and times are durable at once; nothing depends on them. Locks are the kernel's, and end with a process.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

SECTOR = 512


class VolumeError(OSError):
    """What a system call is answered."""

    def __init__(self, code: int) -> None:
        super().__init__(code, errno.errorcode[code])


@dataclass(slots=True)
class Change:
    """A write, or without data a truncation to `offset`.

    Attributes:
        lost: whether a failed fsync has lost it.
    """

    offset: int
    data: bytes | None
    lost: bool = False

    def apply(self, content: bytearray) -> None:
        if self.data is None:
            del content[self.offset :]
        content.extend(bytes(max(self.offset - len(content), 0)))
        if self.data is not None:
            content[self.offset : self.offset + len(self.data)] = self.data


@dataclass(eq=False, slots=True)
class File:
    """A file: what processes see, what is durable, and the changes that lead from the one to the other."""

    mode: int
    live: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)

    def change(self, change: Change) -> None:
        change.apply(self.live)
        self.pending.append(change)

    def sync(self) -> None:
        for change in self.pending:
            if not change.lost:
                change.apply(self.durable)
        self.pending = [change for change in self.pending if change.lost]

    def fail_to_sync(self) -> None:
        for change in self.pending:
            change.lost = True

    def survive(self, content: bytearray) -> None:
        self.live, self.durable, self.pending = content, bytearray(content), []


@dataclass(eq=False, slots=True)
class Directory:
    """A directory, likewise. A change gives names a new meaning, or none."""

    mode: int
    live: dict[str, Node] = field(default_factory=dict)
    durable: dict[str, Node] = field(default_factory=dict)
    pending: list[dict[str, Node | None]] = field(default_factory=list)

    def change(self, change: dict[str, Node | None]) -> None:
        _rename(self.live, change)
        self.pending.append(change)

    def sync(self) -> None:
        for change in self.pending:
            _rename(self.durable, change)
        self.pending.clear()

    def survive(self, entries: dict[str, Node]) -> None:
        self.live, self.durable, self.pending = entries, dict(entries), []


Node = File | Directory


def _rename(entries: dict[str, Node], change: dict[str, Node | None]) -> None:
    for name, node in change.items():
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


@dataclass
class Survived:
    """What became of what was not synced, in bytes and in changes of directories."""

    kept: int = 0
    dropped: int = 0
    torn: int = 0
    names_kept: int = 0
    names_dropped: int = 0


class Volume:
    """A tree of files and directories."""

    def __init__(self) -> None:
        self.root = Directory(0o755)

    def find(self, path: str) -> Node:
        node: Node = self.root
        for name in filter(None, path.split("/")):
            if isinstance(node, File):
                raise VolumeError(errno.ENOTDIR)
            if name not in node.live:
                raise VolumeError(errno.ENOENT)
            node = node.live[name]
        return node

    def directory(self, path: str) -> Directory:
        node = self.find(path)
        if isinstance(node, File):
            raise VolumeError(errno.ENOTDIR)
        return node

    def nodes(self) -> Iterator[Node]:
        """Every node that is there, or is there again if the removal of its name does not survive."""
        seen: set[int] = set()
        waiting: list[Node] = [self.root]
        while waiting:
            node = waiting.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            yield node
            if isinstance(node, Directory):
                waiting += [*node.live.values(), *node.durable.values()]

    def cut(self, seed: int, *, torn: bool, keeping: float | None = None) -> Survived:
        """Takes the power away and brings it back: from now on all that is there is durable."""
        chance, survived = random.Random(seed), Survived()
        if keeping is None:
            # Nothing, all, and in between: a cut before the disk began to write back, after it has, and meanwhile.
            keeping = chance.choice([0.0, 1.0, 0.5, chance.random(), chance.random()])
        for node in list(self.nodes()):
            if isinstance(node, Directory):
                entries = dict(node.durable)
                for renamed in node.pending:
                    if chance.random() < keeping:
                        _rename(entries, renamed)
                        survived.names_kept += 1
                    else:
                        survived.names_dropped += 1
                node.survive(entries)
            else:
                content = bytearray(node.durable)
                for change in node.pending:
                    _survive(change, content, chance, keeping, survived, torn=torn)
                node.survive(content)
        return survived


def _survive(
    change: Change, content: bytearray, chance: random.Random, keeping: float, survived: Survived, *, torn: bool
) -> None:
    size = len(change.data or b"")
    if torn and not change.lost and change.data and chance.random() < 0.5:
        survived.torn += size
        for piece in _pieces(change.offset, change.data, chance):
            piece.apply(content)
    elif not change.lost and chance.random() < keeping:
        survived.kept += size
        change.apply(content)
    else:
        survived.dropped += size
        if change.data and change.offset + size > len(content) and chance.random() < 0.25:
            content.extend(bytes(change.offset + size - len(content)))


def _pieces(offset: int, data: bytes, chance: random.Random) -> list[Change]:
    """A part of a write: as far as some sector, from some sector on, or some sectors of it."""
    inner = range((offset // SECTOR + 1) * SECTOR, offset + len(data), SECTOR)
    bounds = [offset, *inner, offset + len(data)]
    sectors = [Change(start, data[start - offset : end - offset]) for start, end in pairwise(bounds)]
    at = chance.randrange(len(sectors) + 1)
    match chance.randrange(3):
        case 0:
            return sectors[:at]
        case 1:
            return sectors[at:]
        case _:
            return [sector for sector in sectors if chance.random() < 0.5]
