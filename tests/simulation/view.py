"""What one device holds of one session, as PROTOCOL section 3 has it make it from frames. Pure."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["DeviceView"]


@attrs.define(eq=False)
class DeviceView:
    """The frames since the last snapshot, and what a client shows of them.

    Attributes:
        position: the last seq; None before the first `attached`.
        start: nothing at or before this seq is held.
        texts: the answers' text, by turn, kind and block.
    """

    session_id: str
    epoch: int = 0
    position: int | None = None
    start: int = 0
    frames: list[dict[str, Any]] = attrs.field(factory=list)
    texts: dict[tuple[str, str, str], str] = attrs.field(factory=dict)
    pending: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    unknown: dict[str, None] = attrs.field(factory=dict)
    running: str | None = None
    queued: dict[str, None] = attrs.field(factory=dict)
    state: str = "idle"

    def attached(self, frame: dict[str, Any], asked: int | None) -> str | None:
        """Take an `attached` that answers an attach with position `asked`; return what is wrong with it."""
        wrong = None
        if frame["replay"] == "ok":
            if frame["epoch"] != self.epoch or asked is None or asked > frame["head_seq"]:
                wrong = f"replay ok for a position that is not of this epoch: {asked}"
            else:  # what an earlier attachment still brought meanwhile comes again
                self.position = asked
                self.frames = [one for one in self.frames if one["seq"] <= asked]
        else:
            self.frames.clear()
            self.texts.clear()
            self.unknown.clear()
            self.queued.clear()
            self.epoch, self.running = frame["epoch"], None
            self.start = self.position = frame["from_seq"] - 1
        self.pending = {one["request_id"]: one for one in frame["pending"]}
        self.state = frame["state"]
        return wrong

    def take(self, frame: dict[str, Any]) -> str | None:
        """Take an event; return what is wrong with it."""
        first, seq = frame["first_seq"], frame["seq"]
        if self.position is None:
            return "an event before attached"
        if frame["epoch"] != self.epoch:
            return f"an event of epoch {frame['epoch']} in epoch {self.epoch}"
        if not first <= self.position + 1 <= seq:
            return f"a gap or a repeat: {first}-{seq} at position {self.position}"
        if first <= self.position and frame["type"] not in ("message", "thinking"):
            return f"{frame['type']} {seq} covers what came before"
        self.position = seq
        self.frames.append(frame)
        self._show(frame)
        return None

    def _show(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "message" | "thinking":
                key = (frame["turn_id"], frame["type"], frame["block"])
                self.texts[key] = self.texts.get(key, "")[: frame["offset"]] + frame["content"]
            case "permission_requested":
                self.pending[frame["request_id"]] = frame
            case "permission_resolved":
                self.pending.pop(frame["request_id"], None)
            case "turn_started":
                self.running = frame["turn_id"]
                self.unknown.pop(frame["message_id"], None)
                self.queued.pop(frame["message_id"], None)
            case "delivery" if frame["state"] == "unknown":
                self.unknown[frame["message_id"]] = None
            case "delivery" if frame["state"] == "queued":
                self.queued[frame["message_id"]] = None
                self.unknown.pop(frame["message_id"], None)
            case "delivery" if frame["state"] == "cancelled":
                self.unknown.pop(frame["message_id"], None)
                self.queued.pop(frame["message_id"], None)
            case "complete" | "error" | "interrupted":
                self.running = None
            case _:
                pass
