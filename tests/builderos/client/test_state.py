"""A device's side of a session, without a connection."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from builderos.client.state import KEPT, MAX_OUTBOX, Follow, ReconnectError, RefusedError
from builderos.client.wire.frames import Frame, FrameError, SeenPosition, decode


def frame(kind: str, seq: int | None = None, **fields: Any) -> Frame:
    body = {"type": kind, "content": "", "timestamp": "", "session_id": "trip", **fields}
    if seq is not None:
        body |= {"seq": seq, "epoch": fields.get("epoch", 1)}
    return decode(orjson.dumps(body))


def attached(from_seq: int = 1, replay: str = "snapshot", epoch: int = 1) -> Frame:
    return frame("attached", from_seq=from_seq, replay=replay, epoch=epoch)


def sent(text: str) -> dict[str, Any]:
    return dict(orjson.loads(text))


def test_it_comes_back_with_its_position() -> None:
    follow = Follow("trip", agent="echo", device_id="one")
    assert sent(follow.attach_frame()) == {
        "type": "attach",
        "session_id": "trip",
        "agent": "echo",
        "device_id": "one",
        "history": 50,
        "observe": False,
    }
    follow.take(attached(from_seq=7))
    follow.take(frame("message", 9, first_seq=7))
    follow.take(frame("complete", 10))
    assert sent(follow.attach_frame())["after"] == {"epoch": 1, "seq": 10}
    follow.take(attached(from_seq=11, replay="ok"))
    assert follow.position == SeenPosition(1, 10)
    follow.attach_frame()
    follow.take(attached(from_seq=3, replay="snapshot", epoch=2))
    assert follow.position == SeenPosition(2, 2)


def test_a_bad_frame_is_not_sent_for_ever() -> None:
    follow = Follow("trip")
    bad = decode(orjson.dumps({"type": "error", "content": "no", "timestamp": "", "code": "bad_frame"}))
    follow.take(attached())
    assert follow.take(bad) == [], "nothing of ours waits"
    follow.send_frame("m 1", "hi")
    with pytest.raises(RefusedError) as caught:
        follow.take(bad)
    assert caught.value.code == "bad_frame"


@pytest.mark.parametrize(("first", "last"), [(9, 9), (7, 7), (9, 12)])
def test_an_event_that_does_not_follow_ends_the_connection(first: int, last: int) -> None:
    follow = Follow("trip")
    follow.take(attached(from_seq=8))
    with pytest.raises(ReconnectError):
        follow.take(frame("message", last, first_seq=first))
    assert follow.position == SeenPosition(1, 7)


def test_a_folded_event_may_begin_before_the_position() -> None:
    follow = Follow("trip", position=SeenPosition(1, 5))
    follow.take(attached(from_seq=3, replay="ok"))
    follow.take(frame("message", 9, first_seq=3))
    assert follow.position == SeenPosition(1, 9)


def test_an_event_before_the_answer_is_refused() -> None:
    with pytest.raises(ReconnectError):
        Follow("trip").take(frame("message", 1))


def test_a_message_is_repeated_until_it_is_accepted() -> None:
    follow = Follow("trip")
    assert follow.send_frame("m1", "hello") is None
    (first,) = follow.take(attached())
    assert sent(first) == {"type": "send", "session_id": "trip", "message_id": "m1", "content": "hello"}
    follow.attach_frame()
    assert follow.take(attached()) == [first]
    before = follow.is_settled
    follow.take(frame("accepted", seq=1, message_id="m1"))
    assert (before, follow.is_settled, follow.is_done) == (False, True, False)
    assert follow.position == SeenPosition(1, 0), "the answer to a send is no event"
    follow.attach_frame()
    assert follow.take(attached()) == []


def test_shutting_down_keeps_the_message() -> None:
    follow = Follow("trip")
    follow.take(attached())
    follow.send_frame("m1", "hello")
    follow.take(frame("rejected", code="shutting_down", message_id="m1"))
    follow.attach_frame()
    assert len(follow.take(attached())) == 1


def test_a_refused_message_has_ended() -> None:
    follow = Follow("trip")
    follow.take(attached())
    assert follow.send_frame("m1", "hello") is not None
    follow.take(frame("rejected", code="queue_full", message_id="m1"))
    assert follow.is_done
    assert follow.outcomes == {"m1": "error"}


@pytest.mark.parametrize(
    ("states", "end", "outcome"),
    [
        (["answered"], "complete", "complete"),
        (["failed"], "error", "error"),
        (["unknown"], "error", "unknown"),
        (["interrupted"], "interrupted", "interrupted"),
        (["cancelled"], None, "cancelled"),
    ],
)
def test_outcomes(states: list[str], end: str | None, outcome: str) -> None:
    follow = Follow("trip")
    follow.take(attached())
    follow.send_frame("m1", "hello")
    follow.take(frame("user_message", 1, turn_id="t1", message_id="m1"))
    follow.take(frame("accepted", message_id="m1"))
    seq = 2
    for state in states:
        follow.take(frame("delivery", seq, turn_id="t1", message_id="m1", state=state))
        seq += 1
    if end is not None:
        last = frame(end, seq, turn_id="t1")
        follow.take(last)
        assert follow.is_ours(last)
    assert follow.outcomes == {"m1": outcome}
    assert follow.is_done


def test_turns_of_others_are_not_ours() -> None:
    follow = Follow("trip")
    follow.take(attached())
    follow.take(frame("user_message", 1, turn_id="t1", message_id="theirs"))
    follow.take(frame("complete", 2, turn_id="t1"))
    assert follow.outcomes == {}
    assert follow.is_done


@pytest.mark.parametrize("code", ["unknown_session", "unknown_agent", "forbidden"])
def test_a_session_that_is_not_for_us(code: str) -> None:
    follow = Follow("trip")
    with pytest.raises(RefusedError) as caught:
        follow.take(frame("error", code=code, content="no"))
    assert caught.value.code == code
    with pytest.raises(RefusedError):
        follow.take(frame("rejected", code=code))


def test_trouble_that_passes_is_worth_another_try() -> None:
    with pytest.raises(ReconnectError):
        Follow("trip").take(frame("error", code="storage", content="disk full"))


def test_an_error_of_a_connection_that_is_attached_ends_nothing() -> None:
    follow = Follow("trip")
    follow.take(attached())
    follow.take(frame("error", code="storage", content="disk full"))
    assert follow.attached


def test_other_sessions_are_left_out() -> None:
    follow = Follow("trip")
    follow.take(attached())
    assert follow.take(frame("message", 77, session_id="other")) == []
    assert follow.position == SeenPosition(1, 0)


def test_what_is_kept_is_bounded() -> None:
    follow = Follow("trip")
    for number in range(MAX_OUTBOX):
        follow.send_frame(f"m{number}", "x")
    with pytest.raises(OverflowError):
        follow.send_frame("one more", "x")
    follow = Follow("trip")
    follow.take(attached())
    for number in range(KEPT + 10):
        follow.send_frame(f"m{number}", "x")
        follow.take(frame("rejected", code="queue_full", message_id=f"m{number}"))
    assert len(follow.outcomes) == KEPT


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{}", '{"type":1}', '{"type":"x","seq":"1"}', '{"type":"x","seq":true}', b"\xff"],
)
def test_what_is_no_frame(text: str) -> None:
    with pytest.raises(FrameError):
        decode(text)


def test_a_screen_sets_its_pace_and_may_forget() -> None:
    follow = Follow("trip", agent="echo", pace_ms=33, settings={"model": "m"})
    assert sent(follow.attach_frame())["pace_ms"] == 33
    assert sent(follow.attach_frame())["settings"] == {"model": "m"}
    follow.send_frame("m1", "one", mode="steer")
    follow.send_frame("m2", "two")
    assert sent(follow.outbox["m1"])["mode"] == "steer"
    follow.forget("m1")
    assert [sent(one)["message_id"] for one in follow.take(attached())] == ["m2"]
    assert "settings" not in sent(follow.attach_frame()), "they are for a session that is created"


def test_what_is_refused_as_away_is_sent_when_it_is_back() -> None:
    follow = Follow("trip", waits=True)
    follow.take(
        frame("attached", from_seq=1, replay="snapshot", epoch=1, machine={"id": "b", "state": "away"})
    )
    for name in ("m1", "m2"):
        follow.send_frame(name, "hi")
        follow.take(frame("rejected", message_id=name, code="machine_away"))
    beat = decode(orjson.dumps({"type": "heartbeat", "content": "", "timestamp": "", "sessions": {}}))
    assert follow.take(beat) == [], "it is still away"
    assert list(follow.outbox) == ["m1", "m2"]
    back = frame("session_changed", machine={"id": "b", "state": "there"})
    assert [sent(one)["message_id"] for one in follow.take(back)] == ["m1", "m2"]
    assert follow.take(back) == [], "they are on their way"
    follow.take(frame("accepted", message_id="m1"))
    follow.take(frame("rejected", message_id="m2", code="storage"))
    assert [sent(one)["message_id"] for one in follow.take(beat)] == ["m2"]
    follow.take(frame("rejected", message_id="m2", code="queue_full"))
    assert follow.outbox == {}


def test_a_device_that_does_not_wait_is_refused_at_once() -> None:
    follow = Follow("trip")
    follow.take(attached())
    follow.send_frame("m1", "hi")
    follow.take(frame("rejected", message_id="m1", code="machine_away"))
    assert (follow.outbox, follow.outcomes) == ({}, {"m1": "error"})
