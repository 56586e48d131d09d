"""Translates the notifications of one turn of Codex into hub events. No I/O.

A turn is a sequence of items. Text and reasoning come as deltas and then again, whole, with `item/completed`. Only the
part that was not streamed is reported then. An item that does something is a tool call.

If the service breaks off, Codex asks it again and reports new items. What was streamed of the old items never becomes
whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import attrs
import orjson

from bridgehub.agents.codex.translate.items import (
    CodexToolCall,
    changes_of,
    diff_of,
    shown_parts,
    tool_of,
    tool_outcome,
)
from bridgehub.agents.json_rpc.messages import Fields, Notification
from bridgehub.agents.pictures import pictures_of
from bridgehub.agents.text import Cut, clean_text, cut_json, cut_text, split_text
from bridgehub.protocol.events import BlockDropped, HubEvent, Noticed, TextPiece, ToolBegan, ToolEnded

__all__ = ["CodexTranslator", "http_status"]

Channel = Literal["text", "thinking"]

_RUNS_ON = "It continues in the background."
_CUT_OFF = "It was cut off with the turn."


@attrs.define(eq=False)
class _Open:
    """A running tool call. `since` is the monotonic second at which it began, or was allowed to begin."""

    tool: CodexToolCall
    since: float


@attrs.define(eq=False)
class _Block:
    """A block of text as it was streamed. `is_broken_off`: the service failed before it was whole."""

    channel: Channel
    parts: list[str] = attrs.field(factory=list)
    is_broken_off: bool = False


@attrs.define(eq=False)
class CodexTranslator:
    """Translates the notifications of one turn, in order. `now` is a monotonic clock in seconds."""

    turn_id: str
    _open: dict[str, _Open] = attrs.field(factory=dict)
    _streamed: dict[str, _Block] = attrs.field(factory=dict)
    _retries: int = 0
    _wholes: dict[str, bytes] = attrs.field(factory=dict)
    _ended: set[str] = attrs.field(factory=set)

    def take_wholes(self, event: HubEvent) -> list[bytes]:
        """Return, once, the whole text behind an event just yielded that carries only its beginning, and its pictures."""
        if not isinstance(event, ToolBegan | ToolEnded):
            return []
        told = [*([event.blob] if event.blob is not None else []), *getattr(event, "pictures", ())]
        found = (self._wholes.pop(one["sha256"], None) for one in told)
        return [one for one in found if one is not None]

    @property
    def open_items(self) -> frozenset[str]:
        """Ids of the tool calls that have not ended."""
        return frozenset(self._open)

    @property
    def retried(self) -> bool:
        """Whether the model service failed since the agent last made progress."""
        return self._retries > 0

    @property
    def ended_items(self) -> frozenset[str]:
        """Ids of the tool calls that have ended by themselves."""
        return frozenset(self._ended)

    @property
    def starts_agent(self) -> bool:
        """Whether an agent is being started of which nothing is known yet."""
        return any(running.tool.name == "agent_spawnAgent" for running in self._open.values())

    def tool(self, item_id: str) -> CodexToolCall | None:
        """Return the running tool call of that id."""
        running = self._open.get(item_id)
        return None if running is None else running.tool

    def running_tools(self) -> tuple[CodexToolCall, ...]:
        """Return all running tool calls, oldest first."""
        return tuple(running.tool for running in self._open.values())

    def allowed(self, item_id: str, now: float) -> None:
        """Measure a tool call's time from now on. Until now it waited for a person."""
        if item_id in self._open:
            self._open[item_id].since = now

    def translate(self, told: Notification, now: float) -> Iterator[HubEvent]:
        """Yield the events of one notification. Most have no meaning for a person and give none."""
        params = told.params
        match told.method:
            case "item/agentMessage/delta":
                yield from self._delta("text", params.text("itemId"), params.text("delta"))
            case "item/reasoning/summaryTextDelta":
                block = f"{params.text('itemId')}:{params.count('summaryIndex') or 0}"
                yield from self._delta("thinking", block, params.text("delta"))
            case "item/reasoning/textDelta":
                block = f"{params.text('itemId')}:raw-{params.count('contentIndex') or 0}"
                yield from self._delta("thinking", block, params.text("delta"))
            case "item/started":
                yield from self._began(params.inner("item"), now)
            case "item/completed":
                yield from self._completed(params.inner("item"), now)
            case "error":
                yield from self._error(params)
            case "model/rerouted":
                told_model = f"Codex continues with the model {params.text('toModel')}."
                yield Noticed(self.turn_id, "model_changed", clean_text(told_model))

    def flush(self, *, stopped: bool) -> Iterator[HubEvent]:
        """End the tool calls that are open at the turn's end: background commands, or calls that were cut off."""
        for item_id, running in self._open.items():
            told = _CUT_OFF if stopped else _RUNS_ON
            yield ToolEnded(self.turn_id, item_id, running.tool.name, told, is_error=stopped)
        self._open.clear()

    # ---- text ----

    def _delta(self, channel: Channel, block: str, text: str) -> Iterator[HubEvent]:
        self._retries = 0
        known = self._streamed.setdefault(block, _Block(channel))
        known.is_broken_off = False
        yield from self._begun_again()
        known.parts.append(text)
        yield from self._pieces(channel, block, text)

    def _begun_again(self) -> Iterator[HubEvent]:
        """Take back what was broken off, because the agent has moved on to something else."""
        for block in [name for name, one in self._streamed.items() if one.is_broken_off]:
            yield BlockDropped(self.turn_id, self._streamed.pop(block).channel, block)

    def _whole(self, channel: Channel, block: str, text: str) -> Iterator[HubEvent]:
        known = self._streamed.pop(block, None)
        yield from self._begun_again()
        streamed = "" if known is None else "".join(known.parts)
        if text.startswith(streamed):
            yield from self._pieces(channel, block, text[len(streamed) :])

    def _pieces(self, channel: Channel, block: str, text: str) -> Iterator[HubEvent]:
        for piece in split_text(clean_text(text)):
            yield TextPiece(self.turn_id, channel, block, piece)

    # ---- items ----

    def _began(self, item: Fields, now: float) -> Iterator[HubEvent]:
        tool = tool_of(item)
        if tool is None or tool.is_late or tool.item_id in self._open:
            return
        self._retries = 0
        yield from self._begun_again()
        self._open[tool.item_id] = _Open(tool, now)
        yield self._tool_began(tool)

    def _completed(self, item: Fields, now: float) -> Iterator[HubEvent]:
        item_id = item.text("id")
        match item.text("type"):
            case "agentMessage":
                yield from self._whole("text", item_id, item.text("text"))
            case "plan":
                yield from self._whole("text", item_id, item.text("text"))
            case "reasoning":
                for index, part in enumerate(item.each("summary")):
                    yield from self._whole("thinking", f"{item_id}:{index}", str(part))
                for index, part in enumerate(item.each("content")):
                    yield from self._whole("thinking", f"{item_id}:raw-{index}", str(part))
                for block in [one for one in self._streamed if one.startswith(f"{item_id}:")]:
                    del self._streamed[block]  # streamed, but not part of the whole text
            case "contextCompaction":
                told = "Codex compacted the earlier conversation to make room."
                yield Noticed(self.turn_id, "context_compacted", told)
            case _:
                yield from self._tool_completed(item, now)

    def _tool_completed(self, item: Fields, now: float) -> Iterator[HubEvent]:
        tool = tool_of(item)
        if tool is None:
            return
        running = self._open.pop(tool.item_id, None)
        self._ended.add(tool.item_id)
        if running is None:
            yield self._tool_began(tool)
            running = _Open(tool, now)
        output, is_error = tool_outcome(item)
        cut = self._kept(cut_text(output), clean_text(output).encode())
        pictures = pictures_of(shown_parts(item))
        self._wholes |= {one.blob.sha256: one.blob.data for one in pictures}
        measured = round((now - running.since) * 1000)
        duration_ms = max(measured, item.count("durationMs") or 0)  # Codex measures up to 100 ms less
        yield ToolEnded(
            self.turn_id,
            tool.item_id,
            running.tool.name,
            cut.value,
            is_error,
            duration_ms=duration_ms,
            blob=cut.blob,
            diff=None if is_error else diff_of(changes_of(item)),
            pictures=tuple(one.told() for one in pictures),
        )

    def _tool_began(self, tool: CodexToolCall) -> HubEvent:
        whole = _clean(tool.input)
        cut = cut_json(whole)
        if cut.blob is not None:
            cut = self._kept(cut, orjson.dumps(whole))
        return ToolBegan(self.turn_id, tool.item_id, tool.name, cut.value, blob=cut.blob)

    def _kept(self, cut: Cut, whole: bytes) -> Cut:
        if cut.blob is not None:
            self._wholes[cut.blob["sha256"]] = whole
        return cut

    # ---- errors ----

    def _error(self, params: Fields) -> Iterator[HubEvent]:
        if not params.flag("willRetry"):
            return
        self._retries += 1
        for block in self._streamed.values():
            block.is_broken_off = True
        status = http_status(params.inner("error"))
        cause = f"answered HTTP {status}" if status is not None else "failed"
        content = f"The model service {cause}. Codex tries again."
        yield Noticed(self.turn_id, "agent_retry", content, attempt=self._retries)


def http_status(error: Fields) -> int | None:
    """Return the HTTP status that an error of a turn names."""
    info = error.value("codexErrorInfo")
    if not isinstance(info, dict):
        return None
    for detail in info.values():
        status = Fields(detail).count("httpStatusCode") if isinstance(detail, dict) else None
        if status is not None:
            return status
    return None


def _clean(value: Any) -> Any:
    """Return JSON data with every string clean."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [_clean(part) for part in value]
    if isinstance(value, dict):
        return {clean_text(str(name)): _clean(part) for name, part in value.items()}
    return value
