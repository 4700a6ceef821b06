"""The mirror's laws: only upwards, by merging replies into what they answered to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from snakepit_bridge._variables.mirror import Feed, Mirror, Snapshot, known, merge
from snakepit_bridge._variables.values import encode
from snakepit_bridge.v1 import variable_pb2 as pb

_LIFE, _NEXT_LIFE = b"1" * 16, b"2" * 16
_NAMES = "abcd"

# A session's history: at each revision, one variable gets a value or (None) is deleted.
_HISTORIES = st.lists(st.tuples(st.sampled_from(_NAMES), st.none() | st.integers(0, 9)), max_size=12)


def _state_at(history: list[tuple[str, int | None]], revision: int) -> dict[str, int]:
    state: dict[str, int] = {}
    for name, value in history[:revision]:
        if value is None:
            state.pop(name, None)
        else:
            state[name] = value
    return state


def _reply(
    history: list[tuple[str, int | None]], revision: int, base: Snapshot | None, names: frozenset[str]
) -> pb.SyncVariablesResponse:
    """What a server says, by the contract in variable.proto."""
    base, old, new = known(base, names)
    state = _state_at(history, revision)
    moved = {name for name, _ in history[0 if base is None else base.revision : revision]}
    asked = names if base is None else (old & moved) | new
    return pb.SyncVariablesResponse(
        revision=revision,
        incarnation=_LIFE,
        full=base is None,
        changed=[pb.VariableState(name=name, value=encode(state[name])) for name in sorted(asked & state.keys())],
        absent=sorted(asked - state.keys()),
    )


def _values(snapshot: Snapshot) -> dict[str, int]:
    return {name: state.value for name, state in snapshot.variables.items()}


@given(_HISTORIES, st.data())
def test_replies_in_any_order_leave_the_state_of_their_revision(
    history: list[tuple[str, int | None]], data: st.DataObject
) -> None:
    mirror = Mirror()
    pending: list[tuple[Snapshot | None, frozenset[str], pb.SyncVariablesResponse]] = []
    for _ in range(data.draw(st.integers(1, 12))):
        if data.draw(st.booleans()):
            mirror.track(data.draw(st.sets(st.sampled_from(_NAMES))))
        names = mirror.tracked
        least = mirror.newest.revision if mirror.newest else 0
        revision = data.draw(st.integers(least, max(least, len(history))))
        pending.append((mirror.newest, names, _reply(history, revision, mirror.newest, names)))
        for base, asked, reply in data.draw(st.permutations(pending))[: data.draw(st.integers(0, len(pending)))]:
            before = mirror.newest
            candidate = merge("s", known(base, asked)[0], asked, [reply])
            expected = _state_at(history, candidate.revision)
            assert _values(candidate) == {name: expected[name] for name in asked & expected.keys()}
            mirror.install(candidate, base)
            assert mirror.newest is not None
            assert before is None or mirror.newest.revision >= before.revision
            taken = mirror.newer_than(candidate)
            assert taken.revision >= candidate.revision
            assert taken.names >= asked
            pending = [kept for kept in pending if kept[2] is not reply]


def _snapshot(revision: int, names: str = "a", incarnation: bytes = _LIFE) -> Snapshot:
    return Snapshot("s", incarnation, revision, {}, frozenset(names))


def test_a_reply_that_moves_nothing_leaves_the_very_same_snapshot() -> None:
    base = _snapshot(3)
    assert merge("s", base, base.names, [pb.SyncVariablesResponse(revision=3, incarnation=_LIFE)]) is base
    moved = merge("s", base, base.names, [pb.SyncVariablesResponse(revision=4, incarnation=_LIFE)])
    assert moved.revision == 4
    assert moved.variables is base.variables


def test_parts_are_merged_as_one() -> None:
    parts = [
        pb.SyncVariablesResponse(
            revision=5, incarnation=_LIFE, full=True, changed=[pb.VariableState(name=name, value=encode(1))]
        )
        for name in "ab"
    ]
    assert _values(merge("s", None, frozenset("ab"), parts)) == {"a": 1, "b": 1}


def test_another_life_is_taken_from_an_answer_to_the_last_one_only() -> None:
    mirror = Mirror()
    mirror.track("a")
    first = _snapshot(9)
    mirror.install(first, None)
    mirror.install(_snapshot(2, incarnation=_NEXT_LIFE), first)
    assert mirror.newest is not None
    assert (mirror.newest.revision, mirror.newest.incarnation) == (2, _NEXT_LIFE)
    mirror.install(_snapshot(10), first)
    assert mirror.newest.incarnation == _NEXT_LIFE


def test_names_are_tracked_as_long_as_anybody_tracks_them() -> None:
    mirror = Mirror()
    assert mirror.track(["a", "b"])
    assert not mirror.track(["a"])
    assert not mirror.untrack(["a"])
    assert mirror.tracked == {"a", "b"}
    assert mirror.untrack(["a", "b"])
    assert mirror.tracked == frozenset()


def test_it_is_live_only_while_fed_with_all_names_and_all_own_writes() -> None:
    mirror = Mirror()
    mirror.track("a")
    mirror.install(_snapshot(3), None)
    assert mirror.live is None
    mirror.feeds(Feed.UP)
    assert mirror.live is mirror.newest
    mirror.track("b")
    assert mirror.live is None
    mirror.install(_snapshot(3, "ab"), mirror.newest)
    assert mirror.live is mirror.newest
    mirror.wrote(4, ["untracked"])
    assert mirror.live is mirror.newest
    mirror.wrote(5, ["b"])
    assert mirror.live is None
    arrival = mirror.arrival()
    assert arrival is not None
    mirror.install(_snapshot(5, "ab"), mirror.newest)
    assert arrival.done()
    assert mirror.live is mirror.newest
    mirror.feeds(Feed.DOWN)
    assert mirror.live is None
