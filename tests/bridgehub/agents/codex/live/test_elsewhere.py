"""What a terminal that joined does between two turns."""

from __future__ import annotations

from typing import Any

from bridgehub.agents.base import BeganAtDesk
from bridgehub.agents.codex.live.elsewhere import Elsewhere, said_by_others
from bridgehub.agents.json_rpc.messages import Fields, Notification, ServerRequest

OURS, THEIRS = "thread-1", "thread-2"


def told(method: str, thread: str = OURS, **params: Any) -> Notification:
    return Notification(method, Fields({"threadId": thread, **params}))


def started(turn: str, thread: str = OURS) -> Notification:
    return told("turn/started", thread, turn={"id": turn})


def said(text: str, client_id: str | None = "c") -> Notification:
    item = {
        "type": "userMessage",
        "id": "i",
        "clientId": client_id,
        "content": [{"type": "text", "text": text}],
    }
    return told("item/started", item=item)


def test_a_turn_kept_from_its_start_begins_with_its_message() -> None:
    between = Elsewhere(OURS)
    assert not between.keep(told("item/started", item={}))
    assert between.keep(started("t"))
    assert between.begun() is None
    assert between.keep(said("hello"))
    assert between.begun() == BeganAtDesk("desk-t", "hello")
    assert len(between.take()) == 2
    assert between.begun() is None


def test_a_turn_without_a_message_begins_with_the_agents_work() -> None:
    between = Elsewhere(OURS)
    between.keep(started("t"))
    between.keep(told("item/started", item={"type": "reasoning"}))
    assert between.begun() == BeganAtDesk("desk-t", None)


def test_of_two_turns_the_first_begins() -> None:
    between = Elsewhere(OURS)
    for one in (started("a"), said("first"), told("turn/completed"), started("b"), said("second")):
        between.keep(one)
    assert between.begun() == BeganAtDesk("desk-a", "first")


def test_threads_of_others_are_dropped_with_their_questions() -> None:
    between = Elsewhere(OURS)
    between.keep(started("t"))
    thread = {"id": THEIRS, "ephemeral": True, "parentThreadId": None}
    assert not between.keep(Notification("thread/started", Fields({"thread": thread})))
    assert not between.keep(started("other", THEIRS))
    assert not between.keep(
        ServerRequest(1, "item/commandExecution/requestApproval", Fields({"threadId": THEIRS}))
    )
    child = {"id": "child", "ephemeral": False, "parentThreadId": OURS}
    between.keep(Notification("thread/started", Fields({"thread": child})))
    assert between.keep(started("sub", "child"))


def test_a_title_is_noted_of_the_own_thread_only() -> None:
    between = Elsewhere(OURS)
    between.keep(told("thread/name/updated", THEIRS, threadName="theirs"))
    assert between.title == ""
    between.keep(told("thread/name/updated", threadName="A trip"))
    assert between.title == "A trip"


def test_the_echo_of_an_own_title_is_no_news() -> None:
    between = Elsewhere(OURS, own_title="Ours")
    between.keep(told("thread/name/updated", threadName="Ours"))
    assert between.title == ""
    for title in ("Theirs", "Ours"):
        between.keep(told("thread/name/updated", threadName=title))
        assert between.title == title


def test_words_of_others_are_told_by_their_ids() -> None:
    assert [said_by_others(Fields({"clientId": one})) for one in ("uuid", "turn/message", "", None)] == [
        True,
        False,
        False,
        False,
    ]
