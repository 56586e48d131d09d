"""PROTOCOL section 4, rules 9 and 11: coming back without a key, and the rest of an answer that was missed."""

from __future__ import annotations

import json
from contextlib import nullcontext

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors.events.conversation import Complete, Message, TurnStarted
from tests.app.app_server import PHONE, PHONE_ALIAS, SESSION, SESSION_ALIAS, World, open_world, talk
from tests.app.line import Line, chat
from tests.fakes.bus import FakeSession
from transport import upgrade

DAY_MS = 86_400_000


async def use(world: World, session_id: str | None = SESSION, device_id: str | None = PHONE) -> None:
    """Have the pair used on a connection that signed in."""
    world.fakes.on_command = talk("fine")
    async with world.signed_in() as line:
        await line.say(chat("hello", session_id, device_id))
        assert (await line.exchange())[0] == "fine"
        await line.close()


async def returns(world: World, session_id: str | None = SESSION, device_id: str | None = PHONE) -> bool:
    """Tell whether a chat message opens a new connection."""
    async with world.line() as line:
        await line.say(chat("again", session_id, device_id))
        first = await line.text()
        if first == "error:invalid_api_key":
            assert await line.closed() == 1000
            return False
        assert first == "authenticated"
        text, end = await line.exchange()
        assert (text, end["type"]) == ("fine", "complete")
        return True


async def test_a_known_pair_comes_back(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        await use(world)
        async with world.line() as line:
            start = trio.current_time()
            await line.say(chat("again", SESSION, PHONE))
            assert await line.text() == "authenticated"
            await line.frame("ready")
            assert line.texts[-1][0] - start == pytest.approx(0.4, abs=0.01)
        (_, sent) = world.fakes.envelopes[-1]
        assert (sent.author.key_id, sent.author.device_id) == ("phone", PHONE_ALIAS)


async def test_only_exactly_this_pair(autojump_clock: MockClock) -> None:
    other = SESSION.replace("bbbbbbbb", "cccccccc")
    async with open_world() as world:
        await use(world)
        await use(world, other, PHONE.replace("a", "d"))
        assert not await returns(world, other, PHONE)
        assert not await returns(world, SESSION, PHONE.replace("a", "d"))
        assert not await returns(world, SESSION, None)
        assert not await returns(world, None, PHONE)
        assert await returns(world)


@pytest.mark.parametrize(
    ("session_id", "device_id"),
    [(None, None), ("trip", PHONE), (SESSION, "ipad"), (None, PHONE), (SESSION, None)],
)
async def test_ids_without_a_uuid_never_count(
    session_id: str | None, device_id: str | None, autojump_clock: MockClock
) -> None:
    async with open_world() as world:
        await use(world, session_id, device_id)
        assert not await returns(world, session_id, device_id)


async def test_seven_days_from_the_last_use_with_a_key(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        await use(world)
        start = world.fakes.now_ms
        world.fakes.now_ms = start + 7 * DAY_MS - 1000
        assert await returns(world)  # this does not lengthen them
        world.fakes.now_ms = start + 7 * DAY_MS + 1000
        assert not await returns(world)


@pytest.mark.parametrize("scope", ["view", "approve", None])
async def test_the_key_must_still_be_valid_and_drive(scope: str | None, autojump_clock: MockClock) -> None:
    async with open_world() as world:
        await use(world)
        keys = world.fakes.devices.by_key
        device = keys.pop("key-of-phone")
        if scope is not None:
            keys["key-of-phone"] = attrs.evolve(device, scope=scope)
        assert not await returns(world)
        keys["key-of-phone"] = device
        assert await returns(world)


async def test_the_config_turns_it_off(autojump_clock: MockClock) -> None:
    async with open_world(app_resume_without_key=False) as world:
        await use(world)
        assert not await returns(world)


async def test_ten_tries_a_minute(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        await use(world)
        for _ in range(10):
            assert not await returns(world, SESSION, PHONE.replace("a", "f"))
        assert not await returns(world)
        await use(world)  # a key always opens
        await trio.sleep(61)
        assert await returns(world)


async def test_who_is_behind_one_tunnel_has_tries_of_his_own(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "address_of", lambda _: "127.0.0.1")
    async with open_world(trusted_proxies=("127.0.0.1",)) as world:
        await use(world)
        world.forwarded_for = "203.0.113.7"
        for _ in range(10):
            assert not await returns(world, SESSION, PHONE.replace("a", "f"))
        assert not await returns(world)
        world.forwarded_for = "203.0.113.8"
        assert await returns(world)


# ---- rule 11 ----


async def cut_off(world: World, line: Line, *, politely: bool) -> FakeSession:
    """Have the app see the first half of an answer and go away."""
    world.fakes.on_command = talk("first half, ", then=lambda *_: None)
    await line.say(chat("tell me", SESSION, PHONE))
    assert (await line.frame("message"))["content"] == "first half, "
    await trio.sleep(1)
    await (line.close() if politely else line.drop())
    await trio.sleep(1)
    return world.fakes.sessions[SESSION_ALIAS]


@pytest.mark.parametrize("politely", [True, False])
async def test_the_rest_comes_first_with_the_next_answer(politely: bool, autojump_clock: MockClock) -> None:
    async with open_world() as world:
        async with world.signed_in() as line:
            session = await cut_off(world, line, politely=politely)
        session.publish(Message("second half", "b", 12), Complete(2, 23, "00"))
        world.fakes.on_command = talk("a new answer")
        async with world.signed_in() as line:
            await line.say(chat("and?", SESSION, PHONE))
            text, end = await line.exchange()
            assert text == (
                "[The rest of the earlier answer:]\n\nsecond half\n\n[The answer to this message:]\n\na new answer"
            )
            assert end["type"] == "complete"
            await line.say(chat("and?", SESSION, PHONE))
            assert (await line.exchange())[0] == "a new answer"
            await trio.sleep(1)
        assert world.pairs.opened == {}


async def test_nothing_is_told_twice_after_a_whole_answer(autojump_clock: MockClock) -> None:
    for politely in (True, False):
        async with open_world() as world:
            world.fakes.on_command = talk("fine")
            for _ in range(3):
                async with world.signed_in() as line:
                    await line.say(chat("hello", SESSION, PHONE))
                    assert (await line.exchange())[0] == "fine"
                    await (line.close() if politely else line.drop())


async def test_what_went_into_a_dead_network_comes_again(autojump_clock: MockClock) -> None:
    """The old connection hangs: all was written, and nothing shows that it arrived."""
    async with open_world() as world, world.signed_in() as old:
        old.answers_pings = False
        world.fakes.on_command = talk("lost on the way")
        await old.say(chat("hello", SESSION, PHONE))
        await trio.sleep(5)
        world.fakes.on_command = talk("a new answer")
        async with world.signed_in() as line:
            await line.say(chat("and?", SESSION, PHONE))
            text, _ = await line.exchange()
            assert "lost on the way" in text
            assert text.endswith("a new answer")


@pytest.mark.parametrize("away", [True, False])
async def test_what_the_agent_said_by_itself_precedes_the_answer(
    away: bool, autojump_clock: MockClock
) -> None:
    async with open_world() as world:
        world.fakes.on_command = talk("started it")
        async with world.signed_in() as line:
            await line.say(chat("build it in the background", SESSION, PHONE))
            assert (await line.exchange())[0] == "started it"
            session = world.fakes.sessions[SESSION_ALIAS]
            if away:
                await line.close()
            woken = (TurnStarted(None, "background"), Message("half of it, ", "a", 0), Message("", "a", 0))
            session.publish(*woken, Message("it is built", "b", 0), Complete(3, 11, "00"))
            world.fakes.on_command = talk("a new answer")
            async with world.signed_in() if away else nullcontext(line) as later:
                await later.say(chat("and?", SESSION, PHONE))
                text, _ = await later.exchange()
                assert text == (
                    "[The rest of the earlier answer:]\n\nhalf of it, "
                    "\n\n[The answer broke off here and begins again:]\n\nit is built"
                    "\n\n[The answer to this message:]\n\na new answer"
                )
                await later.say(chat("and?", SESSION, PHONE))
                assert (await later.exchange())[0] == "a new answer"


async def test_the_pair_of_another_device_is_told_nothing(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        async with world.signed_in() as line:
            session = await cut_off(world, line, politely=False)
        session.publish(Message("second half", "b", 12), Complete(2, 23, "00"))
        world.fakes.on_command = talk("a new answer")
        async with world.signed_in() as line:
            await line.say(chat("and?", SESSION, PHONE.replace("a", "e")))
            assert (await line.exchange())[0] == "a new answer"


async def test_a_turn_that_still_runs_is_told_by_others_names(autojump_clock: MockClock) -> None:
    """The app comes back in mid-turn: the rest is another connection's, and comes with the next answer."""
    async with open_world() as world:
        async with world.signed_in() as line:
            session = await cut_off(world, line, politely=False)
        world.fakes.on_command = None
        async with world.signed_in() as line:
            await line.say(chat("and?", SESSION, PHONE))
            await trio.sleep(1)
            session.publish(Message("second half", "b", 12), Complete(2, 23, "00"))
            await trio.sleep(3)
            assert {json.loads(one)["type"] for one in line.rest()} == {"peer_message", "peer_complete"}
            sent = world.fakes.envelopes[-1][1]
            talk("new")(session, sent)
            text, _ = await line.exchange()
            assert "second half" in text
            assert text.endswith("new")


async def test_the_aliases_open_nothing(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        await use(world)
        for session_id, device_id in (
            (SESSION_ALIAS, PHONE_ALIAS),
            (SESSION, PHONE_ALIAS),
            (SESSION_ALIAS, PHONE),
        ):
            assert not await returns(world, session_id, device_id)
        # Nor does use of the aliases with a key make them open anything.
        world.fakes.devices.add("other", "drive")
        world.fakes.on_command = talk("fine")
        async with world.signed_in(key="key-of-other") as line:
            await line.say(chat("hello", SESSION_ALIAS, PHONE_ALIAS))
            await line.exchange()
        assert not await returns(world, SESSION_ALIAS, PHONE_ALIAS)
        assert await returns(world)
        assert world.fakes.envelopes[-1][1].author.key_id == "phone"
