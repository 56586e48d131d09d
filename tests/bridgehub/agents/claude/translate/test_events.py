"""The claude driver's pure parts: translation of messages, outcome of a turn, sizes. No program, no trio."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import orjson
import pytest
from claude_agent_sdk import (
    AssistantMessage,
    ResultMessage,
    StreamEvent,
    SystemMessage,
    TaskNotificationMessage,
    TaskStartedMessage,
    TaskUpdatedMessage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)
from hypothesis import given
from hypothesis import strategies as st

from bridgehub.agents.claude.permissions import _changed_input
from bridgehub.agents.claude.translate.background import FIRES_LATE_S, ClaudeBackground
from bridgehub.agents.claude.translate.events import ClaudeTranslator
from bridgehub.agents.claude.translate.outcome import TurnOutcome
from bridgehub.agents.text import clean_text, cut_json, cut_text, split_text, tool_output_text
from bridgehub.protocol.events import (
    HubEvent,
    TaskBegan,
    TaskEnded,
    TextPiece,
    ToolBegan,
    ToolEnded,
    TurnDone,
    TurnFailed,
)
from bridgehub.protocol.messages import Decided


def stream(**event: Any) -> StreamEvent:
    return StreamEvent(uuid="u", session_id="s", event=event)


def started(message_id: str) -> StreamEvent:
    return stream(type="message_start", message={"id": message_id})


def delta(index: int, text: str) -> StreamEvent:
    return stream(type="content_block_delta", index=index, delta={"type": "text_delta", "text": text})


def whole(text: str, message_id: str | None = "m1", **more: Any) -> AssistantMessage:
    return AssistantMessage([TextBlock(text)], model="m", message_id=message_id, **more)


def told(*messages: object, translator: ClaudeTranslator | None = None, now: float = 0.0) -> list[HubEvent]:
    translator = translator or ClaudeTranslator("t")
    return [event for message in messages for event in translator.translate(message, now)]


def pieces(events: list[HubEvent]) -> list[tuple[str, str]]:
    return [(event.block, event.text) for event in events if isinstance(event, TextPiece)]


@given(st.lists(st.lists(st.text(max_size=5), min_size=1, max_size=5), min_size=1, max_size=4))
def test_streamed_text_is_told_once_however_it_is_cut(blocks: list[list[str]]) -> None:
    messages: list[object] = [started("m1")]
    for index, parts in enumerate(blocks):
        messages += [delta(index, part) for part in parts]
        messages += [whole("".join(parts)), stream(type="content_block_stop", index=index)]
    events = told(*messages)
    expected = "".join(clean_text(part) for parts in blocks for part in parts)
    assert "".join(text for _, text in pieces(events)) == expected
    assert {block for block, _ in pieces(events)} <= {f"m1:{index}" for index in range(len(blocks))}


def test_what_was_not_streamed_is_told_from_the_whole() -> None:
    assert pieces(told(whole("all of it"))) == [("m1:whole-1", "all of it")]
    assert pieces(told(started("m1"), delta(0, "half"), whole("half and rest"))) == [
        ("m1:0", "half"),
        ("m1:0", " and rest"),
    ]


def test_a_service_without_message_ids_gets_a_block_per_message() -> None:
    events = told(started(""), delta(0, "a"), whole("a", None), started(""), delta(0, "b"), whole("b", None))
    assert pieces(events) == [("message-1:0", "a"), ("message-2:0", "b")]


def test_an_error_told_as_a_message_is_no_answer() -> None:
    assert told(whole("API Error", error="server_error")) == []


def test_the_words_of_a_sub_agent_are_no_answer() -> None:
    translator = ClaudeTranslator("t")
    begin = task("a1", "tool-1")
    events = told(begin, whole("inside", parent_tool_use_id="tool-1"), translator=translator)
    assert pieces(events) == []
    assert [event.task_id for event in events if isinstance(event, TaskBegan)] == ["a1"]
    nested = StreamEvent("u", "s", delta(0, "x").event, parent_tool_use_id="tool-1")
    assert told(nested, translator=translator) == []


def task(task_id: str, tool_id: str | None, kind: str = "local_agent") -> TaskStartedMessage:
    return TaskStartedMessage(
        subtype="task_started",
        data={"subagent_type": "explorer"},
        task_id=task_id,
        description="Look around",
        uuid="u",
        session_id="s",
        tool_use_id=tool_id,
        task_type=kind,
    )


def test_a_task_inside_a_task_names_its_parent() -> None:
    inner_call = AssistantMessage(
        [ToolUseBlock("tool-2", "Agent", {})], model="m", parent_tool_use_id="tool-1"
    )
    events = told(task("a1", "tool-1"), inner_call, task("a2", "tool-2"))
    began = [event for event in events if isinstance(event, TaskBegan)]
    assert [(event.task_id, event.parent_task_id) for event in began] == [("a1", None), ("a2", "a1")]


def test_a_shell_in_the_background_is_no_delegated_work() -> None:
    assert told(task("b1", "tool-1", "local_bash")) == []


def test_a_task_without_a_notification_ends_with_the_turn() -> None:
    translator = ClaudeTranslator("t")
    update = TaskUpdatedMessage("task_updated", {}, "a1", {"status": "killed"}, "killed")
    assert told(task("a1", "tool-1"), update, translator=translator)[1:] == []
    assert list(translator.flush()) == [TaskEnded("t", "a1", "cancelled", None)]
    assert list(translator.flush()) == []


def test_a_task_ends_once() -> None:
    translator = ClaudeTranslator("t")
    note = TaskNotificationMessage(
        subtype="task_notification",
        data={},
        task_id="a1",
        status="failed",
        output_file="f",
        summary="no",
        uuid="u",
        session_id="s",
    )
    update = TaskUpdatedMessage("task_updated", {}, "a1", {"status": "failed"}, "failed")
    events = told(task("a1", "tool-1"), update, note, note, translator=translator)
    assert events[1:] == [TaskEnded("t", "a1", "failed", "no")]
    assert list(translator.flush()) == []


def test_a_tool_is_timed_from_call_to_result() -> None:
    translator = ClaudeTranslator("t")
    call = AssistantMessage([ToolUseBlock("tool-1", "Bash", {"command": "ls"})], model="m")
    assert told(call, call, translator=translator, now=1.0) == [
        ToolBegan("t", "tool-1", "Bash", {"command": "ls"})
    ]
    result = UserMessage([ToolResultBlock("tool-1", [{"type": "text", "text": "a"}, {"type": "image"}])])
    assert told(result, translator=translator, now=1.25) == [
        ToolEnded("t", "tool-1", "Bash", "a\n[image]", False, None, 250)
    ]


def test_a_result_without_its_call_is_told() -> None:
    result = UserMessage([ToolResultBlock("tool-9", "late", is_error=True)])
    assert told(result) == [ToolEnded("t", "tool-9", "", "late", True)]


def test_a_summary_of_the_conversation_is_no_tool_and_no_answer() -> None:
    assert told(UserMessage("This session is being continued"), SystemMessage("status", {})) == []


@given(st.text(), st.integers(min_value=8, max_value=64))
def test_split_text_keeps_the_text_and_its_bound(text: str, limit: int) -> None:
    parts = split_text(clean_text(text), limit)
    assert "".join(parts) == clean_text(text)
    assert all(len(orjson.dumps(part)) - 2 <= limit for part in parts)


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    assert clean_text("a\ud83dz") == "a\ufffdz"
    assert clean_text("\ud83d\ude00") == "😀"
    assert orjson.loads(orjson.dumps(cut_json({"a": "\ud83d"}).value))


def test_long_text_is_cut_at_a_whole_character() -> None:
    cut = cut_text("é" * 10, 7)
    data = ("é" * 10).encode()
    assert cut.value == "ééé"
    assert cut.blob == {"size": 20, "sha256": hashlib.sha256(data).hexdigest()}
    assert cut_text("é" * 3, 6).blob is None


def test_json_that_ours_cannot_hold_is_told_as_text() -> None:
    assert cut_json({"n": 2**70}).value == '{"n": ' + str(2**70) + "}"
    assert cut_json({"n": 1}).value == {"n": 1}
    assert tool_output_text({"odd": 1}) == '{"odd": 1}'


def result(**changes: Any) -> ResultMessage:
    fields: dict[str, Any] = {
        "subtype": "success",
        "duration_ms": 1,
        "duration_api_ms": 1,
        "is_error": False,
        "num_turns": 1,
        "session_id": "s",
        "user_message_uuid": "mine",
        "usage": {"input_tokens": 1, "cache_read_input_tokens": 2, "output_tokens": 3, "speed": "x"},
        "total_cost_usd": 2.0,
    }
    return ResultMessage(**fields | changes)


def test_a_result_of_another_prompt_ends_nothing() -> None:
    outcome = TurnOutcome("t", "mine", 0.5)
    outcome.note(result(user_message_uuid="other"))
    outcome.note(result(user_message_uuid=None, origin={"kind": "task-notification"}))
    assert not outcome.answered
    outcome.note(result())
    assert outcome.end(interrupted=False) == TurnDone("t", 3, 3, 2, 1.5)


def test_results_after_the_answer_belong_to_the_turn() -> None:
    outcome = TurnOutcome("t", "mine", 0.5)
    outcome.note(result())
    outcome.note(
        result(
            user_message_uuid=None,
            origin={"kind": "task-notification"},
            is_error=True,
            result="broken",
            api_error_status=503,
        )
    )
    assert outcome.end(interrupted=False) == TurnFailed("t", "model_error", "broken", True)
    assert outcome.end(interrupted=True) == TurnDone("t", 6, 6, 4, 1.5)


@pytest.mark.parametrize(
    ("status", "error", "code", "retryable"),
    [
        (None, "authentication_failed", "not_signed_in", False),
        (401, "authentication_failed", "not_signed_in", False),
        (403, "authentication_failed", "model_error", False),
        (None, "overloaded", "model_error", True),
        (None, "unknown", "model_error", False),
        (429, "rate_limit", "model_error", True),
        (503, "server_error", "model_error", True),
        (413, "invalid_request", "model_error", False),
    ],
)
def test_an_error_is_told_by_status_and_class(
    status: int | None, error: Any, code: str, retryable: bool
) -> None:
    outcome = TurnOutcome("t", "mine", 0.0)
    outcome.note(whole("words", error=error))
    outcome.note(result(is_error=True, api_error_status=status, result="words"))
    end = outcome.end(interrupted=False)
    assert isinstance(end, TurnFailed)
    assert (end.code, end.retryable) == (code, retryable)


def test_a_cost_that_was_begun_anew_is_the_cost() -> None:
    outcome = TurnOutcome("t", "mine", 5.0)
    outcome.note(result(total_cost_usd=0.25))
    end = outcome.end(interrupted=False)
    assert isinstance(end, TurnDone)
    assert end.cost_usd == 0.25


def test_two_calls_with_one_id_are_two_calls() -> None:
    """Some services behind proxies give an id again; a message that comes twice is still one."""
    one = AssistantMessage([ToolUseBlock("x", "Bash", {"command": "echo one"})], model="m", message_id="m1")
    two = AssistantMessage([ToolUseBlock("x", "Bash", {"command": "echo two"})], model="m", message_id="m2")
    gave = [UserMessage([ToolResultBlock("x", text)]) for text in ("one", "two")]
    for order in ([one, one, gave[0], two, gave[1]], [one, two, *gave]):
        events = told(*order)
        calls = [(event.tool_id, event.input) for event in events if isinstance(event, ToolBegan)]
        assert calls == [("x", {"command": "echo one"}), ("x#2", {"command": "echo two"})]
        ends = [(event.tool_id, event.output) for event in events if isinstance(event, ToolEnded)]
        assert ends == [("x", "one"), ("x#2", "two")]


def test_answers_reach_the_program_under_its_own_questions() -> None:
    asked = {"questions": [{"question": "Half a pair \ud83d?"}, {"question": "How many?"}]}
    answers = {"Half a pair \ufffd?": ["a", "b"], "How many?": 3}
    decided = Decided("r", "allow", answers=answers)
    changed = _changed_input(asked, decided)
    assert changed is not None
    assert changed["answers"] == {"Half a pair \ud83d?": "a, b", "How many?": "3"}


def test_a_picture_is_kept_and_an_embedded_text_is_text() -> None:
    dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    parts: list[dict[str, Any]] = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": dot}},
        {"type": "image", "data": dot, "mimeType": "image/jpeg"},
        {"type": "image", "data": "bm90IGEgcGljdHVyZQ==", "mimeType": "image/png"},
        {"type": "resource", "resource": {"uri": "file:///a", "text": "what it says"}},
    ]
    translator = ClaudeTranslator("t")
    (ended,) = told(UserMessage([ToolResultBlock("x", parts)]), translator=translator)
    assert isinstance(ended, ToolEnded)
    assert ended.output == "[picture: png, 1 KB]\n[picture: png, 1 KB]\n[image]\nwhat it says"
    (picture,) = ended.pictures
    (blob,) = translator.take_blobs()
    assert picture == {"mime_type": "image/png", "size": blob.size, "sha256": blob.sha256}


def scheduling(result: dict[str, Any]) -> UserMessage:
    return UserMessage([ToolResultBlock("x", "ok")], tool_use_result=result)


def test_what_is_scheduled_is_a_task_until_it_begins() -> None:
    now = 1000.0
    background = ClaudeBackground(clock=lambda: now)
    wakeup = {"scheduledFor": 1_120_000, "clampedDelaySeconds": 60}
    cron = {"id": "a1", "humanSchedule": "Every 5 minutes", "recurring": True}
    (began,) = background.translate(scheduling(wakeup), "t")
    assert began == TaskBegan("t", "wakeup-1120000", "Continues at 00:18 UTC", "timer", background=True)
    (also,) = background.translate(scheduling(cron), "t")
    assert also == TaskBegan("t", "cron-a1", "Every 5 minutes", "timer", background=True)
    assert background.holds == ("wakeup-1120000", "cron-a1")
    assert list(background.fired(began=True)) == [], "it is not its time yet"
    assert background.wait_s() == 60 + FIRES_LATE_S
    now += 60
    assert list(background.fired(began=False)) == [], "it may still begin"
    assert list(background.fired(began=True)) == [TaskEnded(None, "wakeup-1120000", "succeeded")]
    assert background.wait_s() == math.inf
    (ended,) = background.translate(scheduling({"id": "a1"}), "t")
    assert ended == TaskEnded("t", "cron-a1", "cancelled")
    (once,) = background.translate(scheduling({**cron, "id": "b2", "recurring": False}), "t")
    assert isinstance(once, TaskBegan)
    assert list(background.fired(began=True)) == [TaskEnded(None, "cron-b2", "succeeded")]
    assert not background.holds
