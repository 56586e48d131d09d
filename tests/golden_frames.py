"""The frames of `docs/internals/clients.md`, made by the server's own codecs.

A block of the page that follows `<!-- frame: NAME -->` is the frame NAME. `tests/test_clients_page.py` compares them.
Where a codec was changed on purpose: `python -m tests.golden_frames` writes the page again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs

from actors.events.committed import Committed, Event
from actors.events.conversation import (
    BlockDropped,
    BranchLeft,
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
from actors.events.session import (
    Checkpoint,
    Ending,
    SessionGrant,
    SessionUpdated,
    Settings,
    Undone,
    UndoStarted,
)
from actors.events.work import (
    PlanEntry,
    PlanUpdated,
    TaskFinished,
    TaskProgress,
    TaskStarted,
    ToolFinished,
    ToolStarted,
)
from actors.offer import AgentCommand, McpServer, Mode, Model, Offer
from actors.replies import Accepted, IfHead, QueuedMessage, Rejected, SessionView
from actors.tail import AttachedDevice, DraftChanged, Presence, ReadMarkMoved, ToolOutputs
from bridgehub.desk.records import Where
from bridgehub.protocol.tool_events import ToolOutput
from storage.records import SessionRecord, Summary
from transport.config import TransportConfig
from transport.v3 import replies
from transport.v3.decode import WireError, decode
from transport.v3.events import encode_event

__all__ = ["BLOCK", "PAGE", "from_client", "from_server", "rewrite"]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "internals" / "clients.md"
BLOCK = re.compile(r"<!-- frame: (?P<name>[\w.-]+) -->\n```json\n(?P<text>.*?)\n```", re.DOTALL)

SESSION = "trip"
EPOCH = 1
NOW_MS = 1_767_323_045_123  # 2026-01-02T03:04:05.123Z
ANSWER = "Two files changed."

FROM_CLIENT: dict[str, dict[str, Any]] = {
    "auth": {"token": "0f3c…"},
    "attach": {
        "session_id": SESSION,
        "agent": "claude",
        "device_id": "ipad",
        "after": {"epoch": 1, "seq": 120},
        "history": 50,
        "observe": False,
        "pace_ms": 0,
    },
    "send": {
        "session_id": SESSION,
        "message_id": "5f0c",
        "content": "What changed?",
        "attachments": [],
        "if_head": {"epoch": 1, "seq": 120},
        "mode": "queue",
    },
    "renew": {"session_id": SESSION},
    "take_over": {"session_id": SESSION, "force": False},
    "organize": {"session_id": SESSION, "pinned": True, "archived": False},
    "undo": {"session_id": "trip", "turn_id": "t1"},
    "warm": {"session_id": SESSION},
    "focus": {"session_id": SESSION, "visible": True, "idle_s": 0},
    "painted": {"session_id": SESSION, "seq": 131, "ms": 18},
    "send_now": {"session_id": SESSION, "message_id": "7a21"},
    "cancel": {"session_id": SESSION, "message_id": "7a21"},
    "stop_task": {"session_id": SESSION, "task_id": "b1"},
    "interrupt": {"session_id": SESSION, "turn_id": "t1"},
    "decide": {"session_id": SESSION, "request_id": "r1", "decision": "deny", "note": "not on main"},
    "configure": {"session_id": SESSION, "settings": {"model": "opus", "permission_mode": "plan"}},
    "revoke_grant": {"session_id": SESSION, "grant": "use Bash for git status"},
    "resolve": {"session_id": SESSION, "message_id": "5f0c", "action": "retry"},
    "rename": {"session_id": SESSION, "title": "The trip"},
    "mark_read": {"session_id": SESSION, "seq": 131},
    "draft": {"session_id": SESSION, "content": "And then"},
    "watch_sessions": {},
    "detach": {"session_id": SESSION},
    "ping": {},
}


@attrs.frozen
class _Phone:
    id: str = "device-1"
    name: str = "Ann's iPad"
    scope: str = "drive"


def from_client() -> dict[str, str]:
    """Return what a device sends, by type."""
    return {kind: json.dumps({"type": kind, **fields}) for kind, fields in FROM_CLIENT.items()}


def from_server() -> dict[str, bytes]:
    """Return what the server sends, by the names that the page uses."""
    return dict(_answers()) | dict(_events())


def _answers() -> Iterator[tuple[str, bytes]]:
    config = TransportConfig(version="0.1.0", agents=("claude", "codex", "echo"))
    devices = (
        AttachedDevice("ipad", "Ann's iPad", observe=False),
        AttachedDevice("mac", "Mac", observe=True),
    )
    yield "ready", replies.ready(config, _Phone(), NOW_MS)
    yield "attached", replies.attached(replies.Attached(SESSION, _view(), 121, "ok", devices), NOW_MS)
    offer = Offer(
        (Model("sonnet", "Sonnet", "For most tasks", ("low", "high"), default=True),),
        (
            Mode("default", "ask", "Ask", "Asks before it acts."),
            Mode("plan", "plan", "Plan", "Changes nothing."),
        ),
        (AgentCommand("compact", "Make the context shorter"),),
        (McpServer("toy", "connected"),),
        {"model": "now", "permission_mode": "now", "effort": "now"},
        ("steer", "images"),
    )
    yield "agent", replies.agent(SESSION, offer, NOW_MS)
    gauge = {"context": {"used": 31_705, "window": 1_000_000, "compacts_at": 967_000}, "cost_usd": 0.41}
    yield "gauge", replies.gauge(SESSION, gauge, NOW_MS)
    printed = ToolOutput("c2", "execute", "collected 42 items\n", 8120)
    yield "tool_output", replies.tool_output(SESSION, ToolOutputs("t1", (printed,)), NOW_MS)
    yield "accepted", replies.accepted(SESSION, Accepted("5f0c", 121, duplicate=False), NOW_MS)
    stale = Rejected("stale_head", "somebody else has written since", message_id="5f0c", head=IfHead(1, 131))
    yield "rejected", replies.rejected(SESSION, stale, NOW_MS)
    late = Rejected("already_resolved", "mac was first", request_id="r1", by_device="mac")
    yield "rejected-decision", replies.rejected(SESSION, late, NOW_MS)
    yield "error-frame", replies.error("unknown_session", "There is no such session.", NOW_MS, SESSION)
    try:
        decode('{"type": "attach", "session_id": 7}')
    except WireError as wrong:
        yield "bad_frame", replies.bad_frame(wrong, NOW_MS)
    yield "heartbeat", replies.heartbeats({SESSION: (1, 134)}, NOW_MS)[0]
    for name, item in (
        ("presence", Presence(devices)),
        ("draft-of-another", DraftChanged("And then", "mac")),
        ("mark_read-of-another", ReadMarkMoved(131, "mac")),
    ):
        text = replies.news(SESSION, item, "ipad", NOW_MS)
        assert text is not None
        yield name, text
    yield "session_changed", replies.session_changed(_record(), 2, NOW_MS)
    told = {"alert_id": "5f0c", "kind": "decision", "session_id": SESSION, "state": "settled"}
    yield "alert", replies.alert({**told, "request_id": "r1", "by_device": "ipad"}, NOW_MS)
    yield "detached", replies.detached(SESSION, NOW_MS)
    yield "pong", replies.pong(NOW_MS)


def _view() -> SessionView:
    return SessionView(
        epoch=EPOCH,
        head_seq=120,
        agent_type="claude",
        title="The trip",
        state="idle",
        settings=Settings("/home/ann/trip"),
        queue=(QueuedMessage("7a21", "mac", "And the tests?"),),
        pending=(),
        read_seq=120,
        draft="",
        grants=(SessionGrant("use Bash for git status", "ipad", NOW_MS),),
    )


def _record() -> SessionRecord:
    kept = Summary("The trip", "waiting", 8, 1, True, b"", None, 0)
    return SessionRecord(SESSION, "claude", "ipad", b"", NOW_MS, NOW_MS, EPOCH, 1, 131, 131, kept, 121, "")


def _events() -> Iterator[tuple[str, bytes]]:
    yield "user_message", _event(121, UserMessage("5f0c", "What changed?"), device="ipad")
    yield "turn_started", _event(122, TurnStarted("5f0c"))
    yield "delivery-handed", _event(123, Delivery("5f0c", "handed"))
    yield "delivery-consumed", _event(124, Delivery("5f0c", "consumed"))
    yield "thinking", _event(125, Thinking("The diff first.", "0", 0))
    yield "tool_started", _event(126, ToolStarted("tool-1", "Bash", {"command": "git diff --stat"}))
    request = PermissionRequested(
        "r1",
        "Bash",
        {"command": "git diff --stat"},
        ("allow", "deny", "allow_session"),
        about="command",
        title="Run git diff --stat",
        editable=("command",),
    )
    yield "permission_requested", _event(127, request)
    resolved = PermissionResolved("r1", "allow", "ipad")
    yield "permission_resolved", _event(128, resolved, device="ipad")
    finished = ToolFinished("tool-1", "Bash", " 2 files changed", is_error=False, duration_ms=41)
    yield "tool_finished", _event(129, finished)
    yield "message", _event(130, Message("Two files", "1", 0))
    yield "message-next", _event(132, Message(" changed.", "1", 9), first=131)
    yield "delivery-answered", _event(133, Delivery("5f0c", "answered"))
    digest = sha256(ANSWER.encode()).hexdigest()
    yield "complete", _event(134, Complete(10, len(ANSWER), digest, Usage(1200, 60, 900, 0.01)))
    yield "message-folded", _event(132, Message(ANSWER, "1", 0), first=130)
    yield "delivery-queued", _event(135, Delivery("7a21", "queued"), turn="t2", device="mac")
    yield "notice", _event(136, Notice("agent_retry", "The model is busy.", attempt=1, retry_in_s=2.0))
    yield "task_started", _event(137, TaskStarted("k1", "Look for tests", "codex"))
    yield "task_progress", _event(138, TaskProgress("k1", "Look for tests", "codex", "reading tests/"))
    yield (
        "task_finished",
        _event(139, TaskFinished("k1", "Look for tests", "codex", "succeeded", "12 found")),
    )
    dug = TaskFinished("b1", "Run the tests", "command", "succeeded", "exit code 0", background=True)
    yield "task_finished-background", _event(145, dug, turn=None)
    yield "turn_started-background", _event(146, TurnStarted(None, "background"), turn="hub-7")
    yield "error", _event(140, TurnError("not_signed_in", "Run claude and type /login.", retryable=True))
    yield "interrupted", _event(141, Interrupted("mac"), device="mac")
    todo = PlanUpdated((PlanEntry("Read the diff", "completed"), PlanEntry("Answer", "in_progress")))
    yield "plan_updated", _event(144, todo)
    picture = {"mime_type": "image/png", "size": 70, "sha256": "9f2c"}
    read = ToolFinished("tool-2", "Read", "[picture: png, 1 KB]", is_error=False, pictures=[picture])
    yield "tool_finished-pictures", _event(149, read)
    yield "message-dropped", _event(147, Message("", "1", 0))
    yield "block_dropped", _event(148, BlockDropped("1"))
    settings = Settings("/srv/trip", "opus", "plan", None)
    changed = SessionUpdated(settings=settings, applies="now")
    yield "session_updated-settings", _event(143, changed, turn=None, device="ipad")
    saved = Checkpoint("t1", "c2", "after", files=4, added=120, removed=8)
    yield "checkpoint", _event(145, saved, turn=None)
    yield "undo_started", _event(146, UndoStarted("u1", "t1", "ipad", "c3"), turn=None, device="ipad")
    where = Where("claude", 4211, "idle", NOW_MS, "85786")
    ending = SessionUpdated(where=Ending(where, "ipad"))
    yield "session_updated-where", _event(148, ending, turn=None, device="ipad")
    yield "branch_left", _event(149, BranchLeft(("t2", "t3")), turn=None, device="desk")
    yield "undone", _event(147, Undone("u1", ("app.py",), ("notes.md",)), turn=None)
    yield "session_updated", _event(142, SessionUpdated(title="The trip"), turn=None, device="ipad")


def _event(
    seq: int, event: Event, *, first: int | None = None, turn: str | None = "t1", device: str | None = None
) -> bytes:
    return encode_event(SESSION, EPOCH, Committed(seq, first or seq, NOW_MS, turn, device, event))


def rewrite(page: str) -> str:
    """Return the page with each frame as it is now."""
    made = {name: _shown(text) for name, text in (from_server() | from_client()).items()}
    return BLOCK.sub(
        lambda found: f"<!-- frame: {found['name']} -->\n```json\n{made[found['name']]}\n```", page
    )


def _shown(text: str | bytes) -> str:
    return json.dumps(json.loads(text), ensure_ascii=False)


if __name__ == "__main__":
    PAGE.write_text(rewrite(PAGE.read_text()))
