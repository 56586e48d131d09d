"""What a terminal shows. Nothing that others wrote reaches it with a control character."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from builderos.client.screen import _SHOWERS, Screen
from builderos.client.terminal import one_line, sanitise, table
from builderos.client.wire.frames import decode


def show(screen: Screen, kind: str, /, seq: int | None = 1, **fields: Any) -> str:
    body = {"type": kind, "content": "", "timestamp": "", "session_id": "trip", "turn_id": "t"} | fields
    return screen.show(decode(orjson.dumps(body | ({"seq": seq} if seq else {}))))


def piece(screen: Screen, content: str, offset: int, block: str = "b1", kind: str = "message") -> str:
    return show(screen, kind, content=content, offset=offset, block=block)


def test_pieces_are_written_as_they_come() -> None:
    screen = Screen("me")
    assert show(screen, "user_message", content="hi", device_id="me") == "[you] hi\n"
    assert show(screen, "turn_started") == ""
    assert piece(screen, "Hel", 0) + piece(screen, "lo", 3) == "Hello"
    assert show(screen, "tool_started", name="Bash", tool_id="1", input={"a": 1}) == '\n* Bash {"a":1}\n'
    assert piece(screen, " again", 5) == " again"
    assert piece(screen, "hm", 0, kind="thinking") == "\n(thinking) hm"
    assert piece(screen, "other", 0, block="b2") == "\nother"
    assert show(screen, "complete") == "\n— complete —\n"


def test_a_piece_that_covers_what_was_shown_adds_only_the_rest() -> None:
    screen = Screen("me")
    assert piece(screen, "Hello", 0) == "Hello"
    assert piece(screen, "Hello wörld", 0) == " wörld"
    assert piece(screen, "wörld", 6) == ""
    assert piece(screen, "!", 11) == "!"


def test_a_new_turn_begins_anew() -> None:
    screen = Screen("me")
    assert piece(screen, "one", 0) == "one"
    show(screen, "complete")
    show(screen, "turn_started")
    assert piece(screen, "two", 0) == "two"


def test_requests_are_kept_until_they_are_resolved() -> None:
    screen = Screen("me")
    attached = show(
        screen,
        "attached",
        None,
        pending=[{"request_id": "r0", "tool": "Edit", "input": "x"}],
        state="waiting",
    )
    assert attached == "— trip · waiting —\n? Edit x\n? allow it? y or n\n"
    asked = show(screen, "permission_requested", request_id="r1", tool="Bash", input={"command": "ls"})
    assert asked == '— another request waits: Bash {"command":"ls"} —\n'
    assert list(screen.requests.waiting) == ["r0", "r1"]
    resolved = show(screen, "permission_resolved", request_id="r0", decision="allow", by_device="ipad")
    assert resolved == '— Edit x: allowed by ipad —\n? Bash {"command":"ls"}\n? allow it? y or n\n'
    assert list(screen.requests.waiting) == ["r1"]


def test_a_question_of_trust_shows_all_that_would_run() -> None:
    screen = Screen("me")
    runs = [
        {
            "kind": "hook",
            "name": "Stop",
            "from": ".claude/settings.json",
            "command": "sh x.sh" + " " * 700 + "; evil",
        },
        {"kind": "server", "name": "s\x1b[2J", "from": ".mcp.json"},
    ]
    asked = {"folder": "/w", "agent": "claude", "runs": runs}
    told = show(screen, "permission_requested", request_id="r1", tool="trust", kind="trust", input=asked)
    assert told.splitlines() == [
        "? The folder /w has settings that would run or apply by themselves:",
        "? - hook Stop (.claude/settings.json): sh x.sh⟦700 blanks⟧; evil",
        "? - server s\\u{1b}[2J (.mcp.json)",
        "? trust this folder? y, or n to continue without its settings; /interrupt ends the turn",
    ]
    resolved = show(screen, "permission_resolved", request_id="r1", decision="allow", by_device="ipad")
    assert resolved == "— trust in /w: allowed by ipad —\n"
    told = show(
        screen, "permission_requested", request_id="r2", tool="trust", kind="trust", input=asked | {"more": 3}
    )
    assert "? - and 3 more, which are not listed\n? too long to show here" in told


def test_others_are_named() -> None:
    shown = show(
        Screen("me"),
        "attached",
        None,
        agent_type="echo",
        state="idle",
        devices=[{"device_id": "me"}, {"device_id": "ipad"}],
    )
    assert shown == "— trip · echo · idle · with ipad —\n"


def test_a_terminal_that_has_the_session_open_is_named() -> None:
    shown = show(Screen("me"), "attached", None, state="idle", where={"program": "claude", "status": "busy"})
    assert shown == "— trip · idle · open in a terminal (busy): /takeover continues it here —\n"


def test_frames_of_the_connection_show_nothing() -> None:
    for kind in ("heartbeat", "presence", "draft", "pong", "session_changed", "a_type_of_the_future"):
        assert show(Screen("me"), kind, None, content="words") == ""


def is_safe(text: str) -> bool:
    return all(char in "\n\t" or not (ord(char) < 32 or 127 <= ord(char) < 160) for char in text)


hostile = st.text(st.characters(max_codepoint=0x2FFF), max_size=30)


@given(hostile, st.integers(1, 40))
def test_any_text_is_made_safe(text: str, limit: int) -> None:
    assert is_safe(sanitise(text))
    assert "\n" not in one_line(text, limit)
    assert len(one_line(text, limit)) <= limit
    sanitise(text).encode()


@given(
    kind=st.sampled_from(sorted(_SHOWERS)),
    fields=st.dictionaries(
        st.sampled_from(
            [
                "content",
                "block",
                "offset",
                "name",
                "tool_id",
                "input",
                "output",
                "is_error",
                "request_id",
                "tool",
                "decision",
                "by_device",
                "state",
                "title",
                "progress",
                "result",
                "code",
                "device_id",
                "pending",
                "devices",
                "attachments",
                "agent_type",
                "replay",
            ]
        ),
        st.one_of(
            hostile, st.integers(0, 99), st.none(), st.lists(st.dictionaries(hostile, hostile, max_size=2))
        ),
    ),
)
def test_any_frame_is_shown_safely(kind: str, fields: dict[str, Any]) -> None:
    assert is_safe(show(Screen("me"), kind, **fields))


def test_lone_surrogates_can_be_written() -> None:
    assert sanitise("a\ud800b") == "a\ufffdb"


def test_tasks_show_progress_and_a_turn_without_message_a_name() -> None:
    screen = Screen("me")
    told = show(screen, "task_started", title="Dig", state="running", content="Task started: Dig")
    assert told == "> Dig: running\n"
    told = show(screen, "task_progress", title="Dig", state="running", content="half\n done")
    assert told == "> Dig: half done\n"
    assert show(screen, "task_finished", title="Dig", state="succeeded", result="found") == (
        "> Dig: succeeded: found\n"
    )
    told = show(screen, "turn_started", message_id=None, cause="background")
    assert told == "— the agent continues by itself —\n"


def test_a_table_is_aligned_and_safe() -> None:
    rows: list[list[object]] = [["trip", None], ["a\x1b[2J", "x" * 200]]
    assert table(("NAME", "TITLE"), rows) == f"NAME   TITLE\ntrip\na␛[2J  {'x' * 127}…\n"
