"""The port itself: limits, garbage, and that nothing that one peer does reaches another."""

from __future__ import annotations

import ssl
from functools import partial

import httpx
import orjson
import pytest
import trio
import trio.testing
import trustme
from wsproto.frame_protocol import Opcode

from actors.events.conversation import Message
from tests.fakes.bus import FakeServer
from tests.transport.client import LIMIT_S, Served, open_server
from tests.transport.raw import HANDSHAKE, RawPeer
from transport.access.proxies import LOOPBACK
from transport.config import TransportConfig
from transport.listener import Listening, serve


def answer(data: bytes) -> tuple[int, str]:
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), str(orjson.loads(body)["error"]["code"])


async def still_serves(served: Served) -> None:
    async with served.client() as one:
        await one.send(type="ping")
        await one.receive("pong")


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("nonsense\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: " + "x" * 17_000 + "\r\n\r\n", 431),
        ("GET / HTTP/1.1\r\nX: " + "x" * 17_000, 431),
        ("GET / HTTP/1.1\r\nHost: h\r\n" + "a:\r\n" * 130 + "\r\n", 431),
        (HANDSHAKE.format(path="/nowhere", more=""), 404),
        (HANDSHAKE.format(path="/api/ws", more="").replace("Version: 13", "Version: 8"), 426),
        (HANDSHAKE.format(path="/api/ws", more="").replace("Sec-WebSocket-Key", "X-Key"), 400),
        (HANDSHAKE.format(path="/api/claude/ws", more=""), 503),
    ],
)
async def test_what_is_refused_is_told_as_json(request_text: str, status: int) -> None:
    async with open_server() as served:
        peer = await served.raw()
        assert answer(await peer.request(request_text))[0] == status
        await still_serves(served)


async def test_a_head_that_does_not_end_is_given_up() -> None:
    async with open_server(head_s=0.05) as served:
        peer = await served.raw()
        assert answer(await peer.request("GET / HTTP/1.1\r\nHo")) == (408, "timeout")
        idle = await served.raw()
        assert answer(await idle.rest())[0] == 408


async def test_a_refused_version_names_the_one_that_is_spoken() -> None:
    async with open_server() as served:
        peer = await served.raw()
        wrong = HANDSHAKE.format(path="/api/claude/ws", more="").replace("Version: 13", "Version: 8")
        refused = await peer.request(wrong)
        assert answer(refused) == (426, "upgrade_required")
        assert b"\r\nSec-WebSocket-Version: 13\r\n" in refused


async def test_unfinished_heads_are_bounded_and_the_oldest_goes() -> None:
    async with open_server(max_waiting=3) as served:
        peers = [await served.raw() for _ in range(3)]
        with trio.fail_after(LIMIT_S):  # noqa: ASYNC912 - waits, or has it
            while served.listening.statistics().unfinished < 3:
                await trio.lowlevel.checkpoint()
        late = await served.raw()
        assert answer(await peers[0].rest()) == (503, "overloaded")
        health = await late.request("GET /api/health HTTP/1.1\r\nHost: h\r\n\r\n")
        assert health.startswith(b"HTTP/1.1 200 ")
        await still_serves(served)
        assert served.listening.statistics().refused >= 1


async def test_waiting_for_sign_in_is_bounded_and_the_oldest_goes() -> None:
    async with open_server(max_waiting=2) as served, served.client(None) as one, served.client(None) as two:
        async with served.client() as known:
            assert served.listening.statistics().waiting == 2, "a good key in the head needs no place"
            await known.send(type="ping")
            await known.receive("pong")
        async with served.client(None) as three:
            assert await one.closed() == 4429
            await three.send(type="auth", token="key-of-phone")
            await three.receive("ready")
        await two.send(type="auth", token="key-of-phone")
        await two.receive("ready")


async def test_a_full_site_makes_room_for_another_one() -> None:
    crowd = {"X-Forwarded-For": "2001:db8::1"}
    async with (
        open_server(max_waiting=2, trusted_proxies=LOOPBACK) as served,
        served.client(None, headers={"X-Forwarded-For": "198.51.100.7"}) as alone,
        served.client(None, headers=crowd) as first,
    ):
        for number in range(2, 5):
            same_site = {"X-Forwarded-For": f"2001:db8::{number}"}
            async with served.client(None, headers=same_site) as next_one:
                assert await first.closed() == 4429 if number == 2 else True
                assert served.listening.statistics().waiting == 2
                await next_one.send(type="auth", token="wrong")
                assert await next_one.closed() == 4401
        await alone.send(type="auth", token="key-of-phone")
        await alone.receive("ready")


async def test_connections_are_bounded() -> None:
    async with open_server(max_connections=1) as served, served.client() as one:
        async with served.client(None) as late:
            assert await late.closed() == 4429
        peer = await served.raw()
        data = await peer.request("GET /api/health HTTP/1.1\r\nHost: h\r\n\r\n")
        assert answer(data) == (503, "overloaded")
        await one.send(type="ping")
        await one.receive("pong")


async def test_a_ping_while_we_close_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async with open_server(close_s=0.5) as served, served.client() as other:
        peer = await served.raw()
        assert b" 101 " in await peer.upgrade()
        await peer.opcode(Opcode.TEXT)
        served.fakes.devices.add("second")
        served.listening.close_device("phone")
        await peer.opcode(Opcode.CLOSE)
        await peer.stream.send_all(peer.frames.ping(b"are you there") * 3)
        await peer.rest()
        assert await other.closed() == 4401
        async with served.client("key-of-second") as third:
            await third.send(type="ping")
            await third.receive("pong")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(
    ("garbage", "code"),
    [
        (b"\xff\xff\xff\xff\xff", 1002),
        (b"\x81\x05hello", 1002),  # a client's frame must be masked
        (b"\x81\x84\x00\x00\x00\x00\xed\xa0\x80\x80", 1007),  # not UTF-8
        (b"\x01\x81\x00\x00\x00\x00\xed\x80\x81\x00\x00\x00\x00\xa0", 1007),  # the same in two fragments
        (b"\x89\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 1002),  # a ping longer than any
        (b"\x80\x80\x00\x00\x00\x00", 1002),  # a fragment of nothing
        (b"\x88\x81\x00\x00\x00\x00\x03", 1002),  # half a close code
        (b"\x88\x82\x00\x00\x00\x00\x03\xed", 1002),  # 1005 must not be sent
        (b"\x88\x83\x00\x00\x00\x00\x03\xe8\xff", 1007),  # a reason that is not UTF-8
        (b"\x81\xff\x00\x00\x00\x00\x00\x20\x00\x00\x00\x00\x00\x00", 1009),
    ],
)
async def test_garbage_after_the_handshake_gets_a_close_frame(
    garbage: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_server() as served, served.client() as other:
        peer = await served.raw()
        await peer.upgrade()
        await peer.stream.send_all(garbage + b"\x00" * 100_000)
        said = await peer.opcode(Opcode.CLOSE)
        assert isinstance(said, tuple)
        assert said[0] == code
        assert await peer.rest() == b""
        await other.send(type="ping")
        await other.receive("pong")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_bug_in_one_connection_stays_there(caplog: pytest.LogCaptureFixture) -> None:
    async with open_server() as served, served.client() as other:
        served.fakes.submit_error = ZeroDivisionError("a bug")
        async with served.client() as one:
            await one.send(type="attach", session_id="trip", agent="echo")
            assert await one.closed() == 1006
        await other.send(type="ping")
        await other.receive("pong")
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1


async def test_an_upgrade_on_a_kept_connection_ends_cleanly() -> None:
    async with open_server() as served:
        peer = await served.raw()
        await peer.stream.send_all(b"GET /api/health HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n")
        assert b"connection: close" in (await peer.head()).lower()
        await peer.stream.send_all(HANDSHAKE.format(path="/api/ws", more="").encode())
        assert orjson.loads(await peer.rest())["status"] == "ok"


async def test_an_upgrade_right_behind_a_request_ends_cleanly() -> None:
    async with open_server() as served:
        peer = await served.raw()
        both = "GET /api/health HTTP/1.1\r\nHost: h\r\n\r\n" + HANDSHAKE.format(path="/api/ws", more="")
        data = await peer.request(both)
        assert data.count(b"HTTP/1.1 ") == 1
        await peer.stream.aclose()
        with trio.fail_after(LIMIT_S):  # noqa: ASYNC912 - waits, or has it
            while served.listening.statistics().connections:
                await trio.lowlevel.checkpoint()


async def test_frames_right_behind_the_handshake_are_read() -> None:
    async with open_server() as served:
        peer = await served.raw()
        handshake = HANDSHAKE.format(path="/api/ws", more="").encode()
        auth = peer.frames.send_data('{"type":"auth","token":"key-of-phone"}')
        await peer.stream.send_all(handshake + auth)
        await peer.head()
        assert orjson.loads(str(await peer.opcode(Opcode.TEXT)))["type"] == "ready"


async def test_old_paths_speak_version_3_when_asked() -> None:
    async with open_server() as served:
        async with served.client(path="/api/claude/ws", subprotocols=["builderos.v3"]) as one:
            assert one.socket.subprotocol == "builderos.v3"
            async with httpx.AsyncClient() as http:
                health = (await http.get(f"{served.base}/api/health")).json()
        assert health["connections"] == {"claude": 1, "codex": 0}


async def test_a_message_that_is_never_read_is_cut_and_hinders_nobody() -> None:
    async with open_server(write_s=0.3) as served:
        session = served.fakes.add_session("trip")
        slow: RawPeer = await served.raw(small_buffer=True)
        await slow.upgrade()
        await slow.stream.send_all(slow.frames.send_data('{"type":"attach","session_id":"trip"}'))
        await slow.opcode(Opcode.TEXT)
        async with served.client() as quick:
            await quick.attach("trip")
            with trio.fail_after(LIMIT_S):  # noqa: ASYNC912 - waits, or has it
                while len(session.tail.devices) < 2:
                    await trio.lowlevel.checkpoint()
            offset, position = 0, 0
            while session.tail.is_watched and served.listening.statistics().connections > 1:
                session.publish(Message("x" * 50_000, "b", offset))
                offset += 50_000
                while position < session.head_seq:
                    position = (await quick.receive("message"))["seq"]
            assert offset > 1_000_000
            await quick.send(type="ping")
            await quick.receive("pong")


async def test_tls() -> None:
    authority = trustme.CA()
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(theirs)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    fakes = FakeServer()
    fakes.devices.add("phone")
    with trio.fail_after(3 * LIMIT_S):
        async with trio.open_nursery() as nursery:
            config = TransportConfig(port=0)
            start = partial(serve, config, fakes.deps(), tls=theirs)
            listening: Listening = await nursery.start(start)
            async with httpx.AsyncClient(verify=ours) as http:
                health = await http.get(f"https://localhost:{listening.port}/api/health")
            assert health.status_code == 200
            served = Served(fakes, listening)
            plain = await served.raw()
            assert await plain.request("GET / HTTP/1.1\r\n\r\n") == b""
            async with served.client(scheme="wss", host="localhost", ssl=ours) as one:
                await one.send(type="ping")
                await one.receive("pong")
            served.close_peers()
            nursery.cancel_scope.cancel()


async def test_a_revoked_device_that_takes_nothing_is_cut_soon() -> None:
    async with open_server(close_s=0.2) as served:
        session = served.fakes.add_session("trip")
        stuck = await served.raw(small_buffer=True)
        await stuck.upgrade()
        await stuck.stream.send_all(stuck.frames.send_data('{"type":"attach","session_id":"trip"}'))
        with trio.fail_after(LIMIT_S):  # noqa: ASYNC912 - waits, or has it
            while not session.tail.is_watched:
                await trio.lowlevel.checkpoint()
        for number in range(200):
            session.publish(Message("x" * 100_000, "b", number * 100_000))
            await trio.lowlevel.checkpoint()
        served.listening.close_device("phone")
        with trio.fail_after(20):  # noqa: ASYNC912 - waits, or has it
            while session.tail.is_watched:
                await trio.lowlevel.checkpoint()


async def test_a_device_that_asks_and_never_reads_is_read_no_more() -> None:
    async with open_server() as served:
        peer = await served.raw(small_buffer=True)
        await peer.upgrade()
        sent = 0
        ping = peer.frames.send_data('{"type":"ping"}') * 1000
        with trio.move_on_after(1.0) as scope:
            while True:
                await peer.stream.send_all(ping)
                sent += 1000
        # The server holds its outbox and what the kernel takes; then it leaves the rest with the peer.
        assert scope.cancelled_caught
        assert sent < 2_000_000
        await still_serves(served)


async def test_a_request_under_way_is_answered_at_a_shutdown() -> None:
    async with open_server() as served, trio.open_nursery() as nursery:
        going_on, go_on = trio.Event(), trio.Event()

        async def count() -> None:
            going_on.set()
            await go_on.wait()

        served.fakes.before_count = count
        answers: list[int] = []

        async def ask() -> None:
            async with httpx.AsyncClient() as http:
                answers.append((await http.get(f"{served.base}/api/health")).json()["sessions"]["total"])

        nursery.start_soon(ask)
        await going_on.wait()
        nursery.start_soon(served.listening.close_all)
        await trio.testing.wait_all_tasks_blocked()
        go_on.set()
    assert answers == [0]
