"""What a delegate's driver reports to: its words become progress and the result, never the session's answer.

Its questions rise to the person under the task's id; its tools are shown as a line of progress; sub-agents and
delegates of its own become tasks below its task.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
import orjson
import trio

from bridgehub.agents.base import Sink
from bridgehub.agents.request_words import RequestWords, plain_words
from bridgehub.protocol.events import (
    BlockDropped,
    HubEvent,
    Noticed,
    TaskBegan,
    TaskEnded,
    TaskProgressed,
    TextPiece,
    ToolBegan,
)
from bridgehub.protocol.messages import Decided, History

if TYPE_CHECKING:
    from bridgehub.trust.finding import Findings

__all__ = ["PROGRESS_TOTAL", "RESULT_CHARS", "Budget", "PracticeRefused", "TaskSink"]

PROGRESS_S = 0.25
"""Least time between two reports of a delegate's words: a person follows, nobody needs each piece."""

PROGRESS_CHARS = 16 * 1024
"""Words that are held back at most, whatever the time."""

PROGRESS_TOTAL = 256 * 1024
"""Characters of progress of one task; the result has the rest."""

RESULT_CHARS = 256 * 1024
"""Characters of a delegate's answer that are kept; an agent takes no more of a tool anyway."""

TOOL_CHARS = 200
"""How much of a tool's input the line of progress shows."""

_MORE = "\n… more follows in the result."


class PracticeRefused(Exception):
    """A message asked the `echo` agent to crash or to break the link, which only a session's own agent may do."""


@attrs.define(eq=False)
class Budget:
    """How many tasks a turn may still begin, those of delegates included.

    `socket`: the hub's own socket, after which those of its delegates are named.
    """

    limit: int
    socket: str
    taken: int = 0


@attrs.define(eq=False)
class TaskSink:
    """The sink of one delegated task (`agents.base.Sink`)."""

    parent: Sink
    turn_id: str
    task_id: str
    agent: str
    budget: Budget
    answer_cut: bool = False
    _answer: list[tuple[str, str]] = attrs.field(factory=list)
    """Pieces, each after the id of its block."""
    _answer_room: int = RESULT_CHARS
    _held: list[str] = attrs.field(factory=list)
    _held_chars: int = 0
    _told: int = 0
    _told_at: float = -math.inf
    _open: dict[str, None] = attrs.field(factory=dict)  # tasks of its own that have not ended

    @property
    def answer(self) -> str:
        """What the delegate has said, up to `RESULT_CHARS`."""
        return "".join(text for _, text in self._answer)

    async def work_saved(self) -> None:
        """Wait with the tools of a delegate as with those of the session's own agent."""
        await self.parent.work_saved()

    async def tell_withdrawn(self) -> None:
        """Report withdrawn requests through the parent: its requests are the person's."""
        await self.parent.tell_withdrawn()

    async def emit(self, event: HubEvent) -> None:
        """Translate an event of the delegate. What only its own turn is about ends here."""
        match event:
            case TextPiece(channel="text"):
                await self._say(event.block, event.text)
            case BlockDropped(channel="text"):
                self._answer_room += sum(len(text) for block, text in self._answer if block == event.block)
                self._answer = [one for one in self._answer if one[0] != event.block]
                await self.flush()
            case ToolBegan():
                await self.flush()
                await self._tell(f"{event.name} {_short(event.input)}")
            case TaskBegan():
                self._open[event.task_id] = None
                parent_id = event.parent_task_id or self.task_id
                await self.parent.emit(attrs.evolve(event, parent_task_id=parent_id, background=False))
            case TaskEnded():
                self._open.pop(event.task_id, None)
                await self.parent.emit(event)
            case TaskProgressed():
                await self.parent.emit(event)
            case Noticed():
                content = f"{self.agent}: {event.content}"
                await self.parent.emit(attrs.evolve(event, turn_id=self.turn_id, content=content))
            case _:
                await trio.lowlevel.checkpoint()

    async def ask(
        self,
        tool: str,
        tool_input: object,
        questions: object = None,
        *,
        grant: str | None = None,
        task_id: str | None = None,
        words: RequestWords | None = None,
    ) -> Decided:
        """Ask the session's person, in the name of the task."""
        await self.flush()
        words = attrs.evolve(words or plain_words(tool, tool_input, questions), modes=())
        return await self.parent.ask(
            tool, tool_input, questions, grant=grant, task_id=task_id or self.task_id, words=words
        )

    async def ask_trust(
        self, agent: str, found: Findings, options: tuple[str, ...], *, task_id: str | None = None
    ) -> Decided:
        """Ask the session's person, in the name of the task."""
        await self.flush()
        return await self.parent.ask_trust(agent, found, options, task_id=task_id or self.task_id)

    async def history(self, limit_bytes: int) -> History:
        """Return nothing: a delegate knows no more than its task and the context that it was given."""
        await trio.lowlevel.checkpoint()
        return History(self.turn_id, ())

    async def remember(self, data: dict[str, Any]) -> None:
        """Forget it: a delegate lives no longer than its task."""
        await trio.lowlevel.checkpoint()

    def new_id(self) -> str:
        """Return an id, unique in this session."""
        return self.parent.new_id()

    async def settle(self) -> None:
        """Refuse to let a delegate take its hub along. Raises PracticeRefused."""
        raise PracticeRefused

    async def corrupt(self, line: bytes) -> None:
        """Refuse to let a delegate break the session's link. Raises PracticeRefused."""
        raise PracticeRefused

    async def flush(self) -> None:
        """Tell the words that are held back."""
        text = "".join(self._held)
        self._held.clear()
        self._held_chars = 0
        await self._tell(text)

    async def close(self) -> None:
        """Tell what is held back and end the delegate's own tasks that are still open."""
        await self.flush()
        for task_id in self._open:
            await self.parent.emit(TaskEnded(self.turn_id, task_id, "cancelled"))
        self._open.clear()

    async def _say(self, block: str, text: str) -> None:
        kept = text[: self._answer_room]
        if kept:
            self._answer.append((block, kept))
            self._answer_room -= len(kept)
        self.answer_cut |= len(kept) < len(text)
        if self._told < PROGRESS_TOTAL:
            self._held.append(text)
            self._held_chars += len(text)
        now = trio.current_time()
        if self._held_chars >= PROGRESS_CHARS or now - self._told_at >= PROGRESS_S:
            await self.flush()
        else:
            await trio.lowlevel.checkpoint()

    async def _tell(self, text: str) -> None:
        if not text or self._told >= PROGRESS_TOTAL:
            await trio.lowlevel.checkpoint()
            return
        room = PROGRESS_TOTAL - self._told
        self._told_at, self._told = trio.current_time(), self._told + len(text)
        for start in range(0, min(len(text), room), PROGRESS_CHARS):
            part = text[start : min(start + PROGRESS_CHARS, room)]
            await self.parent.emit(TaskProgressed(self.turn_id, self.task_id, part))
        if self._told >= PROGRESS_TOTAL:
            await self.parent.emit(TaskProgressed(self.turn_id, self.task_id, _MORE))


def _short(value: object) -> str:
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return ""
    return text if len(text) <= TOOL_CHARS else text[:TOOL_CHARS] + "…"
