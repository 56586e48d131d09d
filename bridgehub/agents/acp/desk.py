"""The conversations that an agent keeps itself, which began in its own terminal: a list of them, and each one's content.

`open_desk` starts the agent for this purpose, separate from every session of ours. To read a conversation, load it: the
agent then repeats all of it. A session of ours continues a conversation if its `agent_memory` is `memory_of` its id.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from bridgehub.agents.acp.start import Greeting, greet, open_program
from bridgehub.agents.acp.translate import Translator
from bridgehub.agents.errors import CallRefused
from bridgehub.agents.json_rpc.messages import Fields, Notification, ServerRequest
from bridgehub.agents.json_rpc.program import Program
from bridgehub.agents.text import clean_text
from bridgehub.protocol.codec import json_bytes
from bridgehub.protocol.events import Gauged, HubEvent, Noticed, PlanChanged, ToolBegan
from bridgehub.protocol.hub_spec import HubSpec

__all__ = ["AcpDesk", "DeskConversation", "DeskReplay", "DeskTurn", "memory_of", "open_desk"]

MAX_LISTED = 1000
"""Conversations of one list, in the agent's order."""

MAX_PAGES = 50
"""Pages of one list that are requested, because an agent may send empty ones forever."""

MAX_CHARS = 500
"""Code points of a title, an id or a folder's path."""

MAX_TURNS = 2500
"""Newest turns of one conversation that are read: 5,000 messages."""

MAX_TURN_EVENTS = 5000
"""Events of one such turn. The rest of it is left out."""

MAX_SAID = 64 * 1024
"""Code points of what a person said in one turn."""

MAX_SIZE = 16 * 1024 * 1024
"""Code points of all turns together. Older turns are left out."""

_LEFT_OUT = (Gauged, Noticed, PlanChanged)
"""Events that describe the present state and are not part of the conversation."""


@attrs.frozen
class DeskConversation:
    """One entry of the agent's list. `last_activity`: ISO 8601 as the agent writes it, empty if it sends none."""

    native_id: str
    title: str
    workspace: str
    last_activity: str


@attrs.define
class DeskTurn:
    """What a person said and what followed: pieces and tool calls, without an end. `said` may be empty."""

    said: str
    events: list[HubEvent] = attrs.field(factory=list)
    size: int = 0
    """Code points of the events' texts."""


@attrs.frozen
class DeskReplay:
    """A conversation as the agent repeats it. `is_cut`: older turns were left out."""

    turns: tuple[DeskTurn, ...]
    is_cut: bool


def memory_of(native_id: str) -> dict[str, Any]:
    """Return the `agent_memory` of a session of ours that continues a conversation."""
    return {"session_id": native_id}


@attrs.define(eq=False)
class AcpDesk:
    """An agent that runs only for `open_desk`."""

    spec: HubSpec
    program: Program
    greeting: Greeting
    heard: _Replay

    @property
    def can_list(self) -> bool:
        """Whether the agent can list its conversations."""
        return "list" in self.greeting.capabilities.inner("sessionCapabilities").raw

    @property
    def can_read(self) -> bool:
        """Whether the agent can repeat a conversation."""
        return self.greeting.loads

    async def conversations(self, workspace: str | None = None) -> tuple[DeskConversation, ...]:
        """Return the agent's list, of one folder if one is given. Empty if the agent has no list.

        Raises:
            ProgramExited, BadOutput, CallRefused: the agent ended, broke or refused.
            TooSlowError: the agent took too long.
        """
        found: list[DeskConversation] = []
        cursor: str | None = None
        if not self.can_list:
            await trio.lowlevel.checkpoint()
            return ()
        for _ in range(MAX_PAGES):
            told = {"cwd": workspace, "cursor": cursor}
            params = {name: value for name, value in told.items() if value is not None}
            with trio.fail_after(self.spec.start_s):
                page = await self.program.call("session/list", params)
            entries = (_conversation(one) for one in page.objects("sessions"))
            found += [one for one in entries if one is not None and workspace in (None, one.workspace)]
            cursor = page.maybe_text("nextCursor")
            if not cursor or len(found) >= MAX_LISTED:
                break
        return tuple(found[:MAX_LISTED])

    @property
    def can_continue(self) -> bool:
        """Whether a later session can continue a conversation."""
        return self.greeting.loads or self.greeting.resumes

    async def turns(self, conversation: DeskConversation) -> DeskReplay | None:
        """Return what was said in a conversation, the newest `MAX_TURNS`. None if the agent cannot load it.

        Raises:
            ProgramExited, BadOutput: the agent ended or broke.
            TooSlowError: the agent took too long.
        """
        if not self.can_read:
            await trio.lowlevel.checkpoint()
            return None
        native_id = conversation.native_id
        params = {"sessionId": native_id, "cwd": conversation.workspace, "mcpServers": []}
        self.heard.begin(native_id)
        try:
            with trio.fail_after(self.spec.start_s):
                await self.program.call("session/load", params)
        except CallRefused:
            return None
        return self.heard.end()


@asynccontextmanager
async def open_desk(spec: HubSpec, run_id: str) -> AsyncIterator[AcpDesk]:
    """Run the agent of a spec while inside the block. It starts no conversation.

    Args:
        spec: names the agent. Its session is not touched.
        run_id: the value of the variable that marks the agent's processes.

    Raises:
        ProgramError: as `open_program` and `greet`.
    """
    heard = _Replay()
    program = await open_program(spec, run_id, heard.hear)
    try:
        yield AcpDesk(spec, program, await greet(program, spec), heard)
    finally:
        await program.aclose()


@attrs.define(eq=False)
class _Replay:
    """Collects what an agent repeats of a conversation, as turns. A turn begins when a person speaks."""

    _native_id: str | None = None
    _turns: deque[DeskTurn] = attrs.field(factory=deque)
    _translator: Translator | None = None
    _count: int = 0
    _size: int = 0
    _is_cut: bool = False
    _is_said: bool = False
    """Whether the person's next text belongs to the newest turn."""

    def begin(self, native_id: str) -> None:
        """Collect that conversation from now on."""
        self._native_id, self._translator, self._is_said = native_id, None, False
        self._size, self._is_cut = 0, False
        self._turns.clear()

    def end(self) -> DeskReplay:
        """Return what was collected, and stop."""
        self._close()
        self._native_id = None
        return DeskReplay(tuple(self._turns), self._is_cut)

    def hear(self, message: Notification | ServerRequest) -> Mapping[str, Any] | None:
        """Take what the agent sends by itself. Nothing that it asks is granted."""
        told = message.params
        if isinstance(message, Notification) and told.text("sessionId") == self._native_id:
            self._take(told.inner("update"))
        return None

    def _take(self, update: Fields) -> None:
        if update.text("sessionUpdate") == "user_message_chunk":
            text = clean_text(update.inner("content").text("text"))
            if self._is_said:
                self._turns[-1].said = (self._turns[-1].said + text)[:MAX_SAID]
            else:
                self._open(text)
            return
        if not self._turns:
            self._open("")
        assert self._translator is not None
        events = [one for one in self._translator.translate(update, 0.0) if not isinstance(one, _LEFT_OUT)]
        if events:
            self._is_said = False
        for event in events:
            self._keep(event)

    def _keep(self, event: HubEvent) -> None:
        turn = self._turns[-1]
        if len(turn.events) >= MAX_TURN_EVENTS or turn.size > MAX_SIZE // 2:
            return
        size = len(json_bytes(event.input)) if isinstance(event, ToolBegan) else 0
        size += len(getattr(event, "text", "")) + len(getattr(event, "output", ""))
        turn.events.append(event)
        turn.size += size
        self._size += size
        while self._size > MAX_SIZE and len(self._turns) > 1:
            self._size -= self._turns.popleft().size
            self._is_cut = True

    def _open(self, said: str) -> None:
        self._close()
        if len(self._turns) == MAX_TURNS:
            self._size -= self._turns.popleft().size
            self._is_cut = True
        self._count += 1
        self._translator = Translator("", f"desk-{self._count}")
        self._turns.append(DeskTurn(said[:MAX_SAID]))
        self._is_said = True

    def _close(self) -> None:
        if self._translator is not None:
            self._turns[-1].events += self._translator.flush()
        self._translator = None


def _conversation(told: Fields) -> DeskConversation | None:
    native_id, workspace = told.text("sessionId"), told.text("cwd")
    if not 0 < len(native_id) <= MAX_CHARS or len(workspace) > 4096:
        return None
    title = " ".join(clean_text(told.text("title")[:MAX_CHARS]).split())
    return DeskConversation(native_id, title, workspace, told.text("updatedAt")[:MAX_CHARS])
