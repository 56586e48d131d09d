"""One WebSocket connection over fakes, on a real socket: sign-in, acts, bad input, closing."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import transport.v3.conversation
from actors.commands import Decide, Interrupt, Send
from actors.errors import SessionFailed, ShuttingDown
from actors.events.conversation import Message
from actors.replies import Rejected
from tests.fakes.bus import FakeSession, accept
from tests.transport.client import open_server

SEND = {"type": "send", "session_id": "trip", "message_id": "m1", "content": "hi"}


async def test_signs_in_by_first_frame() -> None:
    async with open_server() as served, served.client(None) as one:
        await one.send(type="auth", token="key-of-phone")
        ready = await one.receive()
    assert ready["type"] == "ready"
    assert ready["protocol"] == 3
    assert ready["device"] == {"id": "phone", "name": "Phone", "scope": "admin"}


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "key-of-phone"},
        {"Authorization": "Bearer key-of-phone"},
        {"Authorization": "key-of-phone"},
    ],
)
async def test_signs_in_by_header(headers: dict[str, str]) -> None:
    async with open_server() as served, served.client(None, headers=headers) as one:
        assert (await one.receive())["type"] == "ready"


async def test_only_a_focus_says_that_somebody_looks() -> None:
    async with open_server() as served, served.client() as one:
        await one.send(type="attach", session_id="trip", agent="echo")
        await one.receive("attached")
        served.fakes.on_command = accept
        await one.send(**SEND)
        await one.receive("accepted")
        attention = served.fakes.attention
        assert (attention.active(), attention.watchers("trip")) == (["phone"], [])
        await one.send(type="focus", session_id="trip", visible=True, idle_s=0)
        await one.send(type="ping")
        await one.receive("pong")
        assert attention.watchers("trip") == ["phone"]


async def test_a_bad_key_in_the_header_is_told_and_closed() -> None:
    async with open_server() as served, served.client(None, headers={"X-API-Key": "no"}) as one:
        frame = await one.receive()
        assert (frame["type"], frame["code"]) == ("error", "unauthorized")
        assert await one.closed() == 4401


@pytest.mark.parametrize("first", ['{"type":"auth","token":"no"}', '{"type":"ping"}', "nonsense", b"\x00"])
async def test_another_first_frame_is_told_and_closed(first: str | bytes) -> None:
    async with open_server() as served, served.client(None) as one:
        await one.send_raw(first)
        assert (await one.receive())["code"] == "unauthorized"
        assert await one.closed() == 4401


@pytest.mark.parametrize("letter", ["x", "\N{EURO SIGN}"])
async def test_a_first_frame_over_a_mebibyte_closes(letter: str) -> None:
    async with open_server() as served, served.client(None) as one:
        content = letter * ((1024 * 1024) // len(letter.encode()))
        await one.send_raw('{"type":"auth","token":"' + content + '"}')
        assert await one.closed() == 1009


async def test_no_sign_in_in_time() -> None:
    async with open_server(sign_in_s=0.05) as served, served.client(None) as one:
        assert await one.closed() == 4408


async def test_a_send_is_accepted_before_its_events() -> None:
    async with open_server() as served:
        served.fakes.on_command = accept
        async with served.client() as one:
            attached = await one.attach("trip", agent="echo")
            assert (attached["head_seq"], attached["from_seq"], attached["epoch"]) == (0, 1, 1)
            await one.send(**SEND)
            frames = [await one.receive() for _ in range(4)]
    assert [frame["type"] for frame in frames] == ["accepted", "user_message", "turn_started", "delivery"]
    assert frames[0]["seq"] == frames[1]["seq"] == 1


@pytest.mark.parametrize(
    "kind", ["send", "cancel", "interrupt", "decide", "resolve", "rename", "mark_read", "draft"]
)
async def test_an_act_needs_an_attachment(kind: str) -> None:
    frame = {
        "type": kind, "session_id": "trip", "message_id": "m", "content": "c", "request_id": "r",
        "decision": "allow", "action": "retry", "title": "t", "seq": 1,
    }  # fmt: skip
    async with open_server() as served, served.client() as one:
        served.fakes.add_session("trip")
        await one.send(**frame)
        answer = await one.receive()
        assert (answer["type"], answer["code"], answer["session_id"]) == ("rejected", "not_attached", "trip")
        await one.attach("trip", observe=True)
        await one.send(**frame)
        assert (await one.receive("rejected"))["code"] == "observer"
        assert served.fakes.envelopes == []


async def test_sessions_of_one_connection_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport.v3.conversation, "MAX_ATTACHED", 2)
    async with open_server() as served, served.client() as one:
        for name in ("a", "b", "c"):
            served.fakes.add_session(name)
        await one.attach("a")
        await one.attach("b")
        await one.send(type="attach", session_id="c")
        refused = await one.receive("rejected")
        assert (refused["code"], refused["session_id"]) == ("queue_full", "c")
        await one.attach("b")
        await one.send(type="detach", session_id="a")
        await one.receive("detached")
        await one.attach("c")


async def test_scopes_are_held() -> None:
    async with open_server() as served:
        served.fakes.add_session("trip")
        for scope in ("view", "approve", "drive"):
            served.fakes.devices.add(scope, scope)
        async with served.client("key-of-view") as one:
            assert (await one.attach("new", agent="echo"))["code"] == "forbidden"
            attached = await one.attach("trip")
            assert attached["devices"] == [{"device_id": "view", "name": "View", "observe": True}]
            await one.send(**SEND)
            assert (await one.receive("rejected"))["code"] == "forbidden"
        async with served.client("key-of-approve") as one:
            await one.attach("trip")
            await one.send(**SEND)
            answer = await one.receive("rejected")
            assert (answer["code"], answer["message_id"]) == ("forbidden", "m1")
            await one.send(type="decide", session_id="trip", request_id="r", decision="deny", note="no")
            await one.send(type="ping")
            await one.receive("pong")
        decided = served.fakes.envelopes[0][1]
        assert decided.command == Decide("r", "deny", "no")
        assert (decided.author.key_id, decided.author.device_id) == ("approve", "approve")


async def test_a_label_of_another_key_is_refused() -> None:
    async with open_server() as served:
        served.fakes.add_session("trip")
        served.fakes.devices.add("ipad")
        async with served.client() as one:
            answer = await one.attach("trip", device_id="ipad")
            assert (answer["type"], answer["code"]) == ("rejected", "forbidden")
            attached = await one.attach("trip", device_id="phone-2")
            assert attached["devices"][0]["device_id"] == "phone-2"
            await one.send(type="interrupt", session_id="trip")
            await one.send(type="ping")
            await one.receive("pong")
        envelope = served.fakes.envelopes[0][1]
        assert (envelope.command, envelope.author.device_id) == (Interrupt(), "phone-2")


async def test_unknown_sessions_and_agents() -> None:
    async with open_server() as served, served.client() as one:
        assert (await one.attach("nowhere"))["code"] == "unknown_session"
        assert (await one.attach("nowhere", agent="nobody"))["code"] == "unknown_agent"
        settings = {"model": "m", "workspace": "sub"}
        attached = await one.attach("new", agent="codex", settings=settings)
        assert attached["agent_type"] == "codex"
        assert attached["settings"] == {
            "workspace": "sub", "model": "m", "permission_mode": None, "effort": None
        }  # fmt: skip
        again = await one.attach("new", agent="nobody")
        assert again["agent_type"] == "codex"


async def test_too_large_content_leaves_no_trace() -> None:
    async with open_server() as served, served.client() as one:
        await one.attach("trip", agent="echo")
        await one.send(**{**SEND, "content": "x" * (256 * 1024 + 1)})
        answer = await one.receive("rejected")
        assert (answer["code"], answer["message_id"]) == ("too_large", "m1")
        await one.send(**{**SEND, "content": "x" * (256 * 1024)})
        await one.send(**{**SEND, "attachments": [{"url": "u"}]})
        assert (await one.receive("rejected"))["code"] == "bad_attachment"
        assert [type(envelope.command) for _, envelope in served.fakes.envelopes] == [Send]


async def test_refusals_of_the_owner_come_back() -> None:
    def refuse(_: FakeSession, envelope: Any) -> None:
        envelope.reply(Rejected("queue_full", "no", message_id="m1"))

    async with open_server() as served, served.client() as one:
        await one.attach("trip", agent="echo")
        served.fakes.on_command = refuse
        await one.send(**SEND)
        answer = await one.receive("rejected")
        assert (answer["code"], answer["message_id"], answer["session_id"]) == ("queue_full", "m1", "trip")
        served.fakes.submit_error = SessionFailed("trip", 60)
        await one.send(**SEND)
        answer = await one.receive()
        assert (answer["type"], answer["code"], answer["message_id"]) == ("error", "session_failed", "m1")
        assert "seq" not in answer
        served.fakes.submit_error = ShuttingDown("stopping")
        await one.send(**SEND)
        assert (await one.receive("rejected"))["code"] == "shutting_down"


async def test_bad_frames_are_told_and_the_tenth_closes() -> None:
    async with open_server() as served, served.client() as one:
        for _ in range(9):
            await one.send_raw(b"\x00\x01")
        await one.send(type="ping")
        for number in range(10):
            await one.send(type="attach", session_id=number)
        answers = [await one.receive() for _ in range(20)]
        kinds = [answer.get("code", answer["type"]) for answer in answers]
        assert kinds == ["bad_frame"] * 9 + ["pong"] + ["bad_frame"] * 10
        assert answers[-1]["where"] == "$.session_id"
        assert await one.closed() == 4400


@pytest.mark.parametrize("letter", ["x", "\N{EURO SIGN}"])
async def test_frames_over_a_mebibyte_close(letter: str) -> None:
    async with open_server() as served, served.client() as one:
        content = letter * ((1024 * 1024) // len(letter.encode()))
        await one.send_raw('{"type":"ping","x":"' + content + '"}')
        assert await one.closed() == 1009


async def test_heartbeats_name_the_heads() -> None:
    async with open_server(heartbeat_s=0.05) as served, served.client() as one:
        session = served.fakes.add_session("trip")
        session.publish(Message("a", "b", 0))
        assert (await one.receive("heartbeat"))["sessions"] == {}
        await one.attach("trip")
        beat = await one.receive("heartbeat")
        assert beat["sessions"] == {"trip": {"epoch": 1, "head_seq": 1}}
        assert "seq" not in beat


async def test_sessions_that_change_are_told_once_a_second() -> None:
    async with open_server() as served, served.client() as one:
        session = served.fakes.add_session("trip")
        await one.send(type="watch_sessions")
        await one.send(type="ping")
        await one.receive("pong")
        for _ in range(5):
            served.fakes.watchers[0]("trip")
        entry = await one.receive("session_changed")
        assert (entry["session_id"], entry["unread"], entry["pending"]) == ("trip", 0, 0)
        started = trio.current_time()
        session.publish(Message("a", "b", 0))
        served.fakes.watchers[0]("trip")
        entry = await one.receive("session_changed")
        assert entry["head_seq"] == 1
        assert trio.current_time() - started > 0.9
    assert served.fakes.watchers == []


async def test_a_revoked_device_is_closed_and_others_stay() -> None:
    async with open_server() as served:
        served.fakes.devices.add("ipad")
        async with served.client() as phone, served.client("key-of-ipad") as ipad:
            served.listening.close_device("ipad")
            assert await ipad.closed() == 4401
            await phone.send(type="ping")
            await phone.receive("pong")


async def test_shutdown_tells_all_to_come_back() -> None:
    async with open_server() as served:
        async with served.client() as one, served.client() as two:
            await one.attach("trip", agent="echo")
            await served.listening.close_all()
            assert await one.closed() == 1001
            assert await two.closed() == 1001
        assert served.listening.statistics().connections == 0


async def test_nothing_of_a_connection_is_left_behind() -> None:
    async with open_server() as served:
        async with served.client() as one:
            await one.attach("trip", agent="echo")
            await one.send(type="detach", session_id="trip")
            await one.receive("detached")
            assert not served.fakes.sessions["trip"].tail.is_watched
            await one.attach("trip")
        with trio.fail_after(20):  # noqa: ASYNC912 - waits, or has it
            while served.listening.statistics().connections:
                await trio.lowlevel.checkpoint()
        assert served.fakes.sessions["trip"].tail.devices == ()
