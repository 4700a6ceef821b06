"""Writers and watchers while the server is killed and started again on its directory, and what has to be true then."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from time import perf_counter, sleep

from snakepit_bridge import LocalServer, SessionContext
from snakepit_bridge._variables.changes import Change
from snakepit_bridge.exceptions import BridgeError, ServerStartError


@dataclass
class Seen:
    """What writers and watchers saw.

    Attributes:
        counted: of each writer, the numbers that its acknowledged increments returned, in order.
        given: who was told of each revision for an increment of theirs.
        unknown: of each writer, how many increments ended without an answer.
        watched: of each watcher, every change, in order.
        final: each variable's value in the end.
        reopening: how long each start of the server took, in seconds.
    """

    counted: dict[str, list[int]] = field(default_factory=dict)
    given: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    unknown: dict[str, int] = field(default_factory=dict)
    watched: list[list[Change]] = field(default_factory=list)
    final: dict[str, int] = field(default_factory=dict)
    reopening: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def write_while_crashing(
    start: Callable[..., LocalServer],
    directory: Path,
    *,
    crashes: int,
    writers: int = 8,
    watchers: int = 3,
    patience: float = 60,
) -> Seen:
    """Kills the server that many times, each time somewhere in the middle of what the writers do.

    A write that is not answered within `patience` seconds never is, and a watch that has not seen the last state never
    will.
    """
    seen, over = Seen(), threading.Event()
    # Opening a session is not what is tried here, and the first crash comes soon.
    opened = threading.Barrier(writers + watchers + 1, timeout=60)
    server = start(data_dir=directory)
    address = server.address
    names = [f"n{index}" for index in range(writers)]

    def writer(name: str) -> None:
        with SessionContext.connect(address, session_id="s", create=False, timeout=patience) as ctx:
            opened.wait()
            while not over.is_set():
                try:
                    seen.counted[name].append(ctx.increment(name))
                    # It does nothing else, so this is what the increment was answered.
                    seen.given[ctx.revision].append(name)
                except BridgeError:
                    seen.unknown[name] += 1

    def watcher(changes: list[Change]) -> None:
        last = dict.fromkeys(names, -1)
        try:
            with SessionContext.connect(address, session_id="s", create=False, timeout=60) as ctx:
                opened.wait()
                for change in ctx.watch_variables("n*"):
                    changes.append(change)
                    last[change.name] = change.value
                    if seen.final == last:
                        return
        except BridgeError as error:
            seen.wrong.append(f"a watch ended: {error!r}")

    with SessionContext.connect(address, session_id="s", timeout=60) as ctx:
        for name in names:
            ctx.register_variable(name, "integer", 0)
            seen.counted[name], seen.unknown[name] = [], 0
        seen.watched = [[] for _ in range(watchers)]
        watching = [threading.Thread(target=watcher, args=(changes,), daemon=True) for changes in seen.watched]
        writing = [threading.Thread(target=writer, args=(name,)) for name in names]
        for thread in [*watching, *writing]:
            thread.start()
        opened.wait()
        try:
            _crash(server, start, directory, crashes, seen)
        except ServerStartError as error:
            seen.wrong.append(f"the server did not start again: {error}")
        finally:
            over.set()
        for thread in writing:
            thread.join()
        if seen.wrong:
            return seen
        # One more change of each, so that every watcher gets to know of the end.
        try:
            seen.final = {name: value + 1 for name, value in ctx.get_variables(names).items()}
        except BridgeError as error:
            seen.wrong.append(f"the last state cannot be read: {error!r}")
            return seen
        for name in names:
            ctx.increment(name)
        for thread in watching:
            thread.join(patience)
        if any(thread.is_alive() for thread in watching):
            seen.wrong.append("a watch never saw the last state")
    return seen


def _crash(server: LocalServer, start: Callable[..., LocalServer], directory: Path, crashes: int, seen: Seen) -> None:
    """Lets the server work for a moment, kills it and starts another in its place, that many times."""
    address = server.address
    for _ in range(crashes):
        sleep(random.uniform(0.05, 0.4))
        os.kill(server.pid, signal.SIGKILL)
        server.close()
        begun = perf_counter()
        server = start(listen=address, data_dir=directory)
        seen.reopening.append(perf_counter() - begun)


def problems(seen: Seen) -> list[str]:
    """What is not as it has to be."""
    found = list(seen.wrong)
    for name, counted in seen.counted.items():
        unknown = seen.unknown[name]
        # Each acknowledged increment returned a number of its own, above the one before it.
        found += [f"{name}: {after} came after {before}" for before, after in pairwise(counted) if after <= before]
        if not seen.final:
            continue
        missing = seen.final[name] - 1 - len(counted)
        if missing < 0:
            found.append(f"{name}: {-missing} acknowledged increments are lost")
        if missing > unknown:
            found.append(f"{name}: {missing - unknown} increments were applied twice")
    found += [f"revision {revision} was given to {who}" for revision, who in seen.given.items() if len(who) > 1]
    for changes in seen.watched:
        last: dict[str, int] = {}
        revision = 0
        for change in changes:
            if change.gap:
                found.append(f"a watch had a gap before {change}")
            if change.kind != "initial" and change.value != last[change.name] + 1:
                found.append(f"a watch saw {change.name} = {change.value} after {last[change.name]}")
            if change.kind != "initial" and change.revision <= revision:
                found.append(f"a watch saw revision {change.revision} after {revision}")
            last[change.name], revision = change.value, change.revision
    return found


def summary(seen: Seen) -> str:
    """The figures, in a line."""
    acknowledged = sum(map(len, seen.counted.values()))
    changes = sum(map(len, seen.watched))
    return (
        f"{len(seen.reopening):,} crashes, {acknowledged:,} increments acknowledged, {sum(seen.unknown.values()):,} "
        f"without an answer, {changes:,} changes watched; reopening took at most {max(seen.reopening) * 1000:.0f} ms"
    )
