"""Keys, scopes and bodies of calls: what is refused, and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.transport.http.calls import error, open_world
from transport.access.auth import HTTP_SCOPES


async def test_no_call_answers_without_a_key_or_beyond_its_scope(tmp_path: Path) -> None:
    ranks = ["view", "approve", "drive", "admin"]
    async with open_world(tmp_path) as world:
        for scope in ranks:
            world.served.fakes.devices.add(scope, scope)
        for action, least in HTTP_SCOPES.items():
            method, path = action.split(" ")
            for key in ("", "wrong", "key-of-"):
                answer = await world.http.request(method, path, headers={"X-API-Key": key})
                assert error(answer) == (401, "unauthorized"), action
            for scope in ranks[: ranks.index(least)]:
                answer = await world.http.request(method, path, headers={"X-API-Key": f"key-of-{scope}"})
                assert error(answer) == (403, "forbidden"), action


@pytest.mark.parametrize(
    ("content", "headers", "told"),
    [
        (b"{}", {}, (400, "bad_request")),
        (b"[]", {}, (400, "bad_request")),
        (b"{", {}, (400, "bad_request")),
        (b"\xff", {}, (400, "bad_request")),
        (b"[" * 5000, {}, (400, "bad_request")),
        (b'{"device_token":"a"}', {}, (400, "bad_request")),
        (b'{"device_token":"","device_id":"d"}', {}, (400, "bad_request")),
        (b'{"device_token":"a","device_id":7}', {}, (400, "bad_request")),
        (b'{"device_token":"a","device_id":"d\\n"}', {}, (400, "bad_request")),
        (b'{"device_token":"' + b"a" * 600 + b'","device_id":"d"}', {}, (400, "bad_request")),
        (b" " * 70_000, {}, (413, "too_large")),
        (b"{}", {"Content-Type": "text/plain"}, (415, "unsupported_media_type")),
    ],
)
async def test_bodies_that_are_refused(
    tmp_path: Path, content: bytes, headers: dict[str, str], told: tuple[int, str]
) -> None:
    async with open_world(tmp_path) as world:
        sent = {"Content-Type": "application/json", **headers}
        url = "/api/notifications/register"
        assert error(await world.http.post(url, content=content, headers=sent)) == told


async def test_a_body_that_is_too_large_and_does_not_say_so(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        raw = await world.served.raw()
        head = "POST /api/devices HTTP/1.1\r\nHost: x\r\nX-API-Key: key-of-phone\r\nTransfer-Encoding: chunked\r\n\r\n"
        await raw.stream.send_all(head.encode())
        for _ in range(20):
            await raw.stream.send_all(b"1000\r\n" + b" " * 4096 + b"\r\n")
        assert (await raw.rest()).startswith(b"HTTP/1.1 413")


async def test_a_body_without_a_length(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        raw = await world.served.raw()
        head = "POST /api/devices HTTP/1.1\r\nHost: x\r\nX-API-Key: key-of-phone\r\n\r\n"
        got = await raw.request(head)
        assert got.startswith(b"HTTP/1.1 411")
        assert b'"length_required"' in got


async def test_a_body_that_is_no_body_says_so_in_json(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        raw = await world.served.raw()
        head = "POST /api/devices HTTP/1.1\r\nHost: x\r\nX-API-Key: key-of-phone\r\nTransfer-Encoding: chunked\r\n\r\n"
        got = await raw.request(head + "zz\r\nabc\r\n")
        assert got.startswith(b"HTTP/1.1 400")
        assert b'{"error":{"code":"bad_request"' in got


@pytest.mark.parametrize(
    "head",
    [
        "GET /api/status HTTP/1.1\r\n\r\n",
        "GET /api/status HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "GET /api/status HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET /api/status HTTP/1.1\r\nHost: x\r\nBad Name: y\r\n\r\n",
    ],
)
async def test_a_head_that_is_refused_says_so_in_json(tmp_path: Path, head: str) -> None:
    async with open_world(tmp_path) as world:
        got = await (await world.served.raw()).request(head)
        assert got.startswith(b"HTTP/1.1 400")
        assert b'{"error":{"code":"bad_request"' in got
