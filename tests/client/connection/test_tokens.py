"""Tokens, through a server that takes them: who may do what, and where a token shows up, which is nowhere."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from snakepit_bridge import LocalServer, SessionContext, exceptions
from snakepit_bridge.server import start
from snakepit_bridge.session_context import session_of

# It starts servers with tokens of its own.
pytestmark = pytest.mark.transport("open")

ALL = "read,write,call_tool,offer_tool,read_secret,admin"


class Guarded:
    """A server with a file of tokens."""

    def __init__(self, binary: Path, directory: Path) -> None:
        self.file = directory / "tokens.toml"
        self._binary = binary
        # Made before it runs, they are known at once.
        self.all = self.token("all", ALL, "*")
        self.reader = self.token("reader", "read", "team-*")
        self.server: LocalServer = start(
            binary,
            [
                "serve",
                "--ephemeral",
                "--listen",
                "127.0.0.1:0",
                "--until-stdin-closes",
                "--auth-token-file",
                str(self.file),
            ],
        )
        self.address = self.server.address

    def token(self, name: str, roles: str, sessions: str) -> str:
        """Makes a token, and puts it into the file."""
        words = ["token", "new", "--name", name, "--roles", roles, "--sessions", sessions, "--add-to", str(self.file)]
        return subprocess.run([self._binary, *words], check=True, capture_output=True, text=True).stdout.strip()

    def reload(self) -> None:
        """Has the server take what the file says now."""
        os.kill(self.server.pid, signal.SIGHUP)


@pytest.fixture
def guarded(server_binary: Path, tmp_path: Path) -> Iterator[Guarded]:
    """A server of the test's own."""
    running = Guarded(server_binary, tmp_path)
    yield running
    running.server.close()


async def test_everything_goes_with_a_token(guarded: Guarded) -> None:
    async with SessionContext.connect(guarded.address, session_id="s", token=guarded.all, freshness="streamed") as ctx:
        await ctx.register_variable("key", "string", "sk-1", secret=True)
        assert await ctx.get_variable("key") == "sk-1"
        authors = [variable.updated_by for variable in await ctx.list_variables()]
        assert [(author.name, author.verified) for author in authors] == [("all", True)]
        async for change in ctx.watch_variables():
            assert change.value == "sk-1"
            break

        def double(number: int) -> int:
            return 2 * number

        await ctx.offer(double)
        assert await ctx.call_tool("double", number=4) == 8
        session_of(ctx).track(["key"])
        assert session_of(ctx).take().variables["key"].value == "sk-1"


async def test_without_a_token_or_with_another_it_is_told_at_once(guarded: Guarded) -> None:
    for token in (None, "spt_nobody"):
        # Trying again until the time is over would last longer than the test may.
        ctx = SessionContext.connect(guarded.address, session_id="s", token=token, timeout=3600)
        with pytest.raises(exceptions.UnauthenticatedError) as refused:
            await ctx.get_variable("x")
        assert refused.value.facts["role"]
        with pytest.raises(exceptions.UnauthenticatedError):
            ctx.blocking.get_variable("x")
        await ctx.aclose()


async def test_the_environment_names_a_token(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAKEPIT_TOKEN", guarded.all)
    async with SessionContext.connect(guarded.address, session_id="s") as ctx:
        await ctx.register_variable("x", "float", 1.0)


async def test_a_server_of_ones_own_takes_no_tokens(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAKEPIT_AUTH_TOKEN_FILE", str(guarded.file))
    async with SessionContext.local() as ctx:
        await ctx.register_variable("x", "float", 1.0)


async def test_a_token_does_what_its_roles_say_in_its_sessions(guarded: Guarded) -> None:
    ctx = SessionContext.connect(guarded.address, session_id="team-a", token=guarded.reader)
    with pytest.raises(exceptions.PermissionDeniedError) as refused:
        await ctx.get_variable("x")
    assert refused.value.facts["role"] == "write", "there is no such session, and it may not make one"
    async with SessionContext.connect(guarded.address, session_id="team-a", token=guarded.all) as writer:
        await writer.register_variable("x", "float", 1.0)
        await writer.register_variable("key", "string", "sk-1", secret=True)
        assert await ctx.get_variable("x") == 1.0
        with pytest.raises(exceptions.PermissionDeniedError) as refused:
            await ctx.set_variable("x", 2.0)
        assert refused.value.facts["role"] == "write"
        with pytest.raises(exceptions.PermissionDeniedError) as refused:
            await ctx.get_variable("key")
        assert refused.value.facts["role"] == "read_secret"
    other = SessionContext.connect(guarded.address, session_id="other", token=guarded.reader)
    with pytest.raises(exceptions.PermissionDeniedError) as refused:
        await other.get_variable("x")
    assert refused.value.facts["session"] == "other"
    assert isinstance(refused.value, PermissionError)
    for each in (ctx, other):
        await each.aclose()


async def test_a_withdrawn_token_ends_watches_and_forwards(guarded: Guarded) -> None:
    async with SessionContext.connect(guarded.address, session_id="s", token=guarded.all) as ctx:
        await ctx.register_variable("x", "float", 1.0)
        watch = ctx.watch_variables()
        assert (await anext(watch)).value == 1.0
        session_of(ctx).track(["x"])
        session_of(ctx).take()
        guarded.file.write_text(guarded.file.read_text().replace('"all"', '"renamed"'))
        guarded.reload()
        await ctx.set_variable("x", 2.0)
        assert (await anext(watch)).value == 2.0
        guarded.file.write_text("")
        guarded.token("another", "read", "*")
        guarded.reload()
        with pytest.raises(exceptions.UnauthenticatedError):
            await anext(watch)
        with pytest.raises(exceptions.UnauthenticatedError):
            session_of(ctx).take()


async def test_a_token_is_in_no_repr_log_or_error(
    guarded: Guarded, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    canary = "spt_canary_0123456789"
    said = []
    for token in (canary, guarded.all):
        ctx = SessionContext.connect(guarded.address, session_id="s", token=token)
        session = session_of(ctx)
        said += [repr(ctx), repr(session), repr(session.settings), repr(ctx.blocking)]
        try:
            await ctx.get_variable("nothing")
        except exceptions.BridgeError as error:
            said += [repr(error), str(error), repr(error.facts), repr(error.__cause__), repr(error.__context__)]
        said.append(repr(session.connection))
        await ctx.aclose()
    for bad in (f"{canary}\n", f"{canary} x", f"{canary}ü"):
        with pytest.raises(exceptions.InvalidRequestError) as refused:
            SessionContext.connect(guarded.address, token=bad)
        said.append(repr(refused.value))
    captured = capfd.readouterr()
    said += [captured.out, captured.err, caplog.text]
    for token in (canary, guarded.all):
        assert not [text for text in said if token in text]
