"""No space and I/O errors at every write and sync of a scenario: what was acknowledged stays, and nothing panics.

`--disk-errors 0` (or `make disk-errors`) tries every fault there is; the terminal summary says what came of it.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.disk.failing import Failing, Fault, summary
from tests.faults.disk.mounted import Mounted, needs_fuse


def test_no_error_of_the_disk_loses_what_was_acknowledged(
    server_binary: Path, tmp_path: Path, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    needs_fuse()
    wanted = pytestconfig.getoption("--disk-errors")
    with Mounted(tmp_path / "disk") as disk:
        failing = Failing(disk, server_binary, tmp_path)
        faults = failing.faults()
        step = max(len(faults) // wanted, 1) if wanted else 1
        try:
            # A spread, and another one each time.
            for fault in faults[random.randrange(step) :: step]:
                failing.run(fault)
        finally:
            record_property("disk errors", summary(failing.told))
    assert not failing.told.problems, "\n".join(failing.told.problems[:20])


def test_an_error_while_a_journal_is_made_never_makes_one_that_forgets(server_binary: Path, tmp_path: Path) -> None:
    needs_fuse()
    with Mounted(tmp_path / "disk") as disk:
        failing = Failing(disk, server_binary, tmp_path)
        operations = failing.operations()
        logged = operations.index("create journal.db-wal")
        opened = len(operations) - operations[::-1].index("sync data")
        # SQLite reports an error of the switch to the log only after its answer, and none at all of syncing the
        # directory then. Without the log, or its name, a power cut takes back what was acknowledged.
        for at, operation in enumerate(operations[:opened], 1):
            if operation.startswith("sync") or (at <= logged and "journal" in operation):
                failing.run(Fault(at, errno.EIO, onwards=False, killed=True, cut=True))
    assert not failing.told.problems, "\n".join(failing.told.problems)
    assert failing.told.unmade > 0
