"""Encryption, through the real server, with certificates made for each run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from snakepit_bridge import TLS, LocalServer, SessionContext, exceptions
from snakepit_bridge.server import start
from tests.support.certificates import Authority
from tests.support.waiting import until_answered
from tests.support.wire_proxy import WireProxy

pytestmark = [
    pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made by openssl"),
    # It starts servers with certificates of its own.
    pytest.mark.transport("open"),
]


class Encrypted:
    """Servers that encrypt."""

    def __init__(self, binary: Path, directory: Path) -> None:
        self.authority = Authority(directory / "one").make()
        self.other = Authority(directory / "other").make()
        self._binary = binary
        self._running: list[LocalServer] = []

    def start(self, cert: tuple[Path, Path], *flags: str) -> str:
        """Where a server with this certificate listens."""
        own = ["--tls-cert", str(cert[0]), "--tls-key", str(cert[1])]
        serve = ["serve", "--ephemeral", "--listen", "127.0.0.1:0", "--until-stdin-closes"]
        self._running.append(start(self._binary, [*serve, *own, *flags]))
        return self._running[-1].address

    def close(self) -> None:
        """Ends them."""
        for running in self._running:
            running.close()


@pytest.fixture
def encrypted(server_binary: Path, tmp_path: Path) -> Iterator[Encrypted]:
    """Two authorities, and whatever servers a test starts."""
    made = Encrypted(server_binary, tmp_path)
    yield made
    made.close()


async def test_a_client_that_trusts_the_authority_uses_the_server(
    encrypted: Encrypted, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = encrypted.start(encrypted.authority.sign("server", "IP:127.0.0.1"))
    for tls in (encrypted.authority.ca, str(encrypted.authority.ca), TLS(encrypted.authority.ca)):
        async with SessionContext.connect(address, session_id="s", tls=tls) as ctx:
            await ctx.register_variable("x", "float", 1.0)
            assert await ctx.get_variable("x") == 1.0
    monkeypatch.setenv("SNAKEPIT_TLS_CA", str(encrypted.authority.ca))
    with SessionContext.connect(address, session_id="s") as blocking:
        assert blocking.get_variable("x") == 1.0


async def test_a_certificate_that_is_not_right_is_told_in_one_sentence(encrypted: Encrypted) -> None:
    authority = encrypted.authority
    cases = [
        (authority.sign("a", "IP:127.0.0.1"), encrypted.other.ca, "issuer"),
        (authority.sign("b", "IP:127.0.0.1", days=-1), authority.ca, "expired"),
        (authority.sign("c", "DNS:example.org"), authority.ca, "host"),
    ]
    for cert, trusted, told in cases:
        ctx = SessionContext.connect(encrypted.start(cert), session_id="s", tls=trusted)
        with pytest.raises(exceptions.ServerUnavailableError) as refused:
            await ctx.get_variable("x")
        assert refused.value.facts["tls"] == "refused"
        # Whoever reads it has to be able to do something about it.
        assert told in str(refused.value)
        await ctx.aclose()


async def test_a_server_that_asks_for_certificates_knows_who_comes(encrypted: Encrypted) -> None:
    authority, clients = encrypted.authority, encrypted.other
    address = encrypted.start(authority.sign("server", "IP:127.0.0.1"), "--tls-client-ca", str(clients.ca))
    cert, key = clients.sign("alice", "DNS:alice")
    async with SessionContext.connect(address, session_id="s", tls=TLS(authority.ca, cert, key)) as ctx:
        await ctx.register_variable("x", "float", 1.0)
        author = (await ctx.list_variables())[0].updated_by
        assert author.verified
        assert author.name.startswith("certificate:")
    for identity in ((None, None), authority.sign("mallory", "DNS:alice")):
        ctx = SessionContext.connect(address, session_id="s", tls=TLS(authority.ca, *identity))
        with pytest.raises(exceptions.ServerUnavailableError) as refused:
            await ctx.get_variable("x")
        assert refused.value.facts["tls"] == "anonymous"
        assert "TLS(ca, cert, key)" in str(refused.value)
        await ctx.aclose()


async def test_whoever_encrypts_alone_is_told_so(encrypted: Encrypted, address: str) -> None:
    server = encrypted.start(encrypted.authority.sign("server", "IP:127.0.0.1"))
    for where, tls, fact, told in (
        (server, None, "absent", "give tls="),
        (address, encrypted.authority.ca, "refused", "without tls="),
    ):
        ctx = SessionContext.connect(where, session_id="s", tls=tls)
        with pytest.raises(exceptions.ServerUnavailableError) as refused:
            await ctx.get_variable("x")
        assert refused.value.facts["tls"] == fact
        # Whoever reads it has to be able to do something about it.
        assert told in str(refused.value)
        await ctx.aclose()


async def test_a_server_that_went_away_is_no_matter_of_tls(proxy: WireProxy, session_id: str) -> None:
    async with SessionContext.connect(proxy.address, session_id=session_id, timeout=1.0) as ctx:
        await until_answered(ctx.list_variables)
        # From now on it accepts, and hangs up.
        proxy.upstream = "127.0.0.1:1"
        proxy.cut()
        with pytest.raises((exceptions.ServerUnavailableError, exceptions.CallTimeoutError)) as refused:
            await ctx.list_variables()
        assert "tls" not in refused.value.facts


def test_what_is_no_certificate_is_refused_before_connecting(tmp_path: Path) -> None:
    with pytest.raises(exceptions.InvalidRequestError):
        TLS(cert=tmp_path / "cert")
    ctx = SessionContext.connect("127.0.0.1:1", tls=TLS(cert=tmp_path / "c", key=tmp_path / "k"))
    with pytest.raises(exceptions.InvalidRequestError):
        ctx.blocking.get_variable("x")
