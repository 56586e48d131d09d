"""Rows of a Codex rollout: what a row says. Pure. Rows of unknown types are common and say nothing here."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import attrs

from bridgehub.desk.records import MAX_TEXT, DeskEvent, Said, ToolCalled, ToolReturned
from bridgehub.desk.turns import RowParts, read_time

__all__ = ["CodexRows", "is_ours", "item_of"]


def item_of(row: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the event of a row and its item, which may be empty; None if the row is not an event."""
    payload = row.get("payload")
    if row.get("type") != "event_msg" or not isinstance(payload, dict):
        return None
    item = payload.get("item") if payload.get("type") == "item_completed" else None
    return payload, item if isinstance(item, dict) else {}


def is_ours(item: dict[str, Any]) -> bool:
    """Tell whether a person's message came from a session of ours: its id is `TURN/MESSAGE`."""
    client_id = item.get("client_id")
    return isinstance(client_id, str) and "/" in client_id


@attrs.define
class CodexRows:
    """Reads rows in the order of the file. Turns that began here are left out, if `leaves_out_ours`.

    Attributes:
        known: further turns that are left out.
    """

    leaves_out_ours: bool = False
    in_ours: bool = False
    known: frozenset[str] = frozenset()
    _has_begun: str = ""

    def take(self, row: dict[str, Any]) -> RowParts | None:
        """Return what a row says in the conversation; None if nothing."""
        told = item_of(row)
        if told is None:
            return None
        payload, item = told
        at_ms, turn_id = read_time(row.get("timestamp")), _string(payload.get("turn_id"))[:64]
        if turn_id in self.known:
            return None
        match payload.get("type"):
            case "task_started":
                self.in_ours = False
                return None
            case "task_complete" | "turn_aborted":
                was_ours, self.in_ours = self.in_ours, False
                kind = "end" if payload["type"] == "task_complete" else "interrupt"
                return None if was_ours else RowParts(kind, at_ms)  # type: ignore[arg-type]
            case "user_message" if not item:
                return self._prompt(_string(payload.get("message")), f"{turn_id or 'at'}-{at_ms}", at_ms)
            case "agent_message" if not item:
                said = Said(at_ms, f"text-{at_ms}", _string(payload.get("message")))
                return RowParts("part", at_ms, f"at-{at_ms}", parts=(said,), rests=True)
        if not item:
            return None
        if item.get("type") == "UserMessage":
            self.in_ours = self.leaves_out_ours and is_ours(item)
            if self.in_ours:
                return None
            key = turn_id if turn_id and turn_id != self._has_begun else _string(item.get("id"))[:64]
            self._has_begun = turn_id
            return self._prompt(_texts(item.get("content")), key, at_ms)
        if self.in_ours:
            return None
        parts = _parts(item, at_ms)
        rests = item.get("type") == "AgentMessage"
        return RowParts("part", at_ms, turn_id, parts=parts, rests=rests) if parts else None

    def _prompt(self, text: str, key: str, at_ms: int) -> RowParts | None:
        return RowParts("prompt", at_ms, key, text) if text.strip() else None


def _parts(item: dict[str, Any], at_ms: int) -> tuple[DeskEvent, ...]:
    name = _string(item.get("id"))[:128] or f"item-{at_ms}"
    match item.get("type"):
        case "AgentMessage" | "Plan":
            text = _string(item.get("text")) or _texts(item.get("content"))
            return (Said(at_ms, name, text),) if text else ()
        case "Reasoning":
            text = _texts(item.get("summary_text")) or _texts(item.get("summary"))
            return (Said(at_ms, name, text, is_thinking=True),) if text else ()
        case "CommandExecution":
            words = item.get("command")
            words = [_string(each) for each in words[:100]] if isinstance(words, list) else [_string(words)]
            given = {"command": words[-1] if words[1:2] == ["-lc"] else " ".join(words)}
            output = _string(item.get("aggregated_output"))
            failed = item.get("exit_code") not in (0, None) or item.get("status") in ("failed", "declined")
            return ToolCalled(at_ms, name, "command", given), ToolReturned(at_ms, name, output, failed)
        case "FileChange":
            changes = item.get("changes")
            paths = (
                [_string(each)[:4096] for each in list(changes)[:100]] if isinstance(changes, dict) else []
            )
            failed = item.get("status") in ("failed", "declined")
            diff = [
                _entry(path, changes[path]) for path in paths if isinstance(changes, dict) and path in changes
            ]
            called = ToolCalled(at_ms, name, "patch", {"paths": paths})
            return called, ToolReturned(at_ms, name, "", failed, diff or None)
        case "McpToolCall":
            tool = f"{_string(item.get('server'))}/{_string(item.get('tool'))}"[:200]
            failed = item.get("status") == "failed"
            return ToolCalled(at_ms, name, tool, item.get("arguments")), ToolReturned(at_ms, name, "", failed)
    return ()


def _entry(path: str, change: Any) -> dict[str, Any]:
    change = change if isinstance(change, dict) else {}
    kind = change.get("type")
    status = {"add": "added", "delete": "deleted"}.get(kind if isinstance(kind, str) else "", "modified")
    patch = _string(change.get("unified_diff"))
    if not patch and isinstance(change.get("content"), str):
        sign = "-" if status == "deleted" else "+"
        patch = "".join(f"{sign}{line}\n" for line in _string(change["content"]).splitlines())
    lines = patch.splitlines()
    added = sum(line.startswith("+") and not line.startswith("+++") for line in lines)
    removed = sum(line.startswith("-") and not line.startswith("---") for line in lines)
    return {
        "path": PurePath(path).as_posix(),
        "old_path": None,
        "status": status,
        "added": added,
        "removed": removed,
        "binary": False,
        "patch": patch,
        "truncated": False,
    }


def _texts(value: object) -> str:
    if isinstance(value, str):
        return _string(value)
    if not isinstance(value, list):
        return ""
    texts = [_string(each.get("text")) if isinstance(each, dict) else _string(each) for each in value[:1000]]
    return "\n".join(text for text in texts if text)[:MAX_TEXT]


def _string(value: object) -> str:
    return value[:MAX_TEXT].encode(errors="replace").decode() if isinstance(value, str) else ""
