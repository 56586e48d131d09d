"""Translates the updates of one turn of an agent, and its end, into hub events. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import attrs

from bridgehub.agents.acp.start import AUTH_REQUIRED, Greeting, sign_in_words
from bridgehub.agents.acp.tools import ToolCall, clean_id, content_text
from bridgehub.agents.base import TurnEnd
from bridgehub.agents.json_rpc.messages import Fields, Message, Notification, Reply
from bridgehub.agents.pictures import pictures_of
from bridgehub.agents.text import MAX_TOOL_BYTES, Cut, clean_text, cut_json, cut_text, split_text
from bridgehub.blobs import Blob
from bridgehub.protocol.events import (
    Gauged,
    HubEvent,
    Noticed,
    PlanChanged,
    TextPiece,
    ToolBegan,
    ToolEnded,
    ToolsPrinted,
    TurnDone,
    TurnFailed,
)
from bridgehub.protocol.hub_spec import HubSpec

__all__ = ["Translator", "joined", "turn_end"]

Channel = Literal["text", "thinking"]

_CHANNELS: dict[str, Channel] = {"agent_message_chunk": "text", "agent_thought_chunk": "thinking"}

MAX_OPEN = 200
"""Tool calls that run at the same time. One more is not shown."""

MAX_ENDED = 10_000
"""Newest ended tool calls that are remembered, so that later updates of them are ignored."""

MAX_PLAN = 100

_CUT_OFF = "It was cut off with the turn."

_FINAL_CODES = frozenset({-32600, -32601, -32602})
"""Errors that the next try would meet again."""

_CUT_SHORT = {
    "max_tokens": "The answer reached the limit of its length and stops here.",
    "max_turn_requests": "The agent reached its limit of steps for one turn and stops here.",
}


@attrs.define(eq=False)
class Translator:
    """Translates the updates of one turn, in order. `now` is a monotonic clock in seconds.

    Attributes:
        prefix: the beginning of our names of blocks. Unique to the turn.
        terminal_text: returns the output of one of our terminals.
    """

    turn_id: str
    prefix: str
    terminal_text: Callable[[str], str] = lambda terminal_id: ""
    _tools: dict[str, ToolCall] = attrs.field(factory=dict)
    _ended: dict[str, None] = attrs.field(factory=dict)
    _block: tuple[str, str] = ("", "")
    _blocks: int = 0
    _edits: dict[str, ToolCall] = attrs.field(factory=dict)
    _wholes: dict[str, Blob] = attrs.field(factory=dict)

    def take_wholes(self, event: HubEvent) -> list[Blob]:
        """Return, once, the whole data behind an event just yielded that carries only its beginning, and its pictures."""
        if not isinstance(event, ToolBegan | ToolEnded):
            return []
        told = [*([event.blob] if event.blob is not None else []), *getattr(event, "pictures", ())]
        found = (self._wholes.pop(one["sha256"], None) for one in told)
        return [one for one in found if one is not None]

    def take_edit(self, event: HubEvent) -> ToolCall | None:
        """Return, once, the call that ended with an event just yielded, if it reports its changes."""
        return self._edits.pop(event.tool_id, None) if isinstance(event, ToolEnded) else None

    def tool(self, tool_id: str) -> ToolCall | None:
        """Return a tool call that has not ended."""
        return self._tools.get(clean_id(tool_id))

    def translate(self, update: Fields, now: float) -> Iterator[HubEvent]:
        """Yield the events of one update. An unknown update gives none."""
        kind = update.text("sessionUpdate")
        match kind:
            case "agent_message_chunk" | "agent_thought_chunk":
                text = content_text(update.inner("content"))
                yield from self._text(_CHANNELS[kind], update.text("messageId"), text)
            case "tool_call" | "tool_call_update":
                yield from self.note_tool(update, now)
            case "plan":
                yield PlanChanged(self.turn_id, _entries(update))
            case "plan_update":
                yield PlanChanged(self.turn_id, _entries(update.inner("plan")))
            case "plan_removed":
                yield PlanChanged(self.turn_id, ())
            case "usage_update":
                gauge = _gauge(update)
                if gauge:
                    yield Gauged(self.turn_id, gauge)

    def note_tool(self, told: Fields, now: float, *, begin: bool = False) -> Iterator[HubEvent]:
        """Take an update of a tool call. `begin`: the call waits for a person, so it is shown in its present state."""
        tool_id = clean_id(told.text("toolCallId"))
        if not tool_id or tool_id in self._ended:
            return
        tool = self._tools.get(tool_id)
        if tool is None:
            if len(self._tools) >= MAX_OPEN:
                return
            tool = self._tools[tool_id] = ToolCall(tool_id, since=now)
        tool.take(told)
        self._block = ("", "")
        if (begin or tool.is_ready) and not tool.is_begun:
            yield self._began(tool)
        if tool.is_over:
            yield self._over(tool, now)
        else:
            tool.trim()

    def allowed(self, tool_id: str, now: float) -> None:
        """Measure a tool call's time from now on. Until now it waited for a person."""
        tool = self.tool(tool_id)
        if tool is not None:
            tool.since = now

    def printed(self, recent: Callable[[str], tuple[int, str]]) -> ToolsPrinted:
        """Return what the running calls have printed so far. See `ToolCall.printed`."""
        running = (tool.printed(recent) for tool in self._tools.values() if tool.is_begun)
        return ToolsPrinted(self.turn_id, tuple(one for one in running if one is not None))

    def flush(self) -> Iterator[HubEvent]:
        """End the tool calls that are open at the turn's end. Each keeps what it has printed."""
        while self._tools:
            tool = self._tools.pop(next(iter(self._tools)))
            if not tool.is_begun:
                yield self._began(tool)
            cut = self._kept(cut_text(tool.output(self.terminal_text), MAX_TOOL_BYTES - len(_CUT_OFF) - 1))
            told = f"{cut.value}\n{_CUT_OFF}" if cut.value else _CUT_OFF
            yield ToolEnded(self.turn_id, tool.tool_id, tool.name, told, is_error=True, blob=cut.blob)

    def _text(self, channel: Channel, message_id: str, text: str) -> Iterator[HubEvent]:
        if self._block != (channel, message_id) or not self._blocks:
            self._block = (channel, message_id)
            self._blocks += 1
        for piece in split_text(clean_text(text)):
            yield TextPiece(self.turn_id, channel, f"{self.prefix}-{self._blocks}", piece)

    def _began(self, tool: ToolCall) -> HubEvent:
        tool.is_begun = True
        cut = self._kept(cut_json(tool.shown_input()))
        return ToolBegan(self.turn_id, tool.tool_id, tool.name, cut.value, blob=cut.blob)

    def _over(self, tool: ToolCall, now: float) -> HubEvent:
        del self._tools[tool.tool_id]
        if tool.changes and tool.status != "failed":
            self._edits[tool.tool_id] = tool
        self._ended[tool.tool_id] = None
        if len(self._ended) > MAX_ENDED:
            del self._ended[next(iter(self._ended))]
        cut = self._kept(cut_text(tool.output(self.terminal_text)))
        pictures = pictures_of(tool.shown_parts())
        self._wholes |= {one.blob.sha256: one.blob for one in pictures}
        return ToolEnded(
            self.turn_id,
            tool.tool_id,
            tool.name,
            cut.value,
            tool.status == "failed",
            duration_ms=max(0, round((now - tool.since) * 1000)),
            blob=cut.blob,
            pictures=tuple(one.told() for one in pictures),
        )

    def _kept(self, cut: Cut) -> Cut:
        if cut.whole is not None:
            self._wholes[cut.whole.sha256] = cut.whole
        return cut


def joined(messages: tuple[Message, ...]) -> Iterator[Message]:
    """Yield the messages in order, with neighbouring pieces of one answer joined."""
    texts: list[str] = []
    last: Notification | None = None
    key: Any = None
    for message in messages:
        found = _piece_key(message)
        if last is not None and found != key:
            yield _with_text(last, texts)
            last, texts = None, []
        if found is None or not isinstance(message, Notification):
            yield message
            continue
        last, key = message, found
        texts.append(message.params.inner("update").inner("content").text("text"))
    if last is not None:
        yield _with_text(last, texts)


def _piece_key(message: Message) -> Any:
    if not isinstance(message, Notification) or message.method != "session/update":
        return None
    update = message.params.inner("update")
    if update.text("sessionUpdate") not in _CHANNELS or update.inner("content").text("type") != "text":
        return None
    return message.params.text("sessionId"), update.text("sessionUpdate"), update.text("messageId")


def _with_text(last: Notification, texts: list[str]) -> Notification:
    if len(texts) == 1:
        return last
    update = {**last.params.inner("update").raw, "content": {"type": "text", "text": "".join(texts)}}
    return Notification(last.method, Fields({**last.params.raw, "update": update}))


def _entries(told: Fields) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"content": clean_text(one.text("content")), "status": one.text("status") or "pending"}
        for one in told.objects("entries")[:MAX_PLAN]
    )


def _gauge(update: Fields) -> dict[str, Any]:
    used, size, cost = update.count("used"), update.count("size"), update.inner("cost")
    gauge: dict[str, Any] = {}
    if used is not None and size is not None:
        gauge["context"] = {"used": used, "window": size}
    amount = cost.value("amount")
    if (
        isinstance(amount, int | float)
        and not isinstance(amount, bool)
        and cost.text("currency") in ("", "USD")
    ):
        gauge["cost_usd"] = amount
    return gauge


def turn_end(
    turn_id: str, reply: Reply, spec: HubSpec, greeting: Greeting, *, stopped: bool
) -> tuple[TurnEnd, Noticed | None]:
    """Return a turn's end from the answer to its prompt, with a notice if one belongs before it.

    Args:
        reply: the answer to `session/prompt`.
        stopped: whether it was interrupted.
    """
    if reply.error is not None and not stopped:
        return _failed(turn_id, reply, spec, greeting), None
    reason = reply.result.text("stopReason")
    if reason == "refusal" and not stopped:
        content = f"{spec.agent} refused to continue this conversation."
        return TurnFailed(turn_id, "model_error", content, retryable=False), None
    if reason == "cancelled" and not stopped:
        return TurnFailed(turn_id, "model_error", f"{spec.agent} stopped by itself.", retryable=True), None
    cut_short = _CUT_SHORT.get(reason)
    notice = None if cut_short is None else Noticed(turn_id, "answer_cut", cut_short)
    return _done(turn_id, reply.result.inner("usage")), notice


def _failed(turn_id: str, reply: Reply, spec: HubSpec, greeting: Greeting) -> TurnFailed:
    if reply.code == AUTH_REQUIRED:
        return TurnFailed(turn_id, "not_signed_in", sign_in_words(spec, greeting.methods), retryable=False)
    content = cut_text(f"{spec.agent} failed: {reply.error}", 4096).value
    return TurnFailed(turn_id, "model_error", content, retryable=reply.code not in _FINAL_CODES)


def _done(turn_id: str, usage: Fields) -> TurnDone:
    given, said = usage.count("inputTokens"), usage.count("outputTokens")
    if given is None and said is None:
        return TurnDone(turn_id)
    return TurnDone(turn_id, given, said, usage.count("cachedReadTokens"))
