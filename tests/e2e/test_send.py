"""Section 3, send: accepted, duplicate, the queue and its refusals."""

from __future__ import annotations

import json

import pytest
import trio

from tests.e2e.shared_server import Shared, all_events, open_http
from tests.support.device import Device, Json


async def start_hanging(device: Device, sid: str) -> str:
    """Start a turn that does not end by itself; return its id."""
    await device.attach(sid, agent="echo")
    await device.send(sid, "/hang", message_id="hang")
    consumed = await device.wait_for("delivery", state="consumed")
    turn_id: str = consumed["turn_id"]
    return turn_id


async def test_accepted_comes_before_its_events(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        for number in range(20):
            accepted = await device.send(sid, f"m{number}", message_id=f"id-{number}")
            assert accepted["message_id"] == f"id-{number}"
            assert accepted["session_id"] == sid
            assert accepted["duplicate"] is False
            said = await device.wait_for("user_message", start=0, message_id=f"id-{number}")
            assert said["seq"] == accepted["seq"]
            assert device.frames.index(accepted) < device.frames.index(said)
            await device.wait_for("complete", start=0, turn_id=said["turn_id"])


async def test_a_duplicate_is_accepted_and_not_run(shared: Shared, sid: str) -> None:
    once = "once / \0 \N{SNOWMAN}"
    async with shared.device() as device, shared.device() as other:
        await device.attach(sid, agent="echo")
        first = await device.send(sid, "hello", message_id=once)
        await device.wait_for("complete")
        head = device.positions[sid][1]
        for who, content in ((device, "hello"), (device, "other content"), (other, "hello")):
            await who.attach(sid, history=0)
            again = await who.send(sid, content, message_id=once)
            assert (again["type"], again["duplicate"], again["seq"]) == ("accepted", True, first["seq"])
        assert (await device.attach(sid, history=0))["head_seq"] == head


async def test_a_duplicate_is_one_whatever_it_brings(shared: Shared, sid: str) -> None:
    wrong: tuple[Json, ...] = ({"content": "x" * 300_000}, {"attachments": [{"url": "/uploads/nowhere"}]})
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        for fields, code in zip(wrong, ("too_large", "bad_attachment"), strict=True):
            first: Json = {"session_id": sid, "message_id": code, "content": "hello"}
            await device.say("send", **first | fields)
            refused = await device.wait_for("rejected")
            assert (refused["code"], refused["message_id"]) == (code, code)
            taken = await device.send(sid, "hello", message_id=code)
            assert (taken["type"], taken["duplicate"]) == ("accepted", False), "a rejection leaves no trace"
            await device.wait_for("complete")
            await device.say("send", **first | fields)
            again = await device.wait_for("accepted", message_id=code)
            assert (again["duplicate"], again["seq"]) == (True, taken["seq"])


async def test_the_same_id_at_once_runs_once(shared: Shared, sid: str) -> None:
    async with shared.device() as device, shared.device() as other:
        for who in (device, other):
            await who.attach(sid, agent="echo")
        for who in (device, other, device, other):
            await who.say("send", session_id=sid, message_id="once", content="/turns")
        for who in (device, other):
            for _ in range(2):
                await who.wait_for("accepted")
            await who.wait_for("complete", start=0)
        answers = [frame for who in (device, other) for frame in who.frames if frame["type"] == "accepted"]
        assert sorted(answer["duplicate"] for answer in answers) == [False, True, True, True]
        assert len({answer["seq"] for answer in answers}) == 1
        end = await device.ask(sid, "/turns")
        assert device.text(sid, end["turn_id"]) == "turns=2"


async def test_ids_are_per_session(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        for name in (sid, f"{sid}-2"):
            await device.attach(name, agent="echo")
            assert (await device.send(name, "hello", message_id="same"))["duplicate"] is False
            await device.wait_for("complete", session_id=name)


async def test_a_queue_is_first_in_first_out(shared: Shared, sid: str) -> None:
    async with shared.device() as one, shared.device() as two:
        turn_id = await start_hanging(one, sid)
        await two.attach(sid)
        for number in range(10):
            who = one if number % 2 else two
            accepted = await who.send(sid, f"m{number}", message_id=f"m{number}", mode="queue")
            assert accepted["type"] == "accepted"
            await one.wait_for("delivery", start=0, message_id=f"m{number}", state="queued")
        await two.say("interrupt", session_id=sid, turn_id=turn_id)
        for number in range(10):
            started = await one.wait_for("turn_started", start=0, message_id=f"m{number}")
            await one.wait_for("complete", start=0, turn_id=started["turn_id"])
        order = [event["message_id"] for event in one.events(sid, "turn_started")]
        assert order == ["hang", *(f"m{number}" for number in range(10))]


async def test_a_full_queue(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        turn_id = await start_hanging(device, sid)
        for number in range(100):
            await device.say("send", session_id=sid, message_id=f"m{number}", content="/turns")
        for number in range(100):
            await device.wait_for("accepted", message_id=f"m{number}", start=0)
        for _ in range(2):
            full = await device.send(sid, "one more", message_id="more")
            assert (full["type"], full["code"], full["message_id"]) == ("rejected", "queue_full", "more")
        assert (await device.send(sid, "x", message_id="m5"))["duplicate"] is True
        await device.say("cancel", session_id=sid, message_id="m99")
        await device.wait_for("delivery", message_id="m99", state="cancelled")
        accepted = await device.send(sid, "one more", message_id="more")
        assert (accepted["type"], accepted["duplicate"]) == ("accepted", False), "a rejection leaves no trace"
        queue = (await device.attach(sid, history=0))["queue"]
        assert [each["message_id"] for each in queue] == [*(f"m{number}" for number in range(99)), "more"]
        await device.say("interrupt", session_id=sid, turn_id=turn_id)
        last = await device.wait_for("turn_started", start=0, message_id="more", limit_s=40)
        await device.wait_for("complete", start=0, turn_id=last["turn_id"])


async def test_cancel(shared: Shared, sid: str) -> None:
    async with shared.device() as one, shared.device() as two:
        await start_hanging(one, sid)
        await two.attach(sid, device_id="two")
        await one.send(sid, "later", message_id="later")
        await two.say("cancel", session_id=sid, message_id="later")
        cancelled = await one.wait_for("delivery", message_id="later", state="cancelled")
        assert cancelled["device_id"] == "two"
        for message_id in ("later", "hang", "never-sent"):
            await two.say("cancel", session_id=sid, message_id=message_id)
            rejected = await two.wait_for("rejected")
            assert (rejected["code"], rejected["message_id"]) == ("not_queued", message_id)
        assert (await one.send(sid, "later", message_id="later"))["duplicate"] is True
        await one.say("interrupt", session_id=sid)
        await one.wait_for("interrupted")
        assert (await one.attach(sid, history=0))["state"] == "idle"


async def test_echo_cannot_steer(shared: Shared, sid: str) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await start_hanging(device, sid)
        head = device.positions[sid]
        rejected = await device.send(sid, "left", message_id="steer", mode="steer")
        assert (rejected["code"], rejected["message_id"]) == ("cannot_steer", "steer")
        assert len(await all_events(http, sid)) == head[1], "no trace"
        assert (await device.send(sid, "/turns", message_id="steer"))["duplicate"] is False
        await device.say("interrupt", session_id=sid)
        await device.wait_for("complete")


async def test_steer_where_nothing_runs_is_a_message(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        assert (await device.send(sid, "go", mode="steer"))["type"] == "accepted"
        await device.wait_for("complete")


@pytest.mark.parametrize("letter", ["x", '"', "ä", "\U0001f600", "\n"])
async def test_the_limit_of_content_is_256_kib_as_json(shared: Shared, sid: str, letter: str) -> None:
    """At the limit it is accepted, one letter over it is not, whatever the letter costs as JSON."""
    width = len(json.dumps(letter, ensure_ascii=False).encode()) - 2
    most = (256 * 1024 - 2) // width
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        rejected = await device.send(sid, letter * (most + 3), message_id="big")
        assert (rejected["type"], rejected["code"], rejected["message_id"]) == (
            "rejected",
            "too_large",
            "big",
        )
        assert (await device.attach(sid))["head_seq"] == 0
        accepted = await device.send(sid, letter * most, message_id="big")
        assert (accepted["type"], accepted["duplicate"]) == ("accepted", False)
        said = await device.wait_for("user_message", start=0)
        assert said["content"] == letter * most
        end = await device.wait_for("complete", start=0)
        expected = "echo: " + "".join(f"{word} " for word in (letter * most).split())
        assert device.text(sid, end["turn_id"]) == expected


async def test_sends_without_attaching(shared: Shared, sid: str) -> None:
    async with shared.device() as device, shared.device() as other:
        await other.attach(sid, agent="echo")
        rejected = await device.send(sid, "hello", message_id="m1")
        assert (rejected["type"], rejected["code"], rejected["message_id"]) == (
            "rejected",
            "not_attached",
            "m1",
        )
        assert rejected["session_id"] == sid


async def test_a_bad_attachment(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        for url in ("/uploads/nothing", "https://example.org/x", "../../etc/passwd"):
            rejected = await device.send(sid, "see", message_id="m", attachments=[{"url": url}])
            assert (rejected["type"], rejected["code"]) == ("rejected", "bad_attachment")
        assert (await device.attach(sid))["head_seq"] == 0


async def test_if_head(shared: Shared, sid: str) -> None:
    async with shared.device() as one, shared.device() as two:
        await one.attach(sid, agent="echo", device_id="one")
        await two.attach(sid, device_id="two")
        begin = {"epoch": 1, "seq": 0}
        assert (await one.send(sid, "a", if_head=begin))["type"] == "accepted"
        await one.wait_for("complete")
        await two.wait_for("complete")
        # all that came since is the sender's own and of its turn
        assert (await one.send(sid, "b", if_head=begin))["type"] == "accepted"
        end = await one.wait_for("complete")
        await two.wait_for("complete", seq=end["seq"])
        refused = await two.send(sid, "c", message_id="c", if_head=begin)
        assert (refused["type"], refused["code"], refused["message_id"]) == ("rejected", "stale_head", "c")
        assert refused["head"] == {"epoch": 1, "seq": end["seq"]}
        assert (await two.send(sid, "c", message_id="c", if_head=refused["head"]))["duplicate"] is False
        await one.wait_for("complete", start=one.frames.index(end) + 1)
        assert (await one.send(sid, "d", if_head=begin))["code"] == "stale_head"
        other_epoch = await one.send(sid, "d", if_head={"epoch": 2, "seq": 0})
        assert other_epoch["code"] == "stale_head"


async def test_if_head_of_two_at_once_lets_one_through(shared: Shared, sid: str) -> None:
    async with shared.device() as one, shared.device() as two:
        await one.attach(sid, agent="echo", device_id="one")
        await two.attach(sid, device_id="two")
        answers = []

        async def send(who: Device) -> None:
            answers.append(await who.send(sid, "me", if_head={"epoch": 1, "seq": 0}))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, one)
            nursery.start_soon(send, two)
        assert sorted(answer["type"] for answer in answers) == ["accepted", "rejected"]
