"""Whose address counts: the client's own, or what a proxy that is named says it heard."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.transport.client import LIMIT_S, open_server
from tests.transport.http.calls import open_world
from transport.access import attempts
from transport.access.attempts import REFILL_S, SIGN_IN_TRIES, SignInThrottle
from transport.access.proxies import LOOPBACK, Proxies


def client(peer: str, *lines: str, named: tuple[str, ...] = LOOPBACK) -> str:
    headers = [(b"x-forwarded-for", line.encode("latin-1")) for line in lines]
    return Proxies.named(named).client(peer, headers)


@pytest.mark.parametrize(
    ("peer", "lines", "found"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("::1", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["1.2.3.4, 198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["1.2.3.4", "198.51.100.1"], "198.51.100.1"),
        ("127.0.0.1", ["198.51.100.1, 127.0.0.1"], "198.51.100.1"),
        ("127.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("127.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("127.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("127.0.0.1", ["nonsense"], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1, \xff, 127.0.0.1"], "127.0.0.1"),
        ("127.0.0.1", [", ".join(["127.0.0.1"] * 500)], "127.0.0.1"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_the_client_behind_this_machine(peer: str, lines: list[str], found: str) -> None:
    assert client(peer, *lines) == found


def test_named_proxies_in_a_row() -> None:
    named = ("127.0.0.1", "10.0.0.0/8")
    assert client("10.1.1.1", "9.9.9.9, 198.51.100.1, 10.2.2.2", named=named) == "198.51.100.1"
    assert client("192.168.0.1", "198.51.100.1", named=named) == "192.168.0.1"
    assert client("127.0.0.1", "198.51.100.1", named=()) == "127.0.0.1"


async def test_who_is_not_named_says_nothing_about_host_and_scheme(tmp_path: Path) -> None:
    said = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "box.example"}
    files = {"file": ("a.txt", b"abc", "text/plain")}
    async with open_world(tmp_path) as world:
        told = (await world.http.post("/api/files/upload", files=files, headers=said)).json()
        assert told["url"].startswith("https://box.example/uploads/")
        async with (
            open_server(world.services, trusted_proxies=("10.0.0.0/8",)) as served,
            httpx.AsyncClient(base_url=served.base, headers={"X-API-Key": "key-of-phone"}) as http,
        ):
            told = (await http.post("/api/files/upload", files=files, headers=said)).json()
            assert told["url"].startswith(f"{served.base}/uploads/")


async def test_wrong_keys_are_counted_by_the_clients_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attempts, "SIGN_IN_TRIES", 4)
    async with (
        open_server(trusted_proxies=LOOPBACK) as served,
        httpx.AsyncClient(base_url=served.base, timeout=LIMIT_S) as http,
    ):

        async def ask(key: str, address: str) -> int:
            headers = {"X-API-Key": key, "X-Forwarded-For": address}
            return (await http.get("/api/status", headers=headers)).status_code

        async def connect(key: str, address: str) -> int | None:
            headers = {"X-API-Key": key, "X-Forwarded-For": address}
            async with served.client(None, headers=headers) as client:
                if (await client.receive("ready", "error"))["type"] == "ready":
                    return None
                return await client.closed()

        assert [await ask("guess", "203.0.113.7") for _ in range(3)] == [401] * 3
        assert await connect("guess", "203.0.113.7") == 4401
        assert await ask("guess", "203.0.113.7") == 429
        assert await ask("key-of-phone", "203.0.113.7") == 429, "the answer must not tell which it was"
        assert await connect("guess", "203.0.113.7") == await connect("key-of-phone", "203.0.113.7") == 4429
        assert await ask("key-of-phone", "203.0.113.8") == 200
        assert await connect("key-of-phone", "203.0.113.8") is None
        assert [await ask("guess", "203.0.113.8") for _ in range(5)] == [401] * 4 + [429]
        assert await ask("key-of-phone", "203.0.113.8") == 200, "a good key came from here before"


def test_tries_come_back_and_ipv6_subscribers_are_one() -> None:
    kept = SignInThrottle()
    assert all(kept.wrong(f"2001:db8::{number:x}", 0.0) for number in range(SIGN_IN_TRIES))
    assert not kept.wrong("2001:db8::ffff:1", 0.0)
    assert not kept.good("2001:db8::1", REFILL_S - 0.1)
    assert kept.wrong("2001:db8::1", REFILL_S + 0.1)
    assert not kept.wrong("2001:db8::1", REFILL_S + 0.2)
    assert kept.good("2001:db8::1", 2 * REFILL_S + 0.2)
    assert kept.good("2001:db8::1", 2 * REFILL_S + 0.2), "known from now on"
    assert kept.wrong("2001:db8:1::1", 0.0), "another subscriber"


def test_memory_for_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_ADDRESSES", 10)
    kept = SignInThrottle()
    for number in range(100):
        kept.wrong(f"10.0.0.{number}", 0.0)
        kept.good(f"10.0.1.{number}", 0.0)
    assert len(kept._left) <= 11
    assert len(kept._known) == 10


async def test_forwarded_for_from_this_machine_needs_the_config(caplog: pytest.LogCaptureFixture) -> None:
    said = {"X-Forwarded-For": "203.0.113.7"}
    for named, lines in (((), 1), (LOOPBACK, 0)):
        caplog.clear()
        async with (
            open_server(trusted_proxies=named, max_waiting=2) as served,
            served.client(None, headers=said) as first,
            served.client(None, headers={"X-Forwarded-For": "198.51.100.1"}) as second,
            served.client(None, headers={"X-Forwarded-For": "198.51.100.1"}),
        ):
            oldest = second if named else first
            assert await oldest.closed() == 4429, "whose address counts decides who makes room"
        warnings = [one for one in caplog.records if "trusted_proxies" in one.getMessage()]
        assert len(warnings) == lines
