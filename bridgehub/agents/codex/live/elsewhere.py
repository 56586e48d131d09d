"""What other clients do on the program that a session's thread runs on: a terminal that joined it. No I/O.

A turn that a terminal begins comes between two turns of ours. It is kept here from its first message on, until the hub
makes it a turn of the session. What it asks meanwhile is asked in our turn, which may wait long for its agents.
"""

from __future__ import annotations

from collections import deque

import attrs
import trio

from bridgehub.agents.base import BeganAtDesk
from bridgehub.agents.codex.translate.items import CodexToolCall, tool_of
from bridgehub.agents.json_rpc.messages import Fields, Message, Notification, Reply, ServerRequest
from bridgehub.agents.text import clean_text
from bridgehub.desk.records import DESK

__all__ = ["Elsewhere", "said_by_others", "said_in"]

MAX_KEPT = 10_000
"""Messages that are kept between two turns. They come within a moment before somebody listens."""

MAX_FOREIGN = 1000
"""Threads of others that are remembered."""

MAX_SAID = 64 * 1024
"""Characters of a message that are kept. A longer one is cut."""


def said_in(item: Fields) -> str:
    """Return the text of a person's message."""
    parts = (
        part.text("text") if part.text("type") == "text" else "[image]" for part in item.objects("content")
    )
    return clean_text("\n".join(part for part in parts if part))[:MAX_SAID]


def said_by_others(item: Fields) -> bool:
    """Return whether another client sent a person's message. The IDs that we give have a slash."""
    client_id = item.text("clientId")
    return bool(client_id) and "/" not in client_id


@attrs.define(eq=False)
class Elsewhere:
    """What comes between two turns of one thread.

    Attributes:
        kept: the messages of a turn that has begun, oldest first.
        is_lost: whether more came than is kept. The program must be restarted.
        title: the newest title that somebody gave the thread; empty: none.
        settings: what the thread works with, as Codex said last; None: it said nothing new.
        was_heard: whether another client did anything since this was last cleared.
        own_title: the title that we gave the thread last, until another one is heard of.
    """

    thread_id: str
    kept: deque[Message] = attrs.field(factory=deque)
    is_lost: bool = False
    title: str = ""
    settings: Fields | None = None
    was_heard: bool = False
    own_title: str = ""
    _foreign: dict[str, None] = attrs.field(factory=dict)
    _news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    def is_foreign(self, told: Notification | ServerRequest) -> bool:
        """Note which threads belong to others. Return whether a message is about such a one."""
        params = told.params
        if told.method == "thread/started":
            thread = params.inner("thread")
            is_child = thread.maybe_text("parentThreadId") or thread.maybe_text("forkedFromId")
            if thread.text("id") != self.thread_id and (thread.flag("ephemeral") or not is_child):
                self._foreign[thread.text("id")] = None
                if len(self._foreign) > MAX_FOREIGN:
                    del self._foreign[next(iter(self._foreign))]
            return True
        return params.text("threadId") in self._foreign

    def note_title(self, told: Notification) -> bool:
        """Take a title that somebody gave the thread. Return whether it was that."""
        if told.method != "thread/name/updated" or told.params.text("threadId") != self.thread_id:
            return False
        title = clean_text(told.params.text("threadName"))
        if title != self.own_title:  # or it is the echo of ours, which may come after a newer one
            self.title, self.own_title = title, ""
            self._news.unpark_all()
        return True

    def note_settings(self, told: Notification) -> bool:
        """Take what the thread works with now. Return whether it was that."""
        if told.method != "thread/settings/updated" or told.params.text("threadId") != self.thread_id:
            return False
        self.settings = told.params.inner("threadSettings")
        self._news.unpark_all()
        return True

    def keep(self, told: Notification | ServerRequest) -> bool:
        """Keep a message of a turn that another client began. Return whether it was kept."""
        if self.is_foreign(told):
            return False
        is_ours = told.params.text("threadId") == self.thread_id
        if is_ours and told.method != "thread/tokenUsage/updated":
            self.was_heard = True
            self._news.unpark_all()
        if isinstance(told, Notification) and (self.note_title(told) or self.note_settings(told)):
            return False
        if not self.kept and not (is_ours and told.method == "turn/started"):
            return False
        if len(self.kept) >= MAX_KEPT:
            self.is_lost = True
            return False
        self.kept.append(told)
        self._news.unpark_all()
        return True

    def take(self) -> tuple[Message, ...]:
        """Return what was kept, and forget it."""
        kept, self.kept = tuple(self.kept), deque()
        return kept

    def holds(self, request: ServerRequest) -> bool:
        """Return whether a question was kept: it is of a turn that waits for ours to end."""
        return any(one is request for one in self.kept)

    def drop(self, request_id: object) -> None:
        """Forget a question that was kept and is answered."""
        is_it = [isinstance(one, ServerRequest) and one.request_id == request_id for one in self.kept]
        if True in is_it:
            del self.kept[is_it.index(True)]

    def tools(self) -> tuple[CodexToolCall, ...]:
        """Return the tool calls that began in what was kept, oldest first."""
        began = (
            one.params.inner("item")
            for one in self.kept
            if isinstance(one, Notification) and one.method == "item/started"
        )
        return tuple(tool for item in began if (tool := tool_of(item)) is not None)

    async def wait(self) -> None:
        """Wait until something comes. Look first, without a wait between."""
        await self._news.park()

    def begun(self) -> BeganAtDesk | None:
        """Return the turn that has begun, once it is known what it began with."""
        turn_id, first = "", None
        for message in self.kept:
            if isinstance(message, Reply):
                continue
            if message.method == "turn/started":
                turn_id, first = message.params.inner("turn").text("id"), None
            elif message.method == "item/started" and first is None:
                first = message.params.inner("item")
            elif message.method == "turn/completed" and turn_id:
                first = first or Fields()
                break  # what follows is another turn, which is in the record
        if not turn_id or first is None:
            return None
        said = said_in(first) if first.text("type") == "userMessage" else None
        return BeganAtDesk(f"{DESK}-{turn_id}", said)
