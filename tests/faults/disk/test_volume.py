"""What the disk of these tests keeps through a power cut, and what it may lose."""

from __future__ import annotations

import pytest

from tests.faults.disk.volume import SECTOR, Change, Directory, File, Survived, Volume

SEEDS = range(200)


def a_file(volume: Volume, *, named: bool = True) -> File:
    """A file whose first sectors are durable; also its name, if asked for."""
    file = File(0o600)
    volume.root.change({"file": file})
    if named:
        volume.root.sync()
    file.change(Change(0, b"a" * 3 * SECTOR))
    file.sync()
    return file


def after_a_cut(seed: int, *, torn: bool, keeping: float | None = None) -> tuple[bytes, Survived]:
    """What a file holds of which some sectors were synced, then overwritten and extended."""
    volume = Volume()
    file = a_file(volume)
    file.change(Change(100, b"b" * 2 * SECTOR))
    file.change(Change(3 * SECTOR, b"c" * SECTOR))
    survived = volume.cut(seed, torn=torn, keeping=keeping)
    assert file.live == file.durable
    return bytes(file.live), survived


def test_what_was_synced_survives_whatever_else_does() -> None:
    for seed in SEEDS:
        content, survived = after_a_cut(seed, torn=seed % 2 == 1)
        assert content[:100] == b"a" * 100
        assert content[100 + 2 * SECTOR : 3 * SECTOR] == b"a" * (SECTOR - 100)
        assert survived.kept + survived.dropped + survived.torn == 3 * SECTOR


def test_unsynced_writes_survive_each_for_itself() -> None:
    outcomes = {after_a_cut(seed, torn=False)[0] for seed in SEEDS}
    # Neither, the first, the second with or without the first, and a size whose data has not arrived.
    assert {(b"b" in it, b"c" in it) for it in outcomes} == {(False, False), (True, False), (False, True), (True, True)}
    assert any(it.endswith(bytes(SECTOR)) for it in outcomes)


def test_torn_writes_arrive_in_whole_sectors() -> None:
    partly = 0
    for seed in SEEDS:
        content, _ = after_a_cut(seed, torn=True)
        arrived = [
            content[start:end] for start, end in ((100, SECTOR), (SECTOR, 2 * SECTOR), (2 * SECTOR, 2 * SECTOR + 100))
        ]
        assert all(len(set(piece)) == 1 for piece in arrived), "within a sector a write is there or not"
        partly += len(set(b"".join(arrived))) > 1
    assert partly > 0


def test_a_cut_can_keep_nothing_and_everything() -> None:
    assert {after_a_cut(seed, torn=False, keeping=0.0)[0].rstrip(b"\0") for seed in SEEDS} == {b"a" * 3 * SECTOR}
    assert len({after_a_cut(seed, torn=False, keeping=1.0)[0] for seed in SEEDS}) == 1


def test_a_name_survives_only_a_sync_of_its_directory() -> None:
    volume = Volume()
    a_file(volume, named=False)
    volume.cut(0, torn=False, keeping=0.0)
    assert volume.root.live == {}
    directory = Directory(0o700)
    volume.root.change({"directory": directory})
    volume.root.sync()
    directory.change({"old": File(0o600)})
    directory.sync()
    directory.change({"old": None, "new": directory.live["old"]})
    volume.cut(0, torn=False, keeping=0.0)
    assert list(directory.live) == ["old"]


def test_a_failed_sync_loses_what_it_was_to_keep_and_later_ones_do_not_bring_it_back() -> None:
    volume = Volume()
    file = a_file(volume)
    file.change(Change(0, b"b"))
    file.fail_to_sync()
    file.change(Change(1, b"c"))
    file.sync()
    assert file.live[:3] == b"bca"
    volume.cut(0, torn=False, keeping=1.0)
    assert file.live[:3] == b"aca"


@pytest.mark.parametrize("size", [0, 700])
def test_a_truncation_may_be_there_without_the_write_before_it(size: int) -> None:
    sizes = set()
    for seed in SEEDS:
        volume = Volume()
        file = a_file(volume)
        file.change(Change(0, b"b"))
        file.change(Change(size, None))
        volume.cut(seed, torn=False)
        sizes.add((len(file.live), bytes(file.live[:1])))
    assert sizes >= {(size, b"a"[:size]), (3 * SECTOR, b"b"), (3 * SECTOR, b"a")}
