"""Translates one turn's messages of Claude Code from the SDK's classes into hub events. No I/O.

Text is streamed as pieces and then comes again, whole. A whole block is matched with the oldest unmatched streamed block
of the same message and kind. Only the part that was not streamed is reported then. A block that was never streamed is
reported from the whole one: a local command's answer, or a fallback without streaming.

If a message begins and gets no stop reason, the service broke it off. Once another message begins, or comes whole without
a stream, the streamed part that never came whole is taken back. The program reports only some of these retries.

Messages with a `parent_tool_use_id` come from a sub-agent. Their text is progress of its task, never the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import attrs
import orjson
from claude_agent_sdk import (
    AssistantMessage,
    ConversationResetMessage,
    ServerToolResultBlock,
    ServerToolUseBlock,
    StreamEvent,
    SystemMessage,
    TaskNotificationMessage,
    TaskProgressMessage,
    TaskStartedMessage,
    TaskUpdatedMessage,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)

from bridgehub.agents.claude.translate.edits import told_diff
from bridgehub.agents.pictures import pictures_of
from bridgehub.agents.text import Cut, clean_text, cut_json, cut_text, split_text, tool_output_text
from bridgehub.blobs import Blob
from bridgehub.protocol.events import (
    BlockDropped,
    HubEvent,
    Noticed,
    TaskBegan,
    TaskEnded,
    TaskProgressed,
    TextPiece,
    ToolBegan,
    ToolEnded,
)

__all__ = ["DELEGATED", "TASK_ENDS", "ClaudeTranslator"]

Channel = Literal["text", "thinking"]

_DELTAS: dict[str, tuple[Channel, str]] = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
}

DELEGATED = frozenset({"local_agent", "local_workflow", "remote_agent", None})
"""Kinds of task that are delegated work. The program also calls a background shell a task."""

_PROGRAM = "<synthetic>"
"""The model that the program names for its own messages."""

TASK_ENDS: dict[str, Literal["succeeded", "failed", "cancelled"]] = {
    "completed": "succeeded",
    "failed": "failed",
    "stopped": "cancelled",
    "killed": "cancelled",
}


@attrs.define(eq=False)
class _Block:
    """A block of text as it was streamed."""

    channel: Channel
    block_id: str
    parts: list[str] = attrs.field(factory=list)


@attrs.define(eq=False)
class _Tool:
    """A call. `tool_id` is the id that devices know. `call` distinguishes it from another call with the same id."""

    tool_id: str
    name: str
    began_at: float
    call: tuple[str, bytes]
    has_ended: bool = False


@attrs.define(eq=False)
class ClaudeTranslator:
    """Translates the messages of one turn, in order. `now` is a monotonic clock in seconds."""

    turn_id: str
    compacts: bool = False
    """The prompt asks to compact the conversation."""
    compaction_error: str | None = None
    """Why compaction failed."""
    _message_id: str = ""
    _message_count: int = 0
    _is_streaming: bool = False
    """A message has begun and not ended."""
    _retry_told: bool = False
    """The program has reported a retry of the service since that message began."""
    _open: dict[int, _Block] = attrs.field(factory=dict)
    _unmatched: dict[str, list[_Block]] = attrs.field(factory=dict)
    _whole_count: int = 0
    _tools: dict[str, list[_Tool]] = attrs.field(factory=dict)
    """Calls by the id that the service gave them. Some services give an id twice."""
    _parents: dict[str, str] = attrs.field(factory=dict)
    """The tool call inside which another was made, by the inner one's id."""
    _tasks: dict[str, str] = attrs.field(factory=dict)
    """Open tasks: the id of each, by the id of the tool call that began it or by its own."""
    _task_ends: dict[str, Literal["succeeded", "failed", "cancelled"]] = attrs.field(factory=dict)
    """Tasks that have ended but whose result is not reported yet. It comes one message later."""
    _output: Cut | None = None
    _blobs: list[Blob] = attrs.field(factory=list)

    def translate(self, message: object, now: float) -> Iterator[HubEvent]:
        """Yield the events of one message. A message without meaning for a person gives none."""
        match message:
            case StreamEvent(parent_tool_use_id=None):
                return self._stream(message.event)
            case AssistantMessage(error=None):
                return self._assistant(message, now)
            case UserMessage():
                return self._user(message, now)
            case SystemMessage():
                return self._system(message)
            case ConversationResetMessage():
                told = "The conversation was cleared: the agent remembers nothing from before."
                return iter((Noticed(self.turn_id, "context_cleared", told),))
        return iter(())

    def flush(self) -> Iterator[HubEvent]:
        """Yield the events still due at the turn's end: tasks that ended without a result."""
        for task_id in list(self._task_ends):
            yield from self._end_task(task_id, self._task_ends[task_id], None)

    def note_output(self, output: Cut) -> None:
        """Take the whole output of the tool whose result is translated next."""
        self._output = output

    def take_blobs(self) -> list[Blob]:
        """Return the whole texts that the last event refers to. Keep them before you report the event."""
        blobs, self._blobs = self._blobs, []
        return blobs

    # ---- text ----

    def _stream(self, event: dict[str, Any]) -> Iterator[HubEvent]:
        match event.get("type"):
            case "message_start":
                yield from self._begun_again()
                self._is_streaming, self._retry_told = True, False
                self._message_id = str((event.get("message") or {}).get("id") or "")
                self._message_count += 1
                self._open.clear()
            case "content_block_delta":
                yield from self._delta(int(event.get("index", 0)), event.get("delta") or {})
            case "content_block_stop":
                self._open.pop(int(event.get("index", 0)), None)
            case "message_delta" if (event.get("delta") or {}).get("stop_reason") is not None:
                self._is_streaming = False

    def _begun_again(self) -> Iterator[HubEvent]:
        """Take back the newest message's streamed text that never came whole, if the message was broken off."""
        if self._is_streaming:
            self._is_streaming = False
            self._open.clear()
            left = self._unmatched.pop(self._message_id, ())
            if left and not self._retry_told:
                told = "The model service broke off. Claude Code tries again."
                yield Noticed(self.turn_id, "agent_retry", told, attempt=1)
            for block in left:
                yield BlockDropped(self.turn_id, block.channel, block.block_id)

    def _delta(self, index: int, delta: dict[str, Any]) -> Iterator[HubEvent]:
        known = _DELTAS.get(str(delta.get("type")))
        if known is None:
            return
        channel, field = known
        text = str(delta.get(field) or "")
        block = self._open.get(index)
        if block is None:
            label = self._message_id or f"message-{self._message_count}"
            block = _Block(channel, f"{label}:{index}")
            self._open[index] = block
            self._unmatched.setdefault(self._message_id, []).append(block)
        block.parts.append(text)
        yield from self._pieces(channel, block.block_id, text)

    def _pieces(self, channel: Channel, block_id: str, text: str) -> Iterator[HubEvent]:
        for piece in split_text(clean_text(text)):
            yield TextPiece(self.turn_id, channel, block_id, piece)

    def _whole(self, message: AssistantMessage, channel: Channel, text: str) -> Iterator[HubEvent]:
        if message.parent_tool_use_id is not None:
            task_id = self._tasks.get(message.parent_tool_use_id)
            if task_id is not None and channel == "text" and text:
                yield TaskProgressed(self.turn_id, task_id, cut_text(text).value)
            return
        if (message.message_id or "") != self._message_id:  # a fallback without streaming
            yield from self._begun_again()
        waiting = self._unmatched.get(message.message_id or "", [])
        block = next((block for block in waiting if block.channel == channel), None)
        if block is None:
            self._whole_count += 1
            block_id = f"{message.message_id or message.uuid or 'whole'}:whole-{self._whole_count}"
            yield from self._pieces(channel, block_id, text)
            return
        waiting.remove(block)
        streamed = "".join(block.parts)
        if text.startswith(streamed):
            yield from self._pieces(channel, block.block_id, text[len(streamed) :])

    # ---- tools ----

    def _assistant(self, message: AssistantMessage, now: float) -> Iterator[HubEvent]:
        for block in message.content:
            match block:
                case TextBlock(text) if message.model == _PROGRAM and text == self.compaction_error:
                    pass  # it is not an answer of the agent
                case TextBlock(text):
                    yield from self._whole(message, "text", text)
                case ThinkingBlock(thinking):
                    yield from self._whole(message, "thinking", thinking)
                case ToolUseBlock() | ServerToolUseBlock():
                    yield from self._tool_began(block, message, now)
                case ToolResultBlock() | ServerToolResultBlock():
                    yield self._tool_ended(block, message.parent_tool_use_id, now)

    def _user(self, message: UserMessage, now: float) -> Iterator[HubEvent]:
        if isinstance(message.content, str):
            return
        for block in message.content:
            if isinstance(block, ToolResultBlock):
                ended = self._tool_ended(block, message.parent_tool_use_id, now)
                yield attrs.evolve(ended, diff=told_diff(message.tool_use_result))

    def _tool_began(
        self, block: ToolUseBlock | ServerToolUseBlock, message: AssistantMessage, now: float
    ) -> Iterator[HubEvent]:
        parent, known = message.parent_tool_use_id, self._tools.setdefault(block.id, [])
        call = (message.message_id or "", orjson.dumps(block.input, default=str))
        if any(one.call == call for one in known):
            return
        tool_id = f"{block.id}#{len(known) + 1}" if known else block.id
        known.append(_Tool(tool_id, block.name, now, call))
        if parent is not None:
            self._parents[block.id] = parent
        cut = self._cut(cut_json(block.input))
        yield ToolBegan(self.turn_id, tool_id, block.name, cut.value, parent, cut.blob)

    def _tool_ended(
        self, block: ToolResultBlock | ServerToolResultBlock, parent: str | None, now: float
    ) -> ToolEnded:
        known = self._tools.get(block.tool_use_id, ())
        tool = next((one for one in known if not one.has_ended), known[-1] if known else None)
        if tool is not None:
            tool.has_ended = True
        whole, self._output = self._output, None
        cut = self._cut(whole or cut_text(tool_output_text(block.content)))
        pictures = pictures_of(block.content)
        self._blobs += [one.blob for one in pictures]
        return ToolEnded(
            self.turn_id,
            block.tool_use_id if tool is None else tool.tool_id,
            "" if tool is None else tool.name,
            cut.value,
            isinstance(block, ToolResultBlock) and bool(block.is_error),
            parent,
            None if tool is None else round((now - tool.began_at) * 1000),
            cut.blob,
            pictures=tuple(one.told() for one in pictures),
        )

    def has_begun(self, tool_id: str) -> bool:
        """Return whether `ToolBegan` of this call was yielded."""
        return tool_id in self._tools

    def task_of(self, tool_id: str) -> str | None:
        """Return the open task inside which this call was made. None for the main conversation."""
        return self._tasks.get(self._parents.get(tool_id, ""))

    def _cut(self, cut: Cut) -> Cut:
        if cut.whole is not None:
            self._blobs.append(cut.whole)
        return cut

    # ---- tasks and notices ----

    def _system(self, message: SystemMessage) -> Iterator[HubEvent]:
        match message:
            case TaskStartedMessage():
                yield from self._task_began(message)
            case TaskProgressMessage(task_id=task_id, description=description):
                if task_id in self._tasks.values():
                    yield TaskProgressed(self.turn_id, task_id, cut_text(description).value)
            case TaskUpdatedMessage(task_id=task_id, status=status):
                if status in TASK_ENDS and task_id in self._tasks.values():
                    self._task_ends[task_id] = TASK_ENDS[status]
            case TaskNotificationMessage(task_id=task_id, status=status, summary=summary):
                if task_id in self._tasks.values():
                    yield from self._end_task(task_id, TASK_ENDS.get(status, "failed"), summary)
            case SystemMessage(subtype="api_retry", data=data):
                self._retry_told = True
                yield self._retry(data)
            case SystemMessage(subtype="informational", data=data) if isinstance(data.get("content"), str):
                # What the program reports to the person, such as why a hook refused the prompt.
                yield Noticed(self.turn_id, "agent_says", cut_text(data["content"]).value)
            case SystemMessage(
                subtype="status", data={"compact_result": "failed", "compact_error": str(told)}
            ):
                self.compaction_error = told
                if not self.compacts:
                    yield Noticed(self.turn_id, "compaction_failed", cut_text(told).value)
            case SystemMessage(subtype="compact_boundary"):
                yield Noticed(
                    self.turn_id,
                    "context_compacted",
                    "Claude Code compacted the earlier conversation to make room.",
                )

    def _task_began(self, message: TaskStartedMessage) -> Iterator[HubEvent]:
        if message.task_type not in DELEGATED or message.task_id in self._tasks.values():
            return
        origin = message.tool_use_id or message.task_id
        above = self._parents.get(origin)
        parent = None if above is None else self._tasks.get(above)
        self._tasks[origin] = message.task_id
        agent = message.data.get("subagent_type") or message.task_type or "agent"
        yield TaskBegan(self.turn_id, message.task_id, clean_text(message.description), str(agent), parent)

    def _end_task(
        self, task_id: str, state: Literal["succeeded", "failed", "cancelled"], result: str | None
    ) -> Iterator[HubEvent]:
        self._task_ends.pop(task_id, None)
        self._tasks = {origin: known for origin, known in self._tasks.items() if known != task_id}
        yield TaskEnded(self.turn_id, task_id, state, None if result is None else cut_text(result).value)

    def _retry(self, data: dict[str, Any]) -> HubEvent:
        status, error = data.get("error_status"), data.get("error")
        cause = f"HTTP {status}" if isinstance(status, int) else str(error or "no connection")
        attempt, delay_ms = data.get("attempt"), data.get("retry_delay_ms")
        return Noticed(
            self.turn_id,
            "agent_retry",
            f"The model service answered {cause}. Claude Code tries again.",
            attempt if isinstance(attempt, int) else None,
            delay_ms / 1000 if isinstance(delay_ms, int | float) else None,
        )
