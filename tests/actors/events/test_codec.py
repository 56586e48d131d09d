"""Any event round-trips through its payload; what a version does not know is shown as a notice."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from actors.events.codec import (
    decode_event,
    decode_row,
    decode_settings,
    encode_entry,
    encode_event,
    encode_settings,
)
from actors.events.committed import Committed, Event
from actors.events.conversation import (
    Attachment,
    Complete,
    Delivery,
    Interrupted,
    Message,
    Notice,
    Thinking,
    TurnError,
    TurnStarted,
    Usage,
    UserMessage,
)
from actors.events.permissions import PermissionRequested, PermissionResolved
from actors.events.session import SessionUpdated, Settings
from actors.events.work import TaskFinished, TaskProgress, TaskStarted, ToolFinished, ToolStarted
from storage.records import Row

TEXT = st.text(max_size=20)
MAYBE = st.none() | TEXT
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
COUNT = st.none() | st.integers(0, 2**40)
MONEY = st.none() | st.floats(0, 1e6)
FILE = st.builds(
    Attachment, id=TEXT, filename=TEXT, mime_type=TEXT, size=st.integers(0, 2**40), type=TEXT, url=TEXT
)
USAGE = st.none() | st.builds(
    Usage, input_tokens=COUNT, output_tokens=COUNT, cached_input_tokens=COUNT, cost_usd=MONEY
)
DECISION = st.sampled_from(["allow", "deny", "allow_session", "cancelled"])
TASK_STATE = st.sampled_from(["succeeded", "failed", "cancelled"])
PIECE = {"content": TEXT, "block": TEXT, "offset": st.integers(0, 2**40)}
TASK = {"task_id": TEXT, "title": TEXT, "agent_type": TEXT, "parent_task_id": MAYBE}
EVENT: st.SearchStrategy[Event] = st.one_of(
    st.builds(UserMessage, message_id=TEXT, content=TEXT, attachments=st.lists(FILE, max_size=2).map(tuple)),
    st.builds(Delivery, message_id=TEXT, state=st.sampled_from(["queued", "handed", "unknown"])),
    st.builds(TurnStarted, message_id=TEXT),
    st.builds(Message, **PIECE),
    st.builds(Thinking, **PIECE),
    st.builds(ToolStarted, tool_id=TEXT, name=TEXT, input=JSON, parent_tool_id=MAYBE, blob=JSON),
    st.builds(
        ToolFinished,
        tool_id=TEXT,
        name=TEXT,
        output=TEXT,
        is_error=st.booleans(),
        duration_ms=COUNT,
        blob=JSON,
    ),
    st.builds(
        PermissionRequested,
        request_id=TEXT,
        tool=TEXT,
        input=JSON,
        options=st.lists(TEXT, max_size=3).map(tuple),
        questions=JSON,
    ),
    st.builds(
        PermissionResolved, request_id=TEXT, decision=DECISION, by_device=MAYBE, note=MAYBE, answers=JSON
    ),
    st.builds(TaskStarted, **TASK),
    st.builds(TaskProgress, progress=TEXT, **TASK),
    st.builds(TaskFinished, state=TASK_STATE, result=MAYBE, **TASK),
    st.builds(Notice, code=TEXT, content=TEXT, attempt=COUNT, retry_in_s=MONEY),
    st.builds(
        Complete,
        message_count=st.integers(0, 2**53),
        text_length=st.integers(0, 2**53),
        text_sha256=TEXT,
        usage=USAGE,
    ),
    st.builds(TurnError, code=st.just("timeout"), content=TEXT, retryable=st.booleans()),
    st.builds(Interrupted, by_device=MAYBE),
    st.builds(SessionUpdated, title=MAYBE, failed=st.none() | st.booleans()),
)


@given(EVENT)
def test_any_event_round_trips(event: Event) -> None:
    assert decode_event(event.kind, encode_event(event)) == event


@given(EVENT, st.integers(1, 4), MAYBE, MAYBE)
def test_an_entry_says_of_the_row_what_the_event_was(
    event: Event, span: int, turn_id: str | None, device_id: str | None
) -> None:
    item = Committed(10 + span, 11, 77, turn_id, device_id, event)
    entry = encode_entry(item)
    assert entry.span == span
    row = Row(
        "s",
        item.seq,
        item.first_seq,
        entry.turn_id,
        entry.kind,
        entry.device_id,
        entry.at_ms,
        entry.payload,
        1,
    )
    assert decode_row(row) == item


def test_each_message_and_delivery_records_its_command() -> None:
    said = encode_entry(Committed(1, 1, 0, "t", "d", UserMessage("m", "hello")))
    assert (said.command_id, said.command_state, said.search_text) == ("m", "accepted", "hello")
    moved = encode_entry(Committed(2, 2, 0, "t", None, Delivery("m", "handed")))
    assert (moved.command_id, moved.command_state, moved.search_text) == ("m", "handed", None)


@given(EVENT)
def test_fields_of_a_later_version_are_ignored(event: Event) -> None:
    body = orjson.loads(encode_event(event))
    later = orjson.dumps({**body, "v": 9, "later": [1]})
    assert decode_event(event.kind, later) == event


def test_an_unknown_kind_becomes_a_notice() -> None:
    event = decode_event("hologram", b'{"v":7,"content":3}')
    assert isinstance(event, Notice)
    assert event.code == "unknown_kind"


@given(TEXT, MAYBE, MAYBE)
def test_settings_round_trip(workspace: str, model: str | None, mode: str | None) -> None:
    settings = Settings(workspace, model, mode)
    assert decode_settings(encode_settings(settings)) == settings
