"""Turns a journal's events, in order, into questions and answers for a person. Pure.

A turn is yielded once it has ended, so only the open turn and the waiting messages are in memory. A message is yielded
before its answer; a message whose turn never started is yielded alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from builderos.client.wire.frames import Frame

__all__ = ["AnswerItem", "Document", "RequestItem", "TextBlock", "ToolStep"]

_NO_TURN = frozenset({"cancelled", "failed"})
"""Delivery states after which a waiting message gets no turn."""


@attrs.define
class RequestItem:
    """A person's message. `status`: its delivery."""

    frame: Frame
    status: str = "queued"


@attrs.define
class TextBlock:
    """A block of the agent's text."""

    block: str
    content: str = ""


@attrs.define
class ToolStep:
    """A step of the agent: the event that began it, and the one that ended it."""

    frame: Frame
    end: Frame | None = None


@attrs.define
class AnswerItem:
    """A turn's answer. `end` is None while it runs."""

    frame: Frame
    parts: list[TextBlock | ToolStep] = attrs.field(factory=list)
    end: Frame | None = None

    @property
    def status(self) -> str:
        """The status, as lists of messages show it."""
        return "running" if self.end is None else self.end.kind

    @property
    def content(self) -> str:
        """The blocks, joined in the order of their first appearance."""
        return "".join(part.content for part in self.parts if isinstance(part, TextBlock))


@attrs.define(eq=False)
class Document:
    """Takes events, yields questions and answers."""

    _waiting: dict[str, RequestItem] = attrs.field(factory=dict)
    _turn: AnswerItem | None = None
    _open: dict[str, ToolStep] = attrs.field(factory=dict)

    def take(self, frame: Frame) -> Iterator[RequestItem | AnswerItem]:
        """Take the next event; yield the parts that it completes."""
        turn, kind = self._turn, frame.kind
        if kind == "user_message":
            self._waiting[frame.text("message_id")] = RequestItem(frame)
        elif kind == "delivery":
            yield from self._deliver(frame.text("message_id"), frame.text("state"))
        elif kind == "turn_started":
            question = self._waiting.pop(frame.text("message_id"), None)
            if question is not None:
                question.status = "answered"
                yield question
            self._turn, self._open = AnswerItem(frame), {}
        elif turn is not None and frame.turn_id == turn.frame.turn_id:
            if frame.ends_turn:
                turn.end, self._turn = frame, None
                yield turn
            else:
                self._go_on(turn, frame)

    def rest(self) -> Iterator[RequestItem | AnswerItem]:
        """Yield the unfinished parts."""
        if self._turn is not None:
            yield self._turn
        yield from self._waiting.values()

    def _deliver(self, message_id: str, state: str) -> Iterator[RequestItem]:
        question = self._waiting.get(message_id)
        if question is not None:
            question.status = state
            if state in _NO_TURN:
                yield self._waiting.pop(message_id)

    def _go_on(self, turn: AnswerItem, frame: Frame) -> None:
        if frame.kind == "message":
            self._add_text(turn, frame)
        elif frame.kind in {"tool_started", "permission_requested", "task_started", "notice"}:
            step = ToolStep(frame)
            turn.parts.append(step)
            self._open[_key(frame.body)] = step
        elif frame.kind in {"tool_finished", "permission_resolved", "task_finished"}:
            step_ended = self._open.pop(_key(frame.body), None)
            if step_ended is not None:
                step_ended.end = frame

    def _add_text(self, turn: AnswerItem, frame: Frame) -> None:
        block, offset = frame.text("block"), frame.number("offset")
        for part in turn.parts:
            if isinstance(part, TextBlock) and part.block == block:
                part.content = part.content[:offset] + frame.content
                return
        turn.parts.append(TextBlock(block, frame.content))


def _key(body: Any) -> str:
    """Return the key that the two events of one step share."""
    return next((f"{name} {body[name]}" for name in ("tool_id", "request_id", "task_id") if name in body), "")
