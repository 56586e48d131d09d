"""PROTOCOL section 4, rule 10: decisions by a text box, with every race that it names."""

from __future__ import annotations

import json

import pytest
import trio
from trio.testing import MockClock

from actors.events.conversation import Complete, Interrupted, Message, TurnStarted, UserMessage
from actors.events.permissions import PermissionRequested, PermissionResolved
from tests.app.app_server import PHONE, PHONE_ALIAS, SESSION, SESSION_ALIAS, World, open_world, talk
from tests.app.line import Line, chat
from tests.fakes.bus import ALIASES, FakeSession


def my(text: str) -> str:
    return chat(text, SESSION, PHONE)


def ask(
    session: FakeSession,
    request_id: str,
    tool: str = "practice",
    *,
    text: str = "may I",
    grant: str | None = None,
) -> None:
    request = PermissionRequested(request_id, tool, {"text": text}, ("allow", "deny"), grant=grant)
    session.pending = (*session.pending, request)
    session.publish(request)


def decide(session: FakeSession, request_id: str, by: str | None = "mac", word: str = "allow") -> None:
    """Somebody else decides."""
    session.pending = tuple(one for one in session.pending if one.request_id != request_id)
    session.publish(PermissionResolved(request_id, word, by), device_id=by)  # type: ignore[arg-type]


def finish(session: FakeSession, text: str, offset: int) -> None:
    session.publish(Message(text, "b", offset), Complete(2, offset + len(text), "00"))


async def told_of(world: World, line: Line) -> FakeSession:
    """Send a message whose turn asks; return its session once the app knows."""
    world.fakes.on_command = talk("before ", then=lambda session, _: ask(session, "r1"))
    await line.say(my("go"))
    first = await line.frame("message")
    assert first["content"] == "before "
    text, end = await line.exchange()
    for word in ("practice", "may I", "allow", "deny"):
        assert word in text
    assert end["type"] == "complete"
    return world.fakes.sessions[SESSION_ALIAS]


def messages_of(session: FakeSession) -> int:
    return sum(row.kind == "user_message" for row in session.rows)


@pytest.mark.parametrize(
    ("word", "decision"), [("allow", "allow"), (" YES ", "allow"), ("Deny", "deny"), ("no", "deny")]
)
async def test_the_apps_own_answer(word: str, decision: str, autojump_clock: MockClock) -> None:
    async with open_world() as world, world.signed_in() as line:
        session = await told_of(world, line)
        await line.say(my(word))
        await trio.sleep(1)
        assert line.rest() == []
        resolved = [row for row in session.rows if row.kind == "permission_resolved"]
        assert len(resolved) == 1
        assert json.loads(resolved[0].payload)["decision"] == decision
        finish(session, "after", 7)
        text, end = await line.exchange()
        assert (text, end["type"]) == ("after", "complete")
        assert messages_of(session) == 1
        await trio.sleep(5)
        assert line.rest() == []


async def test_what_is_not_shown_whole_cannot_be_allowed(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.signed_in() as line:
        session = await told_of(world, line)
        decide(session, "r1")
        ask(session, "r2", text="x" * 9000)
        text, _ = await line.exchange()
        assert "too long to show here" in text
        assert "Send allow" not in text
        await line.say(my("yes"))
        assert (await line.exchange())[0] == text, "told again, and not decided"
        assert [one.request_id for one in session.pending] == ["r2"]
        await line.say(my("no"))
        await trio.sleep(1)
        assert [row.kind for row in session.rows].count("permission_resolved") == 2


async def test_what_the_session_could_be_granted_is_told(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.signed_in() as line:
        session = await told_of(world, line)
        decide(session, "r1")
        ask(session, "r2", text="ls" + " " * 700 + "; rm", grant="run git commit * and edit files")
        text, _ = await line.exchange()
        assert "this call only" in text
        assert "run git commit * and edit files" in text
        assert "ls⟦700 blanks⟧; rm" in text


async def test_decided_elsewhere(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.signed_in() as line:
        session = await told_of(world, line)
        decide(session, "r1")
        session.publish(Message("after", "b", 7))
        await trio.sleep(30)
        assert line.rest() == []
        finish(session, " all", 12)
        frame = await line.frame()
        assert (frame["type"], frame["content"]) == ("message", "before after all")
        assert (await line.frame())["type"] == "complete"
        await trio.sleep(1)
        for word in ("allow", "no"):
            await line.say(my(word))
            text, end = await line.exchange()
            assert (text, end["type"]) == ("already decided by mac", "complete")
        assert messages_of(session) == 1
        world.fakes.now_ms = session.at_ms + 601_000
        world.fakes.on_command = talk("as a message")
        await line.say(my("allow"))
        assert (await line.exchange())[0] == "as a message"
        assert messages_of(session) == 2


async def test_the_name_is_a_devices_name_where_it_has_no_label(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.signed_in() as line:
        world.fakes.devices.add("mac")
        session = await told_of(world, line)
        decide(session, "r1", "mac")
        await line.say(my("allow"))
        assert (await line.exchange())[0] == "already decided by Mac"


async def test_the_turn_ends_with_the_request_open(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.signed_in() as line:
        session = await told_of(world, line)
        decide(session, "r1", "mac", "cancelled")
        session.publish(Interrupted("mac"))
        text, end = await line.exchange()
        assert (text, end["type"]) == ("before ", "complete")
        await line.say(my("allow"))
        assert (await line.exchange())[0] == "already decided by mac"


async def test_another_device_is_first_by_a_hair(autojump_clock: MockClock) -> None:
    """The app's `allow` is on its way as the other one's decision is journalled and not yet shown."""
    async with open_world() as world, world.signed_in() as line:
        session = await told_of(world, line)
        session.pending = ()
        items = session.journal_only(PermissionResolved("r1", "deny", "mac"), device_id="mac")
        await line.say(my("allow"))
        text, end = await line.exchange()
        assert (text, end["type"]) == ("already decided by mac", "complete")
        session.tell(items)
        finish(session, "after", 7)
        assert (await line.exchange())[0] == "before after"
        await trio.sleep(5)
        assert line.rest() == []
        assert messages_of(session) == 1


async def test_other_text_while_it_waits_gets_the_same_message(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.signed_in() as line:
        session = await told_of(world, line)
        answers = []
        for text in ("what?", "allowed", "ok"):
            await line.say(my(text))
            answers.append(await line.exchange())
        assert len({text for text, _ in answers}) == 1
        assert "practice" in answers[0][0]
        assert messages_of(session) == 1
        await line.say(my("allow"))
        await trio.sleep(1)
        finish(session, "after", 7)
        assert (await line.exchange())[0] == "after"


async def test_several_requests_come_oldest_first(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.signed_in() as line:
        session = await told_of(world, line)
        ask(session, "r2", "second tool")
        await trio.sleep(3)
        assert line.rest() == []
        await line.say(my("what?"))
        assert "practice" in (await line.exchange())[0]
        await line.say(my("yes"))
        text, end = await line.exchange()
        assert "second tool" in text
        assert end["type"] == "complete"
        await line.say(my("no"))
        await trio.sleep(1)
        finish(session, "after", 7)
        assert (await line.exchange())[0] == "after"
        decided = [json.loads(row.payload) for row in session.rows if row.kind == "permission_resolved"]
        assert [(one["request_id"], one["decision"]) for one in decided] == [("r1", "allow"), ("r2", "deny")]


async def test_the_second_request_follows_a_decision_elsewhere(
    autojump_clock: MockClock,
) -> None:
    async with open_world() as world, world.signed_in() as line:
        session = await told_of(world, line)
        ask(session, "r2", "second tool")
        decide(session, "r1")
        assert "second tool" in (await line.exchange())[0]
        await line.say(my("allow"))
        await trio.sleep(1)
        finish(session, "after", 7)
        assert (await line.exchange())[0] == "after"


async def test_a_request_that_is_decided_at_once_is_not_told(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.signed_in() as line:

        def then(session: FakeSession, _: str) -> None:
            request = PermissionRequested("r1", "practice", {}, ("allow", "deny"))
            session.publish(request, PermissionResolved("r1", "allow", "mac"), device_id="mac")
            finish(session, "after", 7)

        world.fakes.on_command = talk("before ", then=then)
        await line.say(my("go"))
        assert (await line.exchange())[0] == "before after"


async def test_a_message_during_a_turn_that_was_decided_elsewhere(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.signed_in() as line:
        session = await told_of(world, line)
        decide(session, "r1")
        turn_id = session.turn_id
        world.fakes.on_command = None
        await line.say(my("and?"))
        await trio.sleep(1)
        (_, sent) = world.fakes.envelopes[-1]
        message_id = sent.command.message_id  # type: ignore[union-attr]
        session.turn_id = "next"
        session.publish(UserMessage(message_id, "and?"), device_id=PHONE_ALIAS)
        session.turn_id = turn_id
        finish(session, "after", 7)
        await trio.sleep(3)
        assert line.rest() == []
        session.publish(TurnStarted(message_id), Message("two", "b", 0), Complete(4, 3, "00"))
        text, end = await line.exchange()
        assert end["type"] == "complete"
        assert text.startswith("[The rest of the earlier answer:]")
        assert "before after" in text
        assert text.endswith("two")
        await trio.sleep(1)
        assert world.pairs.opened == {}


async def test_a_request_of_another_devices_turn(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.signed_in() as line:
        world.fakes.on_command = talk("mine")
        await line.say(my("hello"))
        await line.exchange()
        session = world.fakes.sessions[SESSION_ALIAS]
        session.publish(UserMessage("m", "theirs"), TurnStarted("m"), device_id="mac")
        ask(session, "r1")
        await trio.sleep(3)
        assert [json.loads(one)["type"] for one in line.rest()] == ["peer_user_message"]
        await line.say(my("hm?"))
        assert "practice" in (await line.exchange())[0]
        await line.say(my("allow"))
        text, end = await line.exchange()
        assert (text, end["type"]) == ("Allowed.", "complete")
        finish(session, "theirs too", 0)
        assert (await line.frame())["type"] == "peer_message"
        assert messages_of(session) == 2


async def test_coming_back_to_a_turn_that_waits(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        async with world.signed_in() as line:
            session = await told_of(world, line)
            await line.drop()
        async with world.signed_in() as line:
            await line.say(my("back again"))
            assert "practice" in (await line.exchange())[0]
            await line.say(my("allow"))
            await trio.sleep(1)
            finish(session, "after", 7)
            text, end = await line.exchange()
            assert (text, end["type"]) == ("after", "complete")
            assert messages_of(session) == 1


async def test_coming_back_after_it_was_decided_elsewhere(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        async with world.signed_in() as line:
            session = await told_of(world, line)
            await line.drop()
        decide(session, "r1")
        finish(session, "after", 7)
        world.fakes.now_ms = session.at_ms + 1000
        async with world.signed_in() as line:
            await line.say(my("allow"))
            assert (await line.exchange())[0] == "already decided by mac"
            assert messages_of(session) == 1


def requests_decided(session: FakeSession) -> list[str]:
    return [
        json.loads(row.payload)["request_id"] for row in session.rows if row.kind == "permission_resolved"
    ]


@pytest.mark.parametrize("with_key", [True, False])
async def test_a_word_on_a_new_connection_decides_nothing_unseen(
    with_key: bool, autojump_clock: MockClock
) -> None:
    """Also as the first frame of a return without a key."""
    async with open_world() as world:
        async with world.signed_in() as line:
            session = await told_of(world, line)
            decide(session, "r1")
            await trio.sleep(1)
            await line.drop()
        ask(session, "r2", "another tool")
        async with world.line() as line:
            if with_key:
                await line.sign_in()
            await line.say(my("yes"))
            if not with_key:
                assert await line.text() == "authenticated"
            assert "another tool" in (await line.exchange())[0]
            assert requests_decided(session) == ["r1"]
            await line.say(my("yes"))
            await trio.sleep(1)
            assert requests_decided(session) == ["r1", "r2"]


async def test_a_word_is_for_the_request_that_was_shown_last(
    autojump_clock: MockClock,
) -> None:
    other = SESSION.replace("bbbbbbbb", "cccccccc")
    async with open_world() as world, world.signed_in() as line:
        first = await told_of(world, line)
        world.fakes.on_command = talk(then=lambda session, _: ask(session, "q1", "other tool"))
        await line.say(chat("go", other, PHONE))
        assert "other tool" in (await line.exchange())[0]
        await line.say(my("yes"))
        assert "practice" in (await line.exchange())[0], "it is shown again, since the other was shown last"
        assert requests_decided(first) == []
        await line.say(my("yes"))
        await trio.sleep(1)
        assert requests_decided(first) == ["r1"]
        second = world.fakes.sessions[ALIASES.session(other)]
        assert requests_decided(second) == []
        await line.say(chat("no", other, PHONE))
        assert "other tool" in (await line.exchange())[0]
        await line.say(chat("no", other, PHONE))
        await trio.sleep(1)
        assert requests_decided(second) == ["q1"]
