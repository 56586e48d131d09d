"""Which messages an import makes of old conversations.

Every message of any file comes in exactly once, with an id that neither the files' order nor the zone changes, in
its file's order, and by time across files.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.events.codec import decode_event
from actors.events.conversation import Complete, Delivery, Message, TurnError, TurnStarted, UserMessage
from actors.events.session import Settings
from actors.session.state import SessionState
from builderos.legacy.plan import OldEntry, plan_session
from builderos.legacy.turns import tell, units
from storage.legacy_database import OldAttachment, OldMessage, OldSession

ZONES = (UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("America/Los_Angeles"))


def old(*messages: OldMessage, session_id: str = "trip", created: str = "2025-11-03T09:00:00") -> OldSession:
    return OldSession(session_id, "claude", "phone", created, created, messages)


def user(at: str, content: str) -> OldMessage:
    return OldMessage("user", content, f"2025-11-03T{at}")


def answer(at: str, content: str) -> OldMessage:
    return OldMessage("assistant", content, f"2025-11-03T{at}")


def texts(*copies: OldSession) -> list[str]:
    return [one.content for one in plan_session(copies, UTC).said]


def pairs(*copies: OldSession) -> dict[str, str | None]:
    """What each answer answers, by text."""
    found = plan_session(copies, UTC).said
    names = {one.message_id: one.content for one in found}
    return {one.content: names.get(one.answers or "") for one in found if one.is_answer}


def told(*copies: OldSession) -> list[str]:
    """The journal of a plan, in short."""
    state = SessionState("trip", "claude", Settings("/"), 1)
    said = plan_session(copies, UTC).said
    names = {one.message_id: one.content for one in said}
    words = []
    for unit in units(said):
        for entry in tell(state, unit, "phone"):
            event = decode_event(entry.kind, entry.payload)
            match event:
                case UserMessage():
                    words.append(f"user {event.content}")
                case Delivery():
                    words.append(f"d:{event.state} {names[event.message_id]}")
                case TurnStarted(str(message_id)):
                    words.append(f"turn {names[message_id]}")
                case Message():
                    words.append(f"says {event.content}")
                case Complete():
                    words.append(f"complete {event.message_count}")
                case TurnError():
                    words.append(f"error {event.code}")
                case _:
                    raise AssertionError(event)
    assert state.turn is None
    assert not state.queue
    assert not state.arriving
    assert state.message_count == len(said)
    return words


def test_a_session_in_two_files_is_the_union_by_time() -> None:
    left = old(user("09:00:01", "a"), answer("09:00:02", "A"), user("09:00:05", "c"), answer("09:00:06", "C"))
    right = old(
        user("09:00:01", "a"), answer("09:00:02", "A"), user("09:00:03", "b"), answer("09:00:04", "B")
    )
    assert texts(left, right) == texts(right, left) == ["a", "A", "b", "B", "c", "C"]


def test_naive_times_are_of_the_zone_and_others_of_their_own() -> None:
    copy = old(user("09:00:01", "x"), OldMessage("user", "y", "2025-11-03T12:00:00+00:00"))
    berlin = plan_session([copy], ZoneInfo("Europe/Berlin"))
    assert [datetime.fromtimestamp(one.at_ms / 1000, UTC).hour for one in berlin.said] == [8, 12]
    assert berlin.created_at_ms == berlin.said[0].at_ms - 1000


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's zone is another one for a while."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def test_without_a_zone_it_is_this_machines(tokyo: None) -> None:
    (one,) = plan_session([old(user("09:00:00", "x"))], None).said
    assert datetime.fromtimestamp(one.at_ms / 1000, UTC).hour == 0


def test_the_hour_that_comes_twice_goes_on() -> None:
    night = [
        OldMessage("user", text, f"2025-10-26T{at}") for text, at in (("a", "02:50:00"), ("b", "02:10:00"))
    ]
    first, second = plan_session([old(*night, created="2025-10-26T02:40:00")], ZoneInfo("Europe/Berlin")).said
    assert second.at_ms - first.at_ms == 20 * 60 * 1000


def test_unreadable_times_keep_their_place() -> None:
    copy = old(user("09:00:05", "a"), OldMessage("user", "b", "yesterday"), OldMessage("user", "c", ""))
    assert len({one.at_ms for one in plan_session([copy], UTC).said}) == 1
    assert texts(copy) == ["a", "b", "c"]


def test_equal_messages_are_counted() -> None:
    twice = old(user("09:00:01", "again"), user("09:00:01", "again"))
    assert texts(twice, old(user("09:00:01", "again"))) == ["again", "again"]


def test_answers_find_their_questions() -> None:
    crossed = old(
        user("09:00:01", "1"), user("09:00:02", "2"), answer("09:00:03", "B"), answer("09:00:04", "A")
    )
    assert pairs(crossed) == {"B": "2", "A": "1"}
    assert pairs(old(answer("09:00:01", "hello"))) == {"hello": None}
    extra = old(user("09:00:01", "1"), answer("09:00:02", "A"), answer("09:00:03", "B"))
    assert pairs(extra) == {"A": "1", "B": "1"}
    assert pairs(old(user("09:00:01", "1")), old(user("09:00:01", "1"), answer("09:00:02", "A"))) == {
        "A": "1"
    }


def test_a_turn_is_told_as_one_that_was_lived() -> None:
    assert told(old(user("09:00:01", "hi"), answer("09:00:02", "ho"))) == [
        "user hi",
        "turn hi",
        "d:handed hi",
        "d:consumed hi",
        "says ho",
        "d:answered hi",
        "complete 2",
    ]


def test_what_the_old_server_lost_is_marked() -> None:
    lost = old(
        user("09:00:01", "1"), user("09:00:02", "2"), answer("09:00:03", ""), answer("09:00:04", "Error: x")
    )
    words = told(lost)
    assert words[:2] == ["user 1", "d:queued 1"]
    assert [word for word in words if word.startswith(("error", "says", "d:failed"))] == [
        "d:failed 2",
        "error agent_exited",
        "says Error: x",
        "d:failed 1",
        "error agent_protocol",
    ]
    assert told(old(user("09:00:01", "1"))) == ["user 1", "d:failed 1"]
    assert told(old(answer("09:00:01", "A")))[0] == "turn A"


def test_a_long_answer_becomes_rows_that_join_again() -> None:
    state = SessionState("trip", "claude", Settings("/"), 1)
    text = "wörd " * 120_000
    said = plan_session([old(user("09:00:01", "1"), answer("09:00:02", text))], UTC).said
    entries = [entry for unit in units(said) for entry in tell(state, unit, "phone")]
    pieces = [decode_event(entry.kind, entry.payload) for entry in entries if entry.kind == "message"]
    assert len(pieces) > 2
    joined = ""
    for piece in pieces:
        assert isinstance(piece, Message)
        assert piece.offset == len(joined)
        joined += piece.content
    assert joined == text
    assert all(entry.search_text for entry in entries if entry.kind == "message")
    end = decode_event(entries[-1].kind, entries[-1].payload)
    assert isinstance(end, Complete)
    assert (end.text_length, end.text_sha256) == (len(text), sha256(text.encode()).hexdigest())


def test_ids_become_what_the_protocol_allows() -> None:
    plan = plan_session([old(session_id="my chat/1")], UTC)
    assert plan.session_id.startswith("my-chat-1-")
    assert plan.session_id == plan_session([old(session_id="my chat/1")], UTC).session_id
    assert plan_session([old(session_id="A-b_c.1")], UTC).session_id == "A-b_c.1"
    assert len(plan_session([old(session_id="x" * 500)], UTC).session_id) == 128


def test_attachments_are_kept() -> None:
    file = OldAttachment("1", "a.png", "image/png", 7, "photo", "https://old/uploads/a.png")
    (one,) = plan_session([old(OldMessage("user", "look", "2025-11-03T09:00:00", (file,)))], UTC).said
    assert one.attachments[0].url == file.url
    assert one.attachments[0].size == 7


MESSAGES = st.lists(
    st.builds(
        OldMessage,
        st.sampled_from(["user", "assistant"]),
        st.sampled_from(["", "a", "b", "Error: c"]),
        st.sampled_from(
            ["", "no time", "2025-10-26T02:30:00", "2025-10-26T03:30:00", "2025-11-03T09:00:00.000001"]
        ),
    ),
    max_size=8,
)


@given(left=MESSAGES, right=MESSAGES, zone=st.sampled_from(ZONES))
def test_any_two_files(left: list[OldMessage], right: list[OldMessage], zone: ZoneInfo) -> None:
    copies = [old(*left), old(*right)]
    said = plan_session(copies, zone).said
    ids = [one.message_id for one in said]
    assert len(set(ids)) == len(ids)
    assert set(ids) == {one.message_id for one in plan_session(copies[::-1], UTC).said}
    assert [one.at_ms for one in said] == sorted(one.at_ms for one in said)
    for copy in copies:
        own = [one.message_id for one in plan_session([copy], zone).said]
        assert len(own) == len(copy.messages)
        assert set(own) <= set(ids)
    assert {one.content for one in said} == {message.content for message in left + right}
    words = told(*copies)
    assert sum(word.startswith("turn") for word in words) == sum(one.is_answer for one in said)
    assert sum(word.startswith(("complete", "error")) for word in words) == sum(one.is_answer for one in said)


@given(MESSAGES)
def test_units_leave_nothing_out(messages: list[OldMessage]) -> None:
    said = plan_session([old(*messages)], UTC).said
    together: list[OldEntry] = [one for unit in units(said) for one in unit.said]
    assert together == list(said)


def test_a_time_that_has_not_come_yet_moves_no_other_message() -> None:
    wrong = OldMessage("user", "from the year 9999", "9999-01-01T00:00:00")
    copy = old(user("09:00:00", "1"), wrong, user("09:00:02", "2"))
    latest_ms = 1_800_000_000_000
    first, second, third = plan_session([copy], UTC, latest_ms).said
    assert [one.content for one in (first, second, third)] == ["1", "from the year 9999", "2"]
    assert second.at_ms == first.at_ms
    assert third.at_ms == first.at_ms + 2000
