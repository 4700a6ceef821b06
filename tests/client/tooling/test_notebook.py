"""What a notebook shows of variables, histories, changes and contexts, and what nothing shows of secrets."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from snakepit_bridge import BlockingContext, Change, LocalServer, SessionContext

HOSTILE = "</td></table><script>alert('x')</script><img src=x onerror=\"alert(1)\">&amp;"
SECRET = "canary-5f1b"


class Page(HTMLParser):
    """The rows of the tables of a page, and which tags it has besides."""

    def __init__(self, shown: Any) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.foreign: list[str] = []
        self.feed(shown._repr_html_())

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
        elif tag not in {"table", "thead", "tbody", "p"} or attrs:
            self.foreign.append(tag)

    def handle_data(self, data: str) -> None:
        if self.rows:
            self.rows[-1][-1] += data

    def column(self, name: str) -> list[str]:
        header, *rows = self.rows
        return [row[header.index(name)] for row in rows]


def test_a_list_of_variables_is_a_table_and_still_a_list(blocking: BlockingContext) -> None:
    blocking.register_variable("a", "float", 0.5, reason="first")
    blocking.register_variable("b", "list", list(range(1000)))
    listed = blocking.list_variables()
    assert listed == [*listed]
    assert isinstance(listed, list)
    assert repr(listed) == repr([*listed])
    page = Page(listed)
    assert page.foreign == []
    assert page.column("name") == ["a", "b"]
    assert page.column("value") == ["0.5", "[0, 1, 2, 3, 4, 5, ...]"]
    assert page.column("reason") == ["first", ""]
    assert Page(listed[0]).rows == page.rows[:2]
    assert Page(blocking.list_variables("none*")).rows == []


def test_a_history_is_a_table(blocking: BlockingContext) -> None:
    blocking.register_variable("a", "string", "x")
    blocking.set_variable("a", "y" * 10_000)
    blocking.delete_variable("a")
    history = blocking.history("a")
    page = Page(history)
    assert page.column("kind") == ["deleted", "set", "registered"]
    assert page.column("version") == ["3", "2", "1"]
    assert max(map(len, page.column("value"))) < 500
    assert Page(history[-1]).rows == [page.rows[0], page.rows[-1]]


def test_a_long_list_is_shown_in_part(blocking: BlockingContext) -> None:
    with blocking.batch_updates() as batch:
        for number in range(250):
            batch.register(f"v{number:03}", "integer", number)
    listed = blocking.list_variables()
    page = Page(listed)
    assert page.column("name") == [variable.name for variable in listed[:100]]
    assert "150 more" in listed._repr_html_()  # type: ignore[attr-defined]


def test_nothing_in_a_variable_is_markup(blocking: BlockingContext) -> None:
    blocking.register_variable("a", "string", HOSTILE, reason=HOSTILE)
    blocking.register_variable("m", "map", {HOSTILE: [HOSTILE]}, reason=HOSTILE)
    shown = [blocking.list_variables(), blocking.history("a"), next(blocking.watch_variables(names=["a"]))]
    for page in map(Page, shown):
        assert page.foreign == []
        assert page.column("reason")[0] == HOSTILE
        assert page.column("value")[0] == repr(HOSTILE)
        assert len({len(row) for row in page.rows}) == 1


def test_a_context_tells_where_it_is_without_asking_the_server(server: LocalServer, session_id: str) -> None:
    context = SessionContext.connect("127.0.0.1:1", session_id=HOSTILE)
    for shown in (context, context.blocking):
        page = Page(shown)
        assert page.foreign == []
        assert page.rows[1] == [HOSTILE, "127.0.0.1:1", "0"]
    with SessionContext.connect(server.address, session_id=session_id) as ctx:
        ctx.register_variable("a", "float", 0.5)
        assert Page(ctx).rows[1] == [session_id, server.address, str(ctx.revision)]
        assert ctx.revision > 0


def withheld(shown: Any) -> bool:
    return SECRET not in repr(shown) + str(shown) + shown._repr_html_() and "(secret)" in shown._repr_html_()


def test_no_repr_shows_a_secret(blocking: BlockingContext) -> None:
    blocking.register_variable("key", "string", f"{SECRET}-1", secret=True)
    watch = blocking.watch_variables("*")
    changes: list[Change] = [next(watch)]
    blocking.set_variable("key", f"{SECRET}-2")
    changes.append(next(watch))
    assert all(map(withheld, [blocking.list_variables(), blocking.list_variables()[0], blocking.history("key")]))
    rolled_back = blocking.rollback("key", version=1)
    assert (rolled_back.value, rolled_back.secret) == (f"{SECRET}-1", True)
    assert SECRET not in repr(rolled_back)
    blocking.set_variable("key", f"{SECRET}-2")
    changes += [next(watch), next(watch)]
    blocking.delete_variable("key")
    changes.append(next(watch))
    assert SECRET not in repr(blocking.history("key"))
    # Programs are told what nobody prints.
    values = [f"{SECRET}-{number}" for number in (1, 2, 1, 2)]
    assert [change.value for change in changes] == [*values, None]
    assert [change.old for change in changes] == [None, *values]
    assert [change.secret for change in changes] == [True] * 5
    assert all(map(withheld, changes))


@pytest.mark.parametrize("secret", [True, False])
def test_a_secret_that_was_deleted_while_a_watch_was_away_is_not_shown(secret: bool) -> None:
    from snakepit_bridge._variables.changes import Teller
    from snakepit_bridge.v1 import value_pb2, variable_pb2

    told = variable_pb2.Variable(name="key", version=1, revision=1, value=value_pb2.Value(string_value=SECRET))
    told.spec.secret = secret
    teller = Teller()
    teller.snapshot([told], 1, gap=False)
    (gone,) = teller.snapshot([], 2, gap=True)
    assert (gone.kind, gone.old, gone.version, gone.gap, gone.secret) == ("deleted", SECRET, 1, True, secret)
    assert (SECRET in repr(gone)) == (not secret)
