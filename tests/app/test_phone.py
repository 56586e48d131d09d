"""What a person sees on an emulated phone in front of this server, under a virtual clock."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from actors.events.conversation import Complete, Message, TurnStarted, UserMessage
from tests.app.app_server import SESSION_ALIAS, Phones, open_phone, open_world, talk
from tests.app.emulation import Profile, jitter_of
from tests.fakes.bus import FakeSession

RUNS = 20
ANSWER = "".join(f"{number:04d} words " for number in range(400))[:4000]


def pieces(text: str, rng: random.Random) -> list[str]:
    """Cut a text anywhere."""
    cuts = sorted(rng.sample(range(1, len(text)), 200))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


async def ready(phones: Phones, count: int = 2) -> None:
    await phones.until(lambda: len(phones.phone.ready_after) >= count, 60)


async def ask(phones: Phones, text: str) -> None:
    done = phones.phone.completes
    phones.phone.type(text)
    phones.touch()
    await phones.until(lambda: phones.phone.completes > done, 600)
    with trio.fail_after(20):  # what the app still does with what it has
        await trio.sleep(1)


@pytest.mark.parametrize("profile", [Profile.claude(), Profile.codex()])
async def test_seen_text_is_the_answer(profile: Profile, autojump_clock: MockClock) -> None:
    seen, shown_ready = [], []
    for seed in range(RUNS):
        rng = random.Random(seed)
        async with open_world() as world:
            world.fakes.on_command = talk(*pieces(ANSWER, rng))
            jitter = jitter_of(rng) if profile.debounces else float
            async with open_phone(world.connect, profile, jitter=jitter) as phones:
                phones.phone.new_tab()
                await ready(phones)
                assert phones.phone.bubbles == []
                await ask(phones, "go")
                seen.append(phones.phone.seen == ANSWER)
                shown_ready.append(phones.phone.ready_after == [True, True])
                assert phones.phone.errors == []
                await ask(phones, "again")
                assert phones.phone.seen == ANSWER
    assert seen == [True] * RUNS
    assert shown_ready == [True] * RUNS


async def test_text_that_trickles_is_whole_too(autojump_clock: MockClock) -> None:
    for seed in range(5):
        rng = random.Random(seed)
        async with open_world() as world, trio.open_nursery() as agent:

            async def trickle(session: FakeSession, rng: random.Random) -> None:
                offset = 0
                for piece in pieces(ANSWER, rng):
                    await trio.sleep(rng.uniform(0, 0.06))
                    session.publish(Message(piece, "b", offset))
                    offset += len(piece)
                await trio.sleep(rng.uniform(0, 0.3))
                session.publish(Complete(2, offset, "00"))

            def then(session: FakeSession, _: str, rng: random.Random = rng) -> None:
                agent.start_soon(trickle, session, rng)

            world.fakes.on_command = talk(then=then)
            async with open_phone(world.connect, Profile.claude(), jitter=jitter_of(rng)) as phones:
                phones.phone.new_tab()
                await ready(phones)
                await ask(phones, "go")
                assert phones.phone.seen == ANSWER


async def test_a_tab_left_alone_shows_nothing_and_loses_nothing(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.fakes.on_command = talk("fine")
        async with open_phone(world.connect, Profile.claude()) as phones:
            phones.phone.new_tab()
            await ready(phones)
            with trio.fail_after(120):
                await trio.sleep(50)
            assert phones.phone.bubbles == []
            assert phones.phone.closed == []
            assert phones.lines[1].pongs >= 1
            await ask(phones, "hello")
            assert phones.phone.seen == "fine"


async def test_a_silent_turn_of_ten_minutes(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        running: list[FakeSession] = []
        world.fakes.on_command = talk(then=lambda session, _: running.append(session))
        async with open_phone(world.connect, Profile.claude()) as phones:
            press(phones)
            await ready(phones, 1)
            phones.phone.type("think")
            phones.touch()
            await trio.sleep(600)
            assert phones.phone.closed == []
            assert phones.lines[0].pongs >= 20
            running[0].publish(Message("done", "b", 0), Complete(2, 4, "00"))
            await phones.until(lambda: phones.phone.completes == 1)
            assert phones.phone.seen == "done"


def press(phones: Phones) -> None:
    phones.phone.press_reconnect()


def peer_turn(session: FakeSession, name: str, parts: list[str]) -> None:
    session.publish(UserMessage(name, "from the mac"), TurnStarted(name), device_id="mac")
    offset = 0
    for part in parts:
        session.publish(Message(part, "b", offset))
        offset += len(part)
    session.publish(Complete(4, offset, "00"))


@pytest.mark.parametrize("profile_of", [Profile.claude, Profile.codex])
async def test_anothers_turn_shows_after_a_change_of_one_word(
    profile_of: Callable[..., Profile], autojump_clock: MockClock
) -> None:
    for changed in (False, True):
        rng = random.Random(3)
        async with open_world() as world:
            world.fakes.on_command = talk("mine")
            profile = profile_of("peer_message") if changed else profile_of()
            jitter = jitter_of(rng) if profile.debounces else float
            async with open_phone(world.connect, profile, jitter=jitter) as phones:
                phones.phone.new_tab()
                await ready(phones)
                await ask(phones, "hello")
                peer_turn(world.fakes.sessions[SESSION_ALIAS], "m9", pieces(ANSWER, rng))
                await trio.sleep(30)
                assert phones.phone.seen == (ANSWER if changed else "mine")
                assert phones.phone.errors == []


async def test_the_reconnect_of_the_app_goes_on_without_a_key(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.fakes.on_command = talk("fine")
        async with open_phone(world.connect, Profile.claude()) as phones:
            press(phones)
            await ready(phones, 1)
            await ask(phones, "one")
            await phones.lines[0].drop()
            await phones.until(lambda: phones.phone.is_connected and 1 in phones.lines)
            await trio.sleep(59)  # it stays silent until the person types
            await ask(phones, "two")
            assert phones.phone.seen == "fine"
            assert phones.phone.statuses == []
            assert len(world.fakes.sessions[SESSION_ALIAS].rows) > 8


async def test_a_wrong_key_shows_in_the_status_line(autojump_clock: MockClock) -> None:
    async with open_world() as world, open_phone(world.connect, Profile.claude(), key="wrong") as phones:
        press(phones)
        await phones.until(lambda: bool(phones.phone.closed))
        assert phones.phone.statuses == ["error:invalid_api_key"]
        assert phones.phone.closed[0] == 1000
