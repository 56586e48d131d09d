"""A new certificate while the server serves."""

from __future__ import annotations

import logging
import signal
import ssl
from pathlib import Path

import attrs
import httpx
import pytest
import trio
import trustme

from builderos.server.tls import Tls, TlsError
from tests.builderos.terminal import run_command
from tests.fakes.bus import FakeServer
from tests.support.server import Server, open_server
from tests.transport.client import LIMIT_S, Served
from transport.config import TransportConfig
from transport.listener import Listening, serve


@attrs.frozen
class Pair:
    """A certificate and its key, and who trusts them."""

    certificate: bytes
    key: bytes
    trust: ssl.SSLContext

    def write(self, folder: Path) -> tuple[Path, Path]:
        (folder / "cert.pem").write_bytes(self.certificate)
        (folder / "key.pem").write_bytes(self.key)
        return folder / "cert.pem", folder / "key.pem"


def make_pair(name: str = "127.0.0.1") -> Pair:
    authority = trustme.CA()
    leaf = authority.issue_cert(name)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    return Pair(b"".join(one.bytes() for one in leaf.cert_chain_pems), leaf.private_key_pem.bytes(), trust)


async def serves(url: str, pair: Pair) -> bool:
    """Tell whether the server shows this certificate."""
    async with httpx.AsyncClient(verify=pair.trust) as http:
        try:
            return (await http.get(f"{url}/api/health")).status_code == 200
        except httpx.ConnectError:
            return False


async def test_connections_stay_and_new_ones_get_the_new_certificate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "builderos.server")
    old, new = make_pair(), make_pair()
    tls = Tls.load(*old.write(tmp_path))
    fakes = FakeServer()
    fakes.devices.add("phone")
    with trio.fail_after(3 * LIMIT_S):
        async with trio.open_nursery() as nursery:
            config = TransportConfig(port=0)
            listening: Listening = await nursery.start(
                lambda **kw: serve(config, fakes.deps(), tls=tls.context, **kw)
            )
            url = f"https://127.0.0.1:{listening.port}"
            async with Served(fakes, listening).client(scheme="wss", ssl=old.trust) as client:
                assert (await serves(url, old), await serves(url, new)) == (True, False)
                (tmp_path / "cert.pem").write_bytes(new.certificate)  # its key is not there yet
                await tls.reload()
                assert "keeping the current certificate" in caplog.text
                assert "Traceback" not in caplog.text
                assert await serves(url, old)
                (tmp_path / "cert.pem").write_bytes(b"nonsense")
                await tls.reload()
                (tmp_path / "cert.pem").unlink()
                await tls.reload()
                assert await serves(url, old)
                told = [record for record in caplog.records if record.name == "builderos.server"]
                assert [record.levelname for record in told] == ["ERROR"] * 3
                new.write(tmp_path)
                await tls.reload()
                assert (await serves(url, old), await serves(url, new)) == (False, True)
                await client.send(type="ping")
                await client.receive("pong")
            nursery.cancel_scope.cancel()


async def log_says(server: Server, text: str) -> None:
    with trio.fail_after(LIMIT_S):  # noqa: ASYNC912 - waits, or has it
        while text not in server.errors.read_text():  # noqa: ASYNC110 - another process writes it
            await trio.sleep(0.02)


async def test_a_signal_has_the_files_read_anew(tmp_path: Path) -> None:
    old, new = make_pair(), make_pair()
    certificate, key = old.write(tmp_path)
    options = ["--tls-cert", str(certificate), "--tls-key", str(key)]
    async with open_server(tmp_path, arguments=options) as server:
        assert await serves(server.url, old)
        async with httpx.AsyncClient(verify=old.trust) as http:
            answer = await http.get(f"{server.url}/api/health")
        assert "strict-transport-security" not in answer.headers, "it would bind the host's other ports too"
        (tmp_path / "cert.pem").write_bytes(b"")
        server._running.send_signal(signal.SIGHUP)
        await log_says(server, "keeping the current certificate")
        assert await serves(server.url, old)
        new.write(tmp_path)
        server._running.send_signal(signal.SIGHUP)
        await log_says(server, "new connections get the certificate")
        assert await serves(server.url, new)


async def test_commands_find_a_server_whatever_its_certificate_names(
    tmp_path: Path,
) -> None:
    certificate, key = make_pair("box.example").write(tmp_path)
    options = ["--tls-cert", str(certificate), "--tls-key", str(key)]
    async with open_server(tmp_path, arguments=options) as server:
        status, made, errors = await run_command(server, "devices", "add", "Phone")
        assert (status, len(made.strip())) == (0, 64), errors
        assert (await run_command(server, "sessions"))[0] == 0
        status, _, errors = await run_command(server, "sessions", "--url", server.url)
        assert (status, "CERTIFICATE_VERIFY_FAILED" in errors) == (1, True), (
            "an address that was given is checked"
        )


def test_a_key_with_a_password_is_refused_and_asks_nobody(tmp_path: Path) -> None:
    certificate, key = make_pair().write(tmp_path)
    key.write_text(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
        "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAi0mUGUzvKpTgICCAAw\n"
        "-----END ENCRYPTED PRIVATE KEY-----\n"
    )
    with pytest.raises(TlsError):
        Tls.load(certificate, key)
