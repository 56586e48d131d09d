"""Where a device comes into a session, and that it then gets every event once. Over fakes, real sockets."""

from __future__ import annotations

import pytest

from actors.commands import Send
from actors.events.conversation import Complete, Delivery, Message, TurnStarted, UserMessage
from actors.events.permissions import PermissionRequested
from actors.tail import DraftChanged, ReadMarkMoved, SessionProblem
from storage.errors import StorageUnavailable
from tests.fakes.bus import FakeSession
from tests.transport.client import Client, open_server

COMPLETE = Complete(2, 0, "00")


def one_turn(session: FakeSession, number: int, words: int = 3) -> None:
    message_id = f"m{number}"
    session.publish(UserMessage(message_id, "hi"), TurnStarted(message_id), Delivery(message_id, "handed"))
    offset = 0
    for word in range(words):
        session.publish(Message(f"w{word} ", "b", offset))
        offset += len(f"w{word} ")
    session.publish(COMPLETE)


async def follow(client: Client, position: int, head: int) -> list[dict[str, object]]:
    """Read events up to `head`, checking that there is no gap and nothing twice."""
    frames = []
    while position < head:
        frame = await client.receive()
        if "seq" in frame:
            assert frame["first_seq"] <= position + 1 <= frame["seq"], (position, frame)
            position = frame["seq"]
            frames.append(frame)
    return frames


async def test_after_a_position_the_missed_then_the_live_events() -> None:
    async with open_server() as served, served.client() as one:
        session = served.fakes.add_session("trip")
        one_turn(session, 1)
        head = session.head_seq
        attached = await one.attach("trip", after={"epoch": 1, "seq": 4})
        assert (attached["replay"], attached["from_seq"], attached["head_seq"]) == ("ok", 5, head)
        one_turn(session, 2)
        frames = await follow(one, 4, session.head_seq)
        assert frames[-1]["type"] == "complete"


async def test_at_the_head_nothing_follows() -> None:
    async with open_server() as served, served.client() as one:
        session = served.fakes.add_session("trip")
        one_turn(session, 1)
        attached = await one.attach("trip", after={"epoch": 1, "seq": session.head_seq})
        assert (attached["replay"], attached["from_seq"]) == ("ok", session.head_seq + 1)


@pytest.mark.parametrize(
    "after", [None, {"epoch": 2, "seq": 1}, {"epoch": 1, "seq": 99}, {"epoch": 1, "seq": -1}]
)
async def test_without_a_good_position_comes_a_snapshot(after: object) -> None:
    async with open_server() as served, served.client() as one:
        session = served.fakes.add_session("trip")
        for number in range(3):
            one_turn(session, number)
        attached = await one.attach("trip", after=after, history=2)
        assert attached["replay"] == "snapshot"
        first = attached["from_seq"]
        frames = await follow(one, first - 1, session.head_seq)
        assert [frame["type"] for frame in frames].count("turn_started") == 2
        attached = await one.attach("trip", after=after, history=0)
        assert (attached["replay"], attached["from_seq"]) == ("snapshot", session.head_seq + 1)


async def test_an_old_position_is_served_from_the_journal() -> None:
    async with open_server() as served, served.client() as one:
        session = served.fakes.add_session("trip")
        for number in range(200):
            one_turn(session, number)
        session.tail.rest()
        assert session.tail.read_nowait(0) is None
        attached = await one.attach("trip", after={"epoch": 1, "seq": 0})
        assert attached["from_seq"] == 1
        await follow(one, 0, session.head_seq)


async def test_attaching_again_replaces_and_repeats_nothing() -> None:
    async with open_server() as served, served.client() as one:
        session = served.fakes.add_session("trip")
        one_turn(session, 1)
        await one.attach("trip", after={"epoch": 1, "seq": 0})
        await follow(one, 0, session.head_seq)
        for _ in range(3):
            position = session.head_seq
            session.publish(Message("x", "b", 0))
            await one.send(type="attach", session_id="trip", after={"epoch": 1, "seq": position})
            session.publish(Message("y", "b", 1))
            await one.receive("attached")
            session.publish(Message("z", "b", 2))
            await follow(one, position, session.head_seq)
        assert len(session.tail.devices) == 1
        await one.send(type="detach", session_id="trip")
        assert (await one.receive("detached"))["session_id"] == "trip"
        session.publish(Message("unseen", "b", 0))
        await one.send(type="ping")
        assert (await one.receive())["type"] == "pong"


async def test_attaching_again_shows_nobody_twice() -> None:
    async with open_server() as served:
        session = served.fakes.add_session("trip")
        served.fakes.devices.add("ipad")
        async with served.client() as phone, served.client("key-of-ipad") as ipad:
            await ipad.attach("trip")
            await phone.attach("trip")
            await phone.send(type="ping")
            await phone.receive("pong")
            await ipad.receive("presence")
            # The owner's answer is ahead of the tail, so this attach waits while the earlier one continues.
            items = session.journal_only(Message("a", "b", 0))
            await phone.send(type="attach", session_id="trip", observe=True)
            presence = await ipad.receive("presence")
            shown = [(each["device_id"], each["observe"]) for each in presence["devices"]]
            assert shown == [("ipad", False), ("phone", True)]
            session.tell(items)
            frames = [await phone.receive()]
            while frames[-1]["type"] != "attached":
                frames.append(await phone.receive())
            assert [frame["type"] for frame in frames if frame["type"] == "presence"] == []
            assert len(frames[-1]["devices"]) == 2
            assert len(session.tail.devices) == 2


async def test_an_attach_that_fails_leaves_the_earlier_one_shown() -> None:
    async with open_server() as served:
        session = served.fakes.add_session("trip")
        async with served.client() as phone:
            session.publish(Message("a", "b", 0))
            await phone.attach("trip")
            served.fakes.read_error = StorageUnavailable("disk")
            session.tail.reset(1, 1)
            answer = await phone.attach("trip", after={"epoch": 1, "seq": 0})
            assert answer["type"] in ("error", "rejected")
            served.fakes.read_error = None
            assert [device.device_id for device in session.tail.devices] == ["phone"]


async def test_several_sessions_on_one_connection() -> None:
    async with open_server() as served, served.client() as one:
        names = [f"s{number}" for number in range(20)]
        for name in names:
            await one.attach(name, agent="echo")
        for name in names:
            served.fakes.sessions[name].publish(Message(name, "b", 0))
        seen = {(await one.receive("message"))["session_id"] for _ in names}
        assert seen == set(names)


async def test_waits_for_what_the_owner_told_and_has_not_published() -> None:
    async with open_server() as served, served.client() as one:
        session = served.fakes.add_session("trip")
        items = session.journal_only(Message("a", "b", 0), Message("b", "b", 1))
        await one.send(type="attach", session_id="trip", after={"epoch": 1, "seq": 0})
        while not session.tail.is_watched:
            await one.send(type="ping")
        session.tell(items)
        attached = await one.receive("attached")
        assert (attached["head_seq"], attached["from_seq"]) == (2, 1)
        await follow(one, 0, 2)


async def test_passing_news_go_to_the_others() -> None:
    async with open_server() as served:
        session = served.fakes.add_session("trip")
        served.fakes.devices.add("ipad")
        async with served.client() as phone, served.client("key-of-ipad") as ipad:
            await phone.attach("trip")
            await ipad.attach("trip", observe=True)
            presence = await phone.receive("presence")
            assert [each["device_id"] for each in presence["devices"]] == ["phone", "ipad"]
            session.tail.post_nowait(DraftChanged("thin", "phone"))
            session.tail.post_nowait(ReadMarkMoved(7, "phone"))
            draft = await ipad.receive("draft", "mark_read")
            assert (draft["type"], draft["content"]) == ("draft", "thin")
            mark = await ipad.receive("draft", "mark_read")
            assert mark["read_seq"] == 7
            assert "seq" not in mark
            session.tail.post_nowait(SessionProblem("storage", "the disk is full"))
            assert (await phone.receive("draft", "mark_read", "error"))["code"] == "storage"
            again = await phone.attach("trip", after={"epoch": 1, "seq": 0})
            assert [each["device_id"] for each in again["devices"]] == ["ipad", "phone"]
            assert (await phone.receive())["code"] == "storage"
            session.tail.post_nowait(SessionProblem(None, ""))
            session.publish(Message("x", "b", 0))
            assert (await phone.receive())["type"] == "message"


async def test_a_read_that_fails_is_told_and_tried_again() -> None:
    async with open_server() as served, served.client() as one:
        session = served.fakes.add_session("trip")
        await one.attach("trip")
        served.fakes.read_error = StorageUnavailable("disk")
        items = session.journal_only(Message("x" * 300_000, "b", 0), Message("y", "b", 1))
        session.tell(items)
        error = await one.receive("error")
        assert (error["code"], error["session_id"]) == ("storage", "trip")
        assert (await one.attach("other", agent="echo"))["type"] == "attached"
        served.fakes.read_error = None
        session.publish(Message("z", "b", 2))
        frames = await follow(one, 0, 3)
        assert "".join(str(frame["content"]) for frame in frames)[-2:] == "yz"


async def test_a_paced_device_gets_rounds_and_urgent_events_at_once() -> None:
    async with open_server() as served, served.client() as one:
        session = served.fakes.add_session("trip")
        await one.attach("trip", pace_ms=10_000)
        session.publish(Message("a", "b", 0))
        assert (await one.receive())["content"] == "a"
        session.publish(Message("b", "b", 1))
        session.publish(Message("c", "b", 2))
        await one.send(type="ping")
        assert (await one.receive())["type"] == "pong"
        session.publish(PermissionRequested("r", "Bash", {"command": "ls"}, ("allow", "deny")))
        joined = await one.receive()
        assert (joined["content"], joined["first_seq"], joined["seq"]) == ("bc", 2, 3)
        asked = await one.receive()
        assert (asked["type"], asked["input"]) == ("permission_requested", {"command": "ls"})


async def test_a_session_restored_below_a_device_ends_its_attachment() -> None:
    async with open_server() as served, served.client() as one:
        session = served.fakes.add_session("trip")
        await one.attach("trip")
        session.tail.reset(2, 0)
        assert (await one.receive())["type"] == "detached"
        assert not session.tail.is_watched


async def test_pipelined_attach_and_send() -> None:
    async with open_server() as served, served.client() as one:
        await one.send(type="attach", session_id="trip", agent="echo")
        await one.send(type="send", session_id="trip", message_id="m", content="hi")
        await one.send(type="ping")
        await one.receive("pong")
        assert served.fakes.envelopes[0][1].command == Send("m", "hi")
