"""The limits that docs/user/security.md lists and no other file here reaches: files, sessions, frames, headers."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import trio

from tests.app.app_server import open_world as open_app
from tests.app.line import chat
from tests.transport.client import LIMIT_S, open_server
from tests.transport.test_uploads import BEGIN, FORM, HEAD, error, open_world
from transport import limits
from transport.http.middleware import COMMON
from transport.limits import BURST, FRAMES_PER_S, FrameRate


async def test_files_have_a_size_together(tmp_path: Path) -> None:
    async with open_world(tmp_path, max_uploads_bytes=10_000) as world:
        assert (await world.bring(data=b"x" * 6_000)).status_code == 200
        assert error(await world.bring(data=b"x" * 6_000)) == (409, "uploads_full")
        await world.wait_files(1)
        assert (await world.bring(data=b"x" * 2_000)).status_code == 200


async def test_files_that_come_at_once_share_what_is_left(tmp_path: Path) -> None:
    async with open_world(tmp_path, max_uploads_bytes=10_000) as world:
        raw = await world.served.raw()
        head = HEAD.format(key="X-API-Key: key-of-phone\r\n", more=FORM + "Content-Length: 7000\r\n")
        await raw.stream.send_all((head + "\r\n--" + BEGIN).encode())
        await world.wait_files(1)
        assert error(await world.bring(data=b"x" * 5_000)) == (409, "uploads_full")
        await raw.stream.aclose()
        await world.wait_files(0)
        assert (await world.bring(data=b"x" * 5_000)).status_code == 200


async def test_a_body_that_tells_no_length_takes_the_most_that_it_may(tmp_path: Path) -> None:
    async with open_world(tmp_path, max_uploads_bytes=10_000) as world:
        raw = await world.served.raw()
        head = HEAD.format(key="X-API-Key: key-of-phone\r\n", more=FORM + "Transfer-Encoding: chunked\r\n")
        answer = await raw.request(head + "5\r\n--B\r\n\r\n0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 409")
        assert b"uploads_full" in answer


async def test_files_are_counted(tmp_path: Path) -> None:
    async with open_world(tmp_path, max_uploads=2) as world:
        for _ in range(2):
            assert (await world.bring()).status_code == 200
        assert error(await world.bring()) == (409, "uploads_full")


async def test_sessions_are_counted() -> None:
    async with open_server(max_sessions=2) as served, served.client() as client:
        for name in ("one", "two"):
            assert (await client.attach(name, agent="echo"))["type"] == "attached"
        refused = await client.attach("three", agent="echo")
        assert (refused["type"], refused["code"]) == ("rejected", "forbidden")
        assert "2 sessions" in refused["content"]
        assert (await client.attach("one"))["type"] == "attached"


async def test_sessions_of_the_app_are_counted_too(autojump_clock: trio.testing.MockClock) -> None:
    async with open_app(max_sessions=1) as world, world.signed_in() as line:
        world.fakes.add_session("there")
        await line.say(chat("hi", "another", "phone"))
        with trio.fail_after(LIMIT_S):
            refused = await line.frame("error")
        assert "1 sessions" in refused["content"]


def test_frames_beyond_the_burst_wait_and_none_is_lost() -> None:
    rate = FrameRate()
    assert [FrameRate().take(now) for now in (-5.0, 0.0, 0.001)] == [0.0] * 3, (
        "whatever the clock begins with"
    )
    assert [rate.take(1000.0) for _ in range(BURST)] == [pytest.approx(0.0, abs=1e-6)] * BURST
    assert rate.take(1000.0) == pytest.approx(1 / FRAMES_PER_S)
    assert rate.take(1000.0) == pytest.approx(2 / FRAMES_PER_S)
    assert rate.take(1001.0) == 0.0
    quiet = [rate.take(2000.0) for _ in range(BURST)]
    assert max(quiet) < 1e-6, "who was quiet may burst again, and no more than that"
    assert rate.take(2000.0) > 0


async def test_a_device_that_sends_too_fast_is_slowed_and_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FRAMES_PER_S", 20.0)
    monkeypatch.setattr(limits, "BURST", 4)
    async with open_server() as served, served.client() as client:
        start = trio.current_time()
        for _ in range(14):
            await client.send(type="ping")
        for _ in range(14):
            await client.receive("pong")
        assert trio.current_time() - start >= 9 / 20


async def test_every_answer_has_the_safe_headers(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        name = (await world.bring()).json()["path"]
        answers = [
            await world.http.get("/api/health"),
            await world.http.get("/api/sessions"),
            await world.http.get("/api/sessions", headers={"X-API-Key": "wrong"}),
            await world.http.get("/nowhere"),
            await world.http.delete("/api/health"),
            await world.http.get("/metrics"),
            await world.http.get(name),
        ]
        raw = await world.served.raw()
        answers.append(_parse(await raw.request("nonsense\r\n\r\n")))
    for answer in answers:
        for header, value in COMMON:
            told = answer.headers[header.decode()]
            assert told == value.decode() or (header == b"cache-control" and answer is answers[-2])
        assert "set-cookie" not in answer.headers
        assert "strict-transport-security" not in answer.headers


def _parse(data: bytes) -> httpx.Response:
    lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    pairs = [line.split(b": ", 1) for line in lines[1:]]
    return httpx.Response(int(lines[0].split()[1]), headers=[(pair[0], pair[1]) for pair in pairs])


async def test_a_cookie_signs_nobody_in() -> None:
    origin = "http://127.0.0.1"
    async with open_server() as served, httpx.AsyncClient(base_url=served.base, timeout=LIMIT_S) as http:
        headers = {"Cookie": "key=key-of-phone; X-API-Key=key-of-phone", "Origin": origin}
        assert (await http.get("/api/status", headers=headers)).status_code == 401
        async with served.client(None, headers=headers) as client:
            await client.send(type="ping")
            assert (await client.receive())["code"] == "unauthorized"
            assert await client.closed() == 4401
