"""A session as one terminal knows it: frames in, what there is to see out. Pure: no screen, no socket, no clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from builderos.client.steering import Steering
from builderos.client.wire.frames import TURN_ENDS, Frame
from builderos.terminal.model import parts
from builderos.terminal.model.entries import AnswerEntry, LineEntry, MessageEntry, Note, TextPart, ToolEntry
from builderos.terminal.model.timeline import Timeline

__all__ = ["ConversationModel"]

_PROGRESS: Final = frozenset({"message", "thinking", "tool_started"})
"""What shows that an agent continues after it had to try again."""

_WORDS: Final = {
    "allow": "Allowed",
    "allow_session": "Allowed for this session",
    "deny": "Denied",
    "cancelled": "Cancelled",
}


@attrs.define(eq=False)
class ConversationModel:
    """The entries of a session and all that stands around them.

    Attributes:
        pending: open requests by id, oldest first, as their frames have them.
        refused: requests whose answer the server refused.
        plan: the agent's to-do list.
        turn_id: the running turn.
        read_seq: up to where a person has read, on any device.
        head_seq: the last event when we attached.
        draft: what is typed on another device, and `draft_by` its label.
        version: grows with every change.
        last_checked: the newest turn whose changes are known.
    """

    session_id: str
    me: str
    steering: Steering = attrs.field(factory=Steering)
    timeline: Timeline = attrs.field(factory=Timeline)
    agent: str = ""
    title: str = ""
    workspace: str = ""
    failed: bool = False
    turn_id: str | None = None
    began_at: str = ""
    pending: dict[str, Mapping[str, Any]] = attrs.field(factory=dict)
    refused: set[str] = attrs.field(factory=set)
    tasks: dict[str, parts.Task] = attrs.field(factory=dict)
    plan: list[Mapping[str, Any]] = attrs.field(factory=list)
    devices: list[str] = attrs.field(factory=list)
    names: dict[str, str] = attrs.field(factory=dict)
    grants: list[Mapping[str, Any]] = attrs.field(factory=list)
    worktree: Mapping[str, Any] | None = None
    machine: Mapping[str, Any] | None = None
    read_seq: int = 0
    head_seq: int = 0
    draft: str = ""
    draft_by: str = ""
    last_checked: str | None = None
    last_undo: str | None = None
    version: int = 0

    @property
    def state(self) -> str:
        """The session's state word."""
        if self.failed:
            return "failed"
        if self.turn_id is None:
            return "idle"
        return "waiting" if self.pending else "running"

    @property
    def queue(self) -> list[MessageEntry]:
        """Messages that wait for their turn, oldest first."""
        return [one for one in self.timeline.messages.values() if one.state == "queued"]

    def take(self, frame: Frame) -> None:
        """Take a frame of this session."""
        self.version += 1
        self.steering.take(frame)
        if frame.seq is None:
            self._aside(frame)
            return
        taker = _TAKERS.get(frame.kind)
        if taker is not None:
            taker(self, frame)
        else:
            self._of_turn(frame)

    def wait(self, message_id: str, content: str, at: str, not_before: str = "") -> None:
        """Show a message of ours that the server does not have yet."""
        entry = MessageEntry(
            f"m:{message_id}",
            message_id,
            content,
            self.me,
            len(self.timeline.messages),
            at=at,
            state="waiting",
        )
        entry.not_before = not_before
        self.timeline.insert(entry)
        self.version += 1

    def drop(self, message_id: str) -> None:
        """Take back what the server never had."""
        entry = self.timeline.messages.get(message_id)
        if entry is not None and entry.state == "waiting":
            self.timeline.remove(message_id)
            self.version += 1

    def older(self, messages: Sequence[Mapping[str, Any]], *, more: bool) -> None:
        """Take a page of `/messages` from before the first seq that is known."""
        for one in messages:
            if one.get("role") == "user":
                self.timeline.insert(parts.past_message(one))
            else:
                self.timeline.insert(parts.past_answer(one))
        first = min((parts.whole(one, "seq") for one in messages), default=1)
        self.timeline.first_seq = first if more and messages else 1
        self.version += 1

    def name_of(self, device_id: str | None) -> str:
        """Return how to call a device."""
        if device_id == self.me:
            return "you"
        return (device_id or "somebody") if device_id not in self.names else self._told_apart(device_id)

    def _told_apart(self, device_id: str) -> str:
        name = self.names[device_id]
        twins = [one for one, called in self.names.items() if called == name and one != device_id]
        return device_id if twins else name

    # ---- frames without seq ----

    def _aside(self, frame: Frame) -> None:
        match frame.kind:
            case "attached":
                self._attached(frame)
            case "presence":
                self._present(frame.tables("devices"))
            case "mark_read":
                self.read_seq = max(self.read_seq, frame.number("read_seq"))
            case "draft":
                self.draft, self.draft_by = frame.content, frame.text("by_device")
            case "tool_output":
                self.timeline.print_tools(frame.turn_id, parts.printed(frame))
            case "session_changed" if frame.text("title"):
                self.title = frame.text("title")

    def _attached(self, frame: Frame) -> None:
        if frame.text("replay") != "ok":
            self._start_over(frame.number("from_seq"))
        self.me = frame.text("device_id") or self.me
        self.agent, self.title = frame.text("agent_type"), frame.text("title")
        self.failed = frame.text("state") == "failed"
        settings = frame.body.get("settings")
        if isinstance(settings, dict):
            self.workspace = str(settings.get("workspace") or "")
        self.plan, self.grants = frame.tables("plan"), frame.tables("grants")
        worktree = frame.body.get("worktree")
        self.worktree = worktree if isinstance(worktree, dict) else None
        self.pending = {
            str(one["request_id"]): one
            for one in frame.tables("pending")
            if isinstance(one.get("request_id"), str)
        }
        for one in frame.tables("background"):
            parts.note_task(self.tasks, {**one, "background": True}, "")
        self.read_seq, self.head_seq = frame.number("read_seq"), frame.number("head_seq")
        self.draft = frame.text("draft")
        self._present(frame.tables("devices"))
        for one in frame.tables("queue"):
            self._queued(one)

    def _queued(self, one: Mapping[str, Any]) -> None:
        """Show a message that waits and whose event lies before the history that was asked for."""
        message_id = one.get("message_id")
        if isinstance(message_id, str) and message_id not in self.timeline.messages:
            entry = parts.past_message({**one, "status": "queued"})
            entry.seq = -1_000_000 + len(self.timeline.messages)
            self.timeline.insert(entry)

    def _start_over(self, from_seq: int) -> None:
        unsent = [one for one in self.timeline.messages.values() if one.state == "waiting"]
        self.timeline.clear(from_seq)
        self.tasks.clear()
        self.turn_id = None
        for one in unsent:
            self.timeline.insert(one)

    def _present(self, devices: list[Mapping[str, Any]]) -> None:
        known = [
            (str(one["device_id"]), str(one.get("name") or ""))
            for one in devices
            if isinstance(one.get("device_id"), str)
        ]
        self.devices = [name for name, _ in known]
        # terminals of one key share its name: then the label says more
        self.names |= {device_id: name for device_id, name in known if name and name != "first device"}

    # ---- events ----

    def _user_message(self, frame: Frame) -> None:
        message_id = frame.text("message_id")
        mine = self.timeline.arrived(message_id, frame.seq or 0, frame.turn_id)
        if mine is not None:
            self.timeline.touch(mine)
            return
        known = self.timeline.messages.get(message_id)
        if known is not None and known.seq < 0:
            self.timeline.remove(message_id)  # it came with `attached`, cut
        entry = parts.past_message({**frame.body, "seq": frame.seq, "status": "sent"})
        self.timeline.insert(entry)

    def _delivery(self, frame: Frame) -> None:
        entry = self.timeline.messages.get(frame.text("message_id"))
        if entry is not None:
            entry.state = frame.text("state")
            self.timeline.touch(entry)
            self.timeline.replace(entry)

    def _turn_started(self, frame: Frame) -> None:
        if frame.turn_id is None:
            return
        self.turn_id, self.began_at = frame.turn_id, frame.text("timestamp")
        for task_id, task in list(self.tasks.items()):
            if not task.background or task.state != "running":
                del self.tasks[task_id]
        self.timeline.insert(
            AnswerEntry(
                f"t:{frame.turn_id}", frame.turn_id, frame.seq or 0, self.began_at, frame.text("cause")
            )
        )

    def _requested(self, frame: Frame) -> None:
        request_id = frame.text("request_id")
        if request_id:
            self.pending[request_id] = frame.body

    def _resolved(self, frame: Frame) -> None:
        request = self.pending.pop(frame.text("request_id"), {})
        decision = frame.text("decision")
        by = f" by {self.name_of(frame.text('by_device'))}" if frame.text("by_device") else ""
        about = str(request.get("title") or request.get("tool") or "")
        note = frame.text("option") or frame.text("note")
        answers = frame.body.get("answers")
        said = (
            [f"{question} {answer}" for question, answer in answers.items()]
            if isinstance(answers, dict)
            else []
        )
        text = f"{_WORDS.get(decision, 'Decided')}{by}"
        text += "".join(f" · {one}" for one in (about, note, *said) if one)
        tool = self._tool_asked(frame.turn_id, request)
        if tool is not None:
            tool.decision = text
            self._touch(frame.turn_id)
        else:
            self._line(frame, LineEntry("deny" if decision in {"deny", "cancelled"} else "allow", text))

    def _tool_asked(self, turn_id: str | None, request: Mapping[str, Any]) -> ToolEntry | None:
        answer = self.timeline.answers.get(turn_id or "")
        if answer is None or not request:
            return None
        given = request.get("tool_id")
        for tool in reversed(answer.tools.values()):
            if tool.output is None and (
                tool.tool_id == given
                if given
                else tool.name == request.get("tool") and parts.same(tool.input, request.get("input"))
            ):
                return tool
        return None

    def _task(self, frame: Frame) -> None:
        parts.note_task(self.tasks, frame.body, frame.content if frame.kind == "task_progress" else "")

    def _plan(self, frame: Frame) -> None:
        self.plan = frame.tables("entries")

    def _notice(self, frame: Frame) -> None:
        wait = frame.body.get("retry_in_s")
        text = frame.content + (f" Next try in {wait:.0f} s." if isinstance(wait, int | float) else "")
        answer = self.timeline.answers.get(frame.turn_id or "")
        if answer is not None and (wait is not None or "attempt" in frame.body):
            answer.passing = text
            self.timeline.touch(answer)
        else:
            self._line(frame, LineEntry("notice", text))

    def _updated(self, frame: Frame) -> None:
        self.title = frame.text("title") or self.title
        if isinstance(frame.body.get("failed"), bool):
            self.failed = bool(frame.body["failed"])
        if isinstance(frame.body.get("grants"), list):
            self.grants = frame.tables("grants")
        if frame.body.get("settings") is not None and frame.device_id and frame.content:
            self._line(frame, LineEntry("notice", frame.content))

    def _checkpoint(self, frame: Frame) -> None:
        if frame.text("position") != "after":
            return
        self.last_checked = frame.text("of_turn") or self.last_checked
        answer = self.timeline.answers.get(frame.text("of_turn"))
        if answer is not None and frame.number("files"):
            answer.changed = (frame.number("files"), frame.number("added"), frame.number("removed"))
            self.timeline.touch(answer)

    def _undone(self, frame: Frame) -> None:
        self.last_undo = frame.text("undo_id") or self.last_undo
        conflicts = frame.body.get("conflicts")
        left = [one for one in conflicts if isinstance(one, str)] if isinstance(conflicts, list) else []
        text = frame.content + (f" Left alone: {', '.join(left[:5])}" if left else "")
        self._line(frame, LineEntry("notice", text))

    def _branch_left(self, frame: Frame) -> None:
        for turn_id in frame.body.get("turn_ids") or ():
            answer = self.timeline.answers.get(turn_id) if isinstance(turn_id, str) else None
            if answer is not None:
                answer.undone = True
                self.timeline.touch(answer)

    def _of_turn(self, frame: Frame) -> None:
        ends = frame.kind in TURN_ENDS
        if ends and frame.turn_id == self.turn_id:
            self.turn_id = None
            self.pending.clear()
        answer = self.timeline.answers.get(frame.turn_id or "")
        if answer is None:
            return  # the tail of a turn whose beginning lies before what was asked for
        self.timeline.touch(answer)
        if ends or frame.kind in _PROGRESS:
            answer.passing = ""
        match frame.kind:
            case "message" | "thinking":
                parts.piece(answer, frame)
            case "tool_started":
                parts.start_tool(answer, frame, self.timeline.printed)
            case "tool_finished":
                parts.finish_tool(answer, frame)
            case "block_dropped":
                dropped = frame.text("block")
                answer.parts = [
                    one for one in answer.parts if not (isinstance(one, TextPart) and one.block == dropped)
                ]
            case _ if ends:
                parts.end(answer, frame)

    def _line(self, frame: Frame, line: LineEntry) -> None:
        """Put a line into its turn, in the order in which it came; without a turn it is an entry."""
        answer = self.timeline.answers.get(frame.turn_id or "")
        if answer is not None:
            answer.parts.append(line)
            self.timeline.touch(answer)
        else:
            self.timeline.insert(Note(f"l:{frame.seq}", line, frame.seq or 0))

    def _touch(self, turn_id: str | None) -> None:
        answer = self.timeline.answers.get(turn_id or "")
        if answer is not None:
            self.timeline.touch(answer)


_TAKERS: Final[Mapping[str, Callable[[ConversationModel, Frame], None]]] = {
    "user_message": ConversationModel._user_message,
    "delivery": ConversationModel._delivery,
    "turn_started": ConversationModel._turn_started,
    "permission_requested": ConversationModel._requested,
    "permission_resolved": ConversationModel._resolved,
    "task_started": ConversationModel._task,
    "task_progress": ConversationModel._task,
    "task_finished": ConversationModel._task,
    "plan_updated": ConversationModel._plan,
    "notice": ConversationModel._notice,
    "session_updated": ConversationModel._updated,
    "checkpoint": ConversationModel._checkpoint,
    "undone": ConversationModel._undone,
    "branch_left": ConversationModel._branch_left,
}
