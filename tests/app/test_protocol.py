"""PROTOCOL section 4, rule by rule, on one connection in memory under a virtual clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.commands import Warm
from actors.events.conversation import (
    Complete,
    Delivery,
    Interrupted,
    Message,
    TurnError,
    TurnStarted,
    Usage,
    UserMessage,
)
from tests.app.app_server import PHONE, PHONE_ALIAS, SESSION, SESSION_ALIAS, open_world, talk
from tests.app.line import KEY, Line, Refused, chat
from tests.fakes.bus import FakeSession
from transport import upgrade
from transport.access.proxies import LOOPBACK

CONFIG = json.dumps({"working_directory": "/Users/Ty/BuilderOS"})
BOTH = pytest.mark.parametrize("path", ["/api/claude/ws", "/api/codex/ws"])


def my(text: str) -> str:
    return chat(text, SESSION, PHONE)


def kinds(texts: Sequence[str]) -> list[str]:
    return [json.loads(text)["type"] for text in texts if text.startswith("{")]


# ---- rules 1 to 3 ----


@BOTH
@pytest.mark.parametrize("first", ["wrong", "{}", CONFIG, chat("hello"), my("hello"), "", b"\x00key"])
async def test_another_first_frame_signs_nobody_in(
    path: str, first: str | bytes, autojump_clock: MockClock
) -> None:
    async with open_world() as world, world.line(path) as line:
        await (line.say_bytes(first) if isinstance(first, bytes) else line.say(first))
        assert await line.text() == "error:invalid_api_key"
        assert await line.closed() == 1000
        assert world.fakes.envelopes == []


async def test_a_silent_connection_has_a_minute(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.line() as line:
        await trio.sleep(59.9)
        assert not line.ended
        assert world.door.waiting_app.used == 1
        await trio.sleep(0.2)
        assert await line.closed() == 1000
        assert line.texts == []


async def test_ready_comes_by_itself_once(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.line() as line:
        await line.say(KEY)
        assert await line.text() == "authenticated"
        start = line.texts[-1][0]
        frame = await line.frame("ready")
        assert line.texts[-1][0] - start == pytest.approx(0.4)
        assert "working_directory" not in json.dumps(frame)
        assert isinstance(frame["features"], dict)
        await trio.sleep(10)
        assert line.rest() == []


@pytest.mark.parametrize("after", [0.0, 0.1, 0.35, 5.0])
async def test_ready_follows_each_config(after: float, autojump_clock: MockClock) -> None:
    async with open_world() as world, world.line() as line:
        await line.say(KEY)
        await line.text()
        await trio.sleep(after)
        line.rest()
        start = trio.current_time()
        await line.say(CONFIG)
        await trio.sleep(0.05)
        await line.say(CONFIG)
        await trio.sleep(5)
        assert [round(at - start, 3) for at, text in line.texts if "ready" in text and at > start] == [0.115]
        await line.say(CONFIG)
        await line.frame("ready")


async def test_what_means_nothing_is_ignored(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.signed_in() as line:
        for text in (
            "garbage",
            "[1]",
            "null",
            '"x"',
            '{"content":""}',
            '{"content":"  "}',
            '{"content":5}',
            "{}",
        ):
            await line.say(text)
        await line.say("wrong key")
        await line.say_bytes(b"\x01\x02")
        await trio.sleep(5)
        assert line.rest() == []
        await line.say(KEY)
        assert await line.text() == "authenticated"
        world.fakes.on_command = talk("still here")
        await line.say(my("hello"))
        assert (await line.exchange())[0] == "still here"


# ---- rules 4 to 7 ----


@BOTH
async def test_missing_ids_have_defaults(path: str, autojump_clock: MockClock) -> None:
    agent = path.split("/")[2]
    async with open_world() as world, world.signed_in(path) as line:
        world.fakes.on_command = talk("hi")
        await line.say('{"content":"hello","session_id":null}')
        assert (await line.exchange())[0] == "hi"
        session = world.fakes.sessions[f"default-{agent}-session"]
        assert session.record.agent_type == agent
        assert session.rows[0].device_id == "unknown-device"


async def test_a_label_of_another_key_shuts_nobody_out(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.signed_in() as line:
        world.fakes.on_command = talk("hi")
        world.fakes.devices.labels[PHONE_ALIAS] = "somebody"
        await line.say(my("hello"))
        assert (await line.exchange())[0] == "hi"
        assert world.fakes.sessions[SESSION_ALIAS].rows[0].device_id == "phone"


@pytest.mark.parametrize(
    "body",
    [
        {"session_id": "no blanks please"},
        {"session_id": 5},
        {"device_id": ["x"]},
        {"attachments": [{"url": "https://elsewhere/x"}]},
        {"attachments": [5]},
        {"attachments": "x"},
        {"content": "x" * 300_000},
    ],
)
async def test_what_cannot_be_sent_is_one_error(body: dict[str, Any], autojump_clock: MockClock) -> None:
    async with open_world() as world, world.signed_in() as line:
        world.fakes.on_command = talk("hi")
        await line.say(json.dumps({"content": "hello", "session_id": SESSION, "device_id": PHONE} | body))
        text, end = await line.exchange()
        assert (text, end["type"]) == ("", "error")
        assert not end["content"].startswith("Error:")
        await line.say(my("hello"))
        assert (await line.exchange())[0] == "hi"


async def test_a_key_that_may_only_watch(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.fakes.devices.add("tv", "view")
        async with world.signed_in(key="key-of-tv") as line:
            await line.say(my("hello"))
            assert (await line.exchange())[1]["code"] == "forbidden"
    assert world.fakes.envelopes == []


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (Complete(2, 0, "00", Usage(3, 4, None, 0.25)), "complete"),
        (Complete(2, 0, "00"), "complete"),
        (Interrupted("mac"), "complete"),
        (TurnError("model_error", "Error: Error: it broke", retryable=True), "error"),
    ],
)
async def test_a_turn_has_one_end(
    end: Complete | Interrupted | TurnError, kind: str, autojump_clock: MockClock
) -> None:
    async with open_world() as world, world.signed_in() as line:

        def finish(session: FakeSession, _: str) -> None:
            session.publish(end)

        world.fakes.on_command = talk("text", then=finish)
        await line.say(my("hello"))
        text, frame = await line.exchange()
        assert (text, frame["type"]) == ("text", kind)
        if kind == "complete":
            assert isinstance(frame["message_count"], int)
        else:
            assert frame["content"] == "it broke"
        usage = end.usage if isinstance(end, Complete) else None
        assert frame.get("usage") == (None if usage is None else {"input_tokens": 3, "output_tokens": 4})
        await trio.sleep(5)
        assert line.rest() == []


async def test_the_claude_path_is_paced_and_the_codex_path_is_not(autojump_clock: MockClock) -> None:
    for path, least in (("/api/claude/ws", 0.25), ("/api/codex/ws", 0.0)):
        async with open_world() as world, world.signed_in(path) as line:
            session = world.fakes.add_session(SESSION_ALIAS)
            world.fakes.on_command = talk(then=lambda *_: None)
            await line.say(my("go"))
            await trio.sleep(1)
            for number in range(50):
                session.publish(Message("x", "b", number))
                await trio.sleep(0.03)
            session.publish(Complete(2, 50, "00"))
            await trio.sleep(5)
            drawn = [
                (at, json.loads(text)) for at, text in line.texts if '"message"' in text or "complete" in text
            ]
            gaps = [b[0] - a[0] for a, b in pairwise(drawn)]
            assert min(gaps) >= least
            assert "".join(f["content"] for _, f in drawn[:-1]) == "x" * 50
            assert (len(drawn) < 10) is (least > 0)


async def test_summaries_are_taken_out(autojump_clock: MockClock) -> None:
    text = "A <tts-summary>one\ntwo</tts-summary>B <b> <tts-sum C<tts-summary>never closed"
    for size in (1, 3, 7, 100):
        parts = [text[i : i + size] for i in range(0, len(text), size)]
        async with open_world() as world, world.signed_in("/api/codex/ws") as line:
            world.fakes.on_command = talk(*parts)
            await line.say(my("go"))
            assert (await line.exchange())[0] == "A B <b> <tts-sum C<tts-summary>never closed"


async def test_others_turns_have_names_of_their_own(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.signed_in() as line:
        world.fakes.on_command = talk("mine")
        await line.say(my("hello"))
        await line.exchange()
        session = world.fakes.sessions[SESSION_ALIAS]
        session.publish(
            UserMessage("m", "theirs"), TurnStarted("m"), Delivery("m", "handed"), device_id="mac"
        )
        session.publish(Message("an", "b", 0), Message("swer", "b", 2), Complete(4, 6, "00"))
        session.publish(
            UserMessage("n", "again"), TurnStarted("n"), TurnError("timeout", "slow", retryable=True)
        )
        await trio.sleep(5)
        told = [json.loads(text) for text in line.rest()]
        assert [one["type"] for one in told] == [
            *("peer_user_message", "peer_message", "peer_complete"),
            *("peer_user_message", "peer_error"),
        ]
        assert told[0]["content"] == "theirs"
        assert (told[0]["device_id"], told[0]["message_id"], told[0]["session_id"]) == (
            "mac",
            "m",
            SESSION_ALIAS,
        )
        assert (told[1]["content"], told[1]["offset"], told[1]["block"]) == ("answer", 0, "b")
        assert told[1]["first_seq"] + 1 == told[1]["seq"]
        assert told[4]["code"] == "timeout"


async def test_two_connections_of_one_session(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.signed_in() as one, world.signed_in("/api/codex/ws") as two:
        world.fakes.on_command = talk("first")
        await two.say(chat("hello", SESSION, "pad"))
        assert (await two.exchange())[0] == "first"
        await one.say(my("hello"))
        assert (await one.exchange())[0] == "first"
        await trio.sleep(2)
        assert set(kinds(two.rest())) == {"peer_user_message", "peer_message", "peer_complete"}


# ---- rules 7 and 8 ----


async def test_a_shutdown_closes_cleanly(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.signed_in() as one, world.line() as two:
        await world.door.close_all()
        assert await one.closed() == 1001
        assert await two.closed() == 1001


async def test_at_most_64_wait_and_none_is_closed_for_a_newer_one(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "address_of", lambda _: "127.0.0.1")
    async with open_world(trusted_proxies=LOOPBACK) as world, trio.open_nursery() as nursery:
        lines: list[Line] = []

        async def wait(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            async with world.line() as line:
                lines.append(line)
                task_status.started()
                await trio.sleep_forever()

        for number in range(64):
            world.forwarded_for = f"203.0.113.{number // 16}"
            await nursery.start(wait)
            if number % 16 == 15:  # as many as one address may have
                with pytest.RaisesGroup(pytest.RaisesExc(Refused, match="503"), flatten_subgroups=True):
                    async with world.line():
                        pass
        world.forwarded_for = "203.0.113.99"
        with pytest.RaisesGroup(pytest.RaisesExc(Refused, match="503"), flatten_subgroups=True):
            async with world.line():
                pass
        assert not any(line.ended for line in lines)
        await lines[0].sign_in()
        await nursery.start(wait)
        assert world.door.counts() == {"claude": 65, "codex": 0}
        nursery.cancel_scope.cancel()


async def test_a_revoked_key_is_out(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.signed_in() as line:
        world.door.close_device("phone")
        assert await line.closed() == 4401


async def test_the_session_of_before_is_warmed_up_by_a_configuration(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.fakes.on_command = talk("hi")
        async with world.signed_in() as line:
            await line.say(CONFIG)
            await line.say(my("hello"))
            await line.exchange()
        for path in ("/api/claude/ws", "/api/codex/ws"):
            async with world.signed_in(path) as line:
                await line.say(CONFIG)
                await line.say(KEY)
                await line.text()  # the answer to the key: the configuration was taken before
        warmed = [one for _, one in world.fakes.envelopes if isinstance(one.command, Warm)]
        assert [one.author.key_id for one in warmed] == ["phone"], "not before a message, and of one agent"


async def test_a_session_that_fails_to_take_a_message_says_so(autojump_clock: MockClock) -> None:
    async with open_world(submit_s=1.0) as world, world.signed_in() as line:
        world.fakes.on_command = talk("hi")
        await line.say(my("hello"))
        await line.exchange()
        world.fakes.submit_error = trio_error()
        await line.say(my("more"))
        assert (await line.exchange())[1]["code"] == "shutting_down"
        await trio.sleep(1)  # the first answer counts as seen with the app's next pong
        assert world.pairs.opened == {}


def trio_error() -> Exception:
    from actors.errors import ShuttingDown

    return ShuttingDown()


async def test_the_app_looks_for_a_minute_and_only_while_connected(
    autojump_clock: MockClock,
) -> None:
    async with open_world() as world:
        world.fakes.on_command = talk("hi")
        async with world.signed_in() as line:
            await line.say(my("hello"))
            await line.exchange()
            watchers = world.fakes.attention.watchers
            assert len(watchers(SESSION_ALIAS)) == 1
            world.fakes.now_ms += 60_000
            assert watchers(SESSION_ALIAS) == []
            await line.say(my("again"))
            await line.exchange()
            assert len(watchers(SESSION_ALIAS)) == 1
            await line.close()
        assert watchers(SESSION_ALIAS) == []
