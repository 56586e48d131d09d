"""Section 6: the test agent, every directive exactly."""

from __future__ import annotations

import re
import time

import pytest
import trio

from tests.e2e.shared_server import Shared, all_events, kinds_of_turn, open_http, sha256, story_of
from tests.support.device import Device


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ("hello", "echo: hello "),
        ("  two   words\n\tand a tab ", "echo: two words and a tab "),
        ("", "echo: "),
        ("   ", "echo: "),
        ("/words 3", "w0 w1 w2 "),
        ("/words 1", "w0 "),
        ("/words 0", ""),
        ("/words 3 0.5", "w0 w1 w2 "),
        ("/big 5", "xxxxx"),
        ("/big 0", ""),
        ("/turns", "turns=1"),
        ("/task tidy", "done"),
        ("say /words 3", "echo: say /words 3 "),
        ("/words three", "echo: /words three "),
        ("/nonsense", "echo: /nonsense "),
        ("/hang on", "echo: /hang on "),
    ],
)
async def test_answers(shared: Shared, sid: str, message: str, answer: str) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        end = await device.ask(sid, message)
        assert end["type"] == "complete"
        assert device.text(sid, end["turn_id"]) == answer
        assert (end["text_length"], end["text_sha256"]) == (len(answer), sha256(answer))
        entries = (await http.get(f"/api/sessions/{sid}/messages")).json()["messages"]
        assert [entry["content"] for entry in entries] == [message, answer]


async def test_one_piece_a_word(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        await device.ask(sid, "one two three")
        pieces = device.events(sid, "message")
        assert pieces[-1]["seq"] - pieces[0]["first_seq"] + 1 == 4
        assert len({piece["block"] for piece in pieces}) == 1
        assert pieces[0]["content"].startswith("echo: ")


async def test_20000_words_to_three_devices(shared: Shared, sid: str) -> None:
    text = "".join(f"w{i} " for i in range(20_000))
    async with shared.device() as one, shared.device() as two, shared.device() as three:
        everybody = (one, two, three)
        for device in everybody:
            await device.attach(sid, agent="echo")
        await one.send(sid, "/words 20000")
        for device in everybody:
            end = await device.wait_for("complete", limit_s=30)
            assert device.text(sid, end["turn_id"]) == text
            assert (end["text_length"], end["text_sha256"]) == (len(text), sha256(text))
        async with open_http(shared) as http:
            journal = story_of(await all_events(http, sid))
        assert journal.covered == end["seq"] == 20_000 + 6
        for device in everybody:
            assert story_of(device.events(sid)) == journal


async def test_words_at_a_pace(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        begin = trio.current_time()
        await device.ask(sid, "/words 40 12.5")
        assert trio.current_time() - begin > 39 * 0.0125


async def test_clock(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        begin_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        end = await device.ask(sid, "/clock 50 4")
        text = device.text(sid, end["turn_id"])
        assert re.fullmatch(r"(\d+ ){50}", text)
        times = [int(word) for word in text.split()]
        assert times == sorted(times)
        assert all(at >= begin_us + number * 4000 for number, at in enumerate(times)), "none before its time"
        assert times[-1] <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000, "the clock of this machine"


async def test_hang_until_interrupted(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        await device.send(sid, "/hang")
        consumed = await device.wait_for("delivery", state="consumed")
        with trio.fail_after(20):
            await device.say("interrupt", session_id=sid)
            await device.wait_for("interrupted", turn_id=consumed["turn_id"])
        end = await device.ask(sid, "/turns")
        assert device.text(sid, end["turn_id"]) == "turns=2"


async def next_works(device: Device, sid: str, taken: int) -> None:
    end = await device.ask(sid, "/turns")
    assert end["type"] == "complete"
    assert device.text(sid, end["turn_id"]) == f"turns={taken}"


async def test_crash(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        await device.ask(sid, "before")
        end = await device.ask(sid, "/crash")
        assert (end["type"], end["code"]) == ("error", "agent_exited")
        assert type(end["retryable"]) is bool
        assert kinds_of_turn(device.events(sid), end["turn_id"]) == [
            "user_message",
            "turn_started",
            "d:handed",
            "d:consumed",
            "d:failed",
            "error",
        ]
        await next_works(device, sid, 3)


async def test_garbage(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        end = await device.ask(sid, "/garbage")
        assert (end["type"], end["code"]) == ("error", "agent_protocol")
        await next_works(device, sid, 2)


async def test_after_an_error_the_queue_goes_on(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        contents = ["/crash", "a", "/garbage", "b", "/crash", "/crash", "c"]
        for number, content in enumerate(contents):
            await device.say("send", session_id=sid, message_id=f"m{number}", content=content)
        turns = {}
        for number in range(len(contents)):
            started = await device.wait_for("turn_started", start=0, message_id=f"m{number}")
            turns[number] = started["turn_id"]
        ends = []
        for turn_id in turns.values():
            end = await device.wait_for(
                lambda frame, turn_id=turn_id: (  # type: ignore[misc]
                    frame["type"] in ("complete", "error") and frame["turn_id"] == turn_id
                ),
                start=0,
            )
            ends.append(end.get("code", end["type"]))
        assert ends == [
            "agent_exited",
            "complete",
            "agent_protocol",
            "complete",
            "agent_exited",
            "agent_exited",
            "complete",
        ]
        assert (await device.ask(sid, "still there"))["type"] == "complete"


async def test_a_failing_session_leaves_others_alone(shared: Shared, sid: str) -> None:
    async with shared.device() as device, shared.device() as other:
        await device.attach(sid, agent="echo")
        await other.attach(f"{sid}-2", agent="echo")
        await other.send(f"{sid}-2", "/words 300 2")
        await device.ask(sid, "/crash")
        await device.ask(sid, "/garbage")
        await device.send(sid, "/hang")
        end = await other.wait_for("complete")
        assert other.text(f"{sid}-2", end["turn_id"]) == "".join(f"w{i} " for i in range(300))
        await device.say("interrupt", session_id=sid)
        await device.wait_for("interrupted")
