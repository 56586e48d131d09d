"""A session on a terminal: frames in, text out. Pure.

The stream is written piece by piece as it arrives. A piece may overlap text that was already shown (a folded frame
after a reconnect): its offset shows which part is new. Foreign text goes through `sanitise`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from builderos.client.moments import clock_time
from builderos.client.requests import WaitingRequests, brief
from builderos.client.steering import SETTINGS
from builderos.client.terminal import one_line, sanitise
from builderos.client.wire.frames import Frame

__all__ = ["Screen"]

TOOL_LINE = 160
"""Code points of a tool's output on its line."""

SHOWN_PATHS = 20
"""Paths of an undo that are shown; the event has them all."""

MAX_BLOCKS = 256
"""Blocks of the running turn whose length is tracked; an agent opens a handful."""


@attrs.define(eq=False)
class Screen:
    """The state of one terminal.

    Attributes:
        me: the label of this device; its own messages are shown as `you`.
        requests: the requests that wait for a decision.
    """

    me: str
    requests: WaitingRequests = attrs.field(factory=WaitingRequests)
    _at_line_start: bool = True
    _last_block: tuple[str, str] | None = None
    _lengths: dict[tuple[str, str], int] = attrs.field(factory=dict)
    _tools: dict[str, str] = attrs.field(factory=dict)

    def show(self, frame: Frame) -> str:
        """Return the text for `frame`; empty if it has nothing for a person."""
        shower = _SHOWERS.get(frame.kind)
        if frame.seq is None and frame.kind not in _CONNECTION_KINDS:
            return ""
        return shower(self, frame) if shower else ""

    def say(self, text: str) -> str:
        """Return a message of our own, on a line of its own."""
        start = "" if self._at_line_start else "\n"
        self._at_line_start = True
        self._last_block = None
        return f"{start}{text}\n"

    def _write(self, text: str) -> str:
        if text:
            self._at_line_start = text.endswith("\n")
        return text

    def _attached(self, frame: Frame) -> str:
        question = self.requests.reset(frame.tables("pending"))
        if frame.text("replay") == "snapshot":
            self._lengths.clear()
        others = sorted({name for item in frame.tables("devices") if (name := _name(item)) != self.me})
        title = frame.text("title")
        words = [frame.session_id or "", title, frame.text("agent_type"), frame.text("state")]
        words += _settings_words(frame.body.get("settings"))
        where = frame.body.get("where")
        if isinstance(where, dict):
            words.append(f"open in a terminal ({where.get('status')}): /takeover continues it here")
        if others:
            words.append(f"with {', '.join(others)}")
        heading = "— " + " · ".join(one_line(word) for word in words if word) + " —"
        return self.say(f"{heading}\n{question}" if question else heading)

    def _user_message(self, frame: Frame) -> str:
        author = "you" if frame.device_id == self.me else one_line(frame.device_id or "somebody")
        files = "".join(f" [{_name_of_file(item)}]" for item in frame.tables("attachments"))
        at = clock_time(frame.text("not_before"))
        later = f" (for {at})" if at else ""
        return self.say(f"[{author}] {sanitise(frame.content)}{files}{later}")

    def _delivery(self, frame: Frame) -> str:
        state = frame.text("state")
        if state == "unknown":
            return self.say("— the agent may or may not have taken this message; decide in another client —")
        return self.say(f"— {state} —") if state in {"queued", "cancelled"} else ""

    def _turn_started(self, frame: Frame) -> str:
        self._lengths.clear()
        self._tools.clear()
        by_itself = frame.body.get("message_id") is None and frame.body.get("cause") == "background"
        return self.say("— the agent continues by itself —") if by_itself else ""

    def _piece(self, frame: Frame) -> str:
        block = frame.text("block")
        where = (frame.kind, block)
        known = self._lengths.get(where, 0)
        end = frame.number("offset") + len(frame.content)
        new = frame.content[max(0, known - frame.number("offset")) :]
        if not new:
            return ""
        if len(self._lengths) < MAX_BLOCKS:
            self._lengths[where] = end
        start = ""
        if self._last_block != where:
            start = "" if self._at_line_start else "\n"
            start += "(thinking) " if frame.kind == "thinking" else ""
        self._last_block = where
        return self._write(start + sanitise(new))

    def _block_dropped(self, frame: Frame) -> str:
        for kind in ("message", "thinking"):
            self._lengths.pop((kind, frame.text("block")), None)
        return self.say(f"— {one_line(frame.content)} —")

    def _tool_started(self, frame: Frame) -> str:
        name = one_line(frame.text("name"))
        if len(self._tools) < MAX_BLOCKS:
            self._tools[frame.text("tool_id")] = name
        return self.say(f"* {name} {brief(frame.body.get('input'))}")

    def _tool_finished(self, frame: Frame) -> str:
        name = self._tools.pop(frame.text("tool_id"), one_line(frame.text("name")))
        outcome = "failed" if frame.body.get("is_error") is True else "done"
        output = one_line(frame.text("output"), TOOL_LINE)
        return self.say(f"* {name} {outcome}{': ' + output if output else ''}")

    def _permission_requested(self, frame: Frame) -> str:
        request_id = frame.text("request_id")
        return self.say(self.requests.add(request_id, frame.body)) if request_id else ""

    def _permission_resolved(self, frame: Frame) -> str:
        subject, question = self.requests.remove(frame.text("request_id"))
        words = {
            "allow": "allowed",
            "deny": "denied",
            "allow_session": "allowed for this session",
            "cancelled": "cancelled",
        }
        by = frame.text("by_device")
        decider = f" by {'you' if by == self.me else one_line(by)}" if by else ""
        option = frame.text("option")
        decider = f" ({one_line(option)}){decider}" if option else decider
        line = f"— {subject}: {words.get(frame.text('decision'), 'decided')}{decider} —"
        return self.say(f"{line}\n{question}" if question else line)

    def _task(self, frame: Frame) -> str:
        progress = frame.content if frame.kind == "task_progress" else ""
        state, result = frame.text("state"), frame.text("result")
        news = progress or (f"{state}: {result}" if result else state)
        return self.say(f"> {one_line(frame.text('title'))}: {one_line(news, TOOL_LINE)}")

    def _notice(self, frame: Frame) -> str:
        return self.say(f"— {one_line(frame.content)} —")

    def _checkpoint(self, frame: Frame) -> str:
        if frame.text("position") != "after" or not frame.number("files"):
            return ""
        count = frame.number("files")
        files = "1 file" if count == 1 else f"{count} files"
        numbers = f"+{frame.number('added')} −{frame.number('removed')}"
        return self.say(f"— {files}, {numbers} · /changes · /undo —")

    def _undone(self, frame: Frame) -> str:
        lines = [f"— {one_line(frame.content)} —"]
        lines += [f"  {one_line(name)}" for name in _texts(frame, "files")[:SHOWN_PATHS]]
        lines += [f"  left alone: {one_line(name)}" for name in _texts(frame, "conflicts")[:SHOWN_PATHS]]
        return self.say("\n".join(lines))

    def _complete(self, frame: Frame) -> str:
        return self.say("— complete —")

    def _error(self, frame: Frame) -> str:
        return self.say(f"— error {one_line(frame.text('code'))}: {one_line(frame.content, 1000)} —")

    def _interrupted(self, frame: Frame) -> str:
        by = frame.text("by_device")
        return self.say(f"— interrupted{' by ' + one_line(by) if by else ''} —")

    def _rejected(self, frame: Frame) -> str:
        return self.say(f"— refused, {one_line(frame.text('code'))}: {one_line(frame.content)} —")


def _texts(frame: Frame, name: str) -> list[str]:
    found = frame.body.get(name)
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def _name(item: Mapping[str, Any]) -> str:
    label = item.get("device_id")
    return one_line(label) if isinstance(label, str) else "?"


def _settings_words(settings: Any) -> list[str]:
    """Return, of a session's settings, what a person chose."""
    if not isinstance(settings, dict):
        return []
    return [
        f"{name} {value}" for name, field in SETTINGS.items() if isinstance(value := settings.get(field), str)
    ]


def _name_of_file(item: Mapping[str, Any]) -> str:
    name = item.get("filename")
    return one_line(name) if isinstance(name, str) else "file"


_CONNECTION_KINDS = frozenset({"attached", "rejected", "error"})

_SHOWERS: dict[str, Callable[[Screen, Frame], str]] = {
    "attached": Screen._attached,
    "user_message": Screen._user_message,
    "delivery": Screen._delivery,
    "turn_started": Screen._turn_started,
    "message": Screen._piece,
    "thinking": Screen._piece,
    "block_dropped": Screen._block_dropped,
    "tool_started": Screen._tool_started,
    "tool_finished": Screen._tool_finished,
    "permission_requested": Screen._permission_requested,
    "permission_resolved": Screen._permission_resolved,
    "task_started": Screen._task,
    "task_progress": Screen._task,
    "task_finished": Screen._task,
    "notice": Screen._notice,
    "session_updated": Screen._notice,
    "checkpoint": Screen._checkpoint,
    "undone": Screen._undone,
    "complete": Screen._complete,
    "error": Screen._error,
    "interrupted": Screen._interrupted,
    "rejected": Screen._rejected,
}
