"""The list of the desk, beside our own sessions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import attrs
import orjson
import trio

from actors.commands import Author, Envelope, GiveBack, Organize
from actors.desk.joining import POLL_S, Joining, shown_where
from actors.desk.opening import Opening, desk_session_id
from actors.errors import ActorError, SessionBusy
from actors.replies import Closed, Reply
from actors.supervisor import Supervisor
from bridgehub.desk.programs import Desk, Listed
from bridgehub.desk.records import DESK, NoSuchSession
from storage.errors import SessionMissing
from storage.records import SessionRecord

__all__ = ["DeskList", "GivenBack"]

PAGE = 500

PLACES = ("CLAUDE_CONFIG_DIR", "CODEX_HOME")
"""Variables that say where a program keeps its records."""

GONE_S = 15.0
"""How long a hub may take to end before its session is given to a terminal."""


@attrs.frozen
class GivenBack:
    """What a terminal needs to continue a conversation.

    Attributes:
        env: where the program keeps its records.
        socket: where it can join the hub's program; empty: it continues alone.
    """

    kind: str
    native_id: str
    workspace: str
    program: str
    env: dict[str, str]
    socket: str = ""


@attrs.define(eq=False)
class DeskList:
    """Lists sessions of the desk, and opens them."""

    desk: Desk
    supervisor: Supervisor
    _known: dict[str, tuple[int, str, str]] = attrs.field(factory=dict)

    async def listed(self, agent: str | None, workspace: str | None, query: str | None) -> Listed:
        """Return what matches, newest first. `query`: letters that title or first message have."""
        found = await self.desk.listed(agent)
        return await trio.to_thread.run_sync(partial(_matching, found, workspace, query))

    async def open(self, agent: str, native_id: str, device_id: str) -> tuple[str, bool]:
        """Return the session of a conversation, and whether it was made now. Raises NoSuchSession, StorageError."""
        known = (await self.ours([(agent, native_id)])).get((agent, native_id))
        if known is not None:
            return known, False
        deps = self.supervisor.deps
        opening = Opening(self.desk, deps.journal, deps.ownership, deps.catalog, deps.clock, deps.new_id)
        session_id, is_new = await opening.open(agent, native_id, device_id)
        if is_new:
            self.supervisor.note_change(session_id)
        return session_id, is_new

    async def ours(self, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Return which of these conversations are sessions here, and which."""
        await self._learn()
        known = {(agent, native_id): name for name, (_, agent, native_id) in self._known.items()}
        found: dict[tuple[str, str], str] = {}
        for one in wanted:
            name = known.get(one, "")
            if name and await self.supervisor.deps.catalog.get(name) is None:
                del self._known[name]
            elif name:
                found[one] = name
        return found

    async def _learn(self) -> None:
        """Look at the sessions that were used since the last time. Those before them are as they were."""
        before: tuple[int, str] | None = None
        while page := await self.supervisor.deps.catalog.page(PAGE, before):
            fresh = [one for one in page if self._known.get(one.session_id, (0,))[0] != one.last_activity_ms]
            here = [one for one in fresh if self._is_here(one)]
            natives = await trio.to_thread.run_sync(self._natives, here)
            for record, native_id in zip(here, natives, strict=True):
                self._known[record.session_id] = (record.last_activity_ms, record.agent_type, native_id)
            before = (page[-1].last_activity_ms, page[-1].session_id)
            others = sum(not self._is_here(one) for one in page)
            if len(page) < PAGE or len(page) - others > len(here):
                return

    def _is_here(self, record: SessionRecord) -> bool:
        """Return whether a session's program may keep its records on this computer."""
        return record.owner == self.supervisor.deps.catalog.owner and self.desk.lists(record.agent_type)

    async def session_of_terminal(self, native_id: str) -> str:
        """Return the session of a conversation of Claude Code, opened if it was not. Raises as `open`."""
        agent = await self.desk.claude_with(native_id)
        return (await self.open(agent, native_id, DESK))[0]

    async def look_again(self) -> None:
        """Start the actors of sessions that were open in a terminal when the last server ended: they look."""
        catalog, before = self.supervisor.deps.catalog, None
        while page := await catalog.page(PAGE, before):
            for record in page:
                if shown_where(record) is not None and record.owner == catalog.owner:
                    author = Author("", DESK, DESK)
                    with suppress(ActorError, SessionMissing):
                        await self.supervisor.submit(record.session_id, Envelope(Organize(), author, _ignore))
            before = (page[-1].last_activity_ms, page[-1].session_id)
            if len(page) < PAGE:
                return

    async def give_back(self, session_id: str, author: Author, *, joins: bool = False) -> GivenBack:
        """End a session's hub, and return what a terminal needs to continue its conversation.

        If `joins`, a hub whose program a terminal can share stays, or is started.

        Raises:
            SessionMissing, SessionBusy, ActorError, StorageError: it stays here.
            NoSuchSession: its agent has no program for a terminal, or no conversation yet.
        """
        record = await self.supervisor.deps.catalog.get(session_id)
        if record is None:
            raise SessionMissing(session_id)
        if not self.desk.has(record.agent_type):
            raise NoSuchSession(session_id)
        spec = self.supervisor.deps.spec_for(record, "")
        socket = await self._shared(record, author) if joins and spec.kind == "codex" else ""
        if not socket:
            record = await self._end_hub(session_id, author)
        native_id = await trio.to_thread.run_sync(self._native, record)
        if spec.kind == "codex" and native_id == spec.agent_session_id:
            raise NoSuchSession(session_id)
        env = {name: value for name, value in spec.env.items() if name in PLACES}
        program = spec.options.get("cli_path")
        return GivenBack(spec.kind, native_id, spec.workspace, str(program or ""), env, socket)

    async def _shared(self, record: SessionRecord, author: Author) -> str:
        """Return where a terminal can join a session's program, which is started if need be; empty if it cannot.

        Raises:
            SessionMissing, ActorError, StorageError: nothing was done.
        """
        deps, session_id = self.supervisor.deps, record.session_id
        native_id = await trio.to_thread.run_sync(self._native, record)
        if native_id == deps.spec_for(record, "").agent_session_id or shown_where(record) is not None:
            return ""
        return await Joining(self.supervisor, session_id, author).wait()

    async def _end_hub(self, session_id: str, author: Author) -> SessionRecord:
        """End a session's hub and wait until its program is gone; return the session.

        Raises:
            SessionMissing, ActorError: nothing was ended.
            SessionBusy: a turn runs, or the hub does not end.
        """
        catalog = self.supervisor.deps.catalog
        answered, replies = trio.Event(), list[Reply]()

        def reply(answer: Reply) -> None:
            replies.append(answer)
            answered.set()

        record = await catalog.get(session_id)
        hub_id = None if record is None or record.summary is None else record.summary.hub_id
        with trio.move_on_after(GONE_S):
            await self.supervisor.submit(session_id, Envelope(GiveBack(), author, reply))
            await answered.wait()
            while hub_id is not None:
                found = await self.supervisor.deps.hubs.find(hub_id)
                if found is None or not found.alive:
                    break
                await trio.sleep(POLL_S)
            record = await catalog.get(session_id)
            if record is not None and any(isinstance(one, Closed) for one in replies):
                return record
        raise SessionBusy(session_id)

    def _natives(self, records: Sequence[SessionRecord]) -> list[str]:
        return [self._native(record) for record in records]

    def _native(self, record: SessionRecord) -> str:
        """Return the program's own id of a session's conversation; empty if it is not known."""
        snapshot = None if record.summary is None else record.summary.snapshot
        kept = {} if snapshot is None else orjson.loads(snapshot)
        mark, memory = kept.get("desk") or {}, kept.get("agent_memory") or {}
        told = mark.get("native_id") or memory.get("native") or memory.get("thread_id")
        told = told or memory.get("session_id")
        if isinstance(told, str):
            return told
        if not self.desk.has(record.agent_type):
            return ""
        if record.session_id == desk_session_id(record.agent_type, record.session_id[-36:]):
            return record.session_id[-36:]
        return self.supervisor.deps.spec_for(record, "").agent_session_id if not kept.get("renewals") else ""


def _ignore(_: Reply) -> None:
    """Take an answer that nobody waits for."""


def _matching(found: Listed, workspace: str | None, query: str | None) -> Listed:
    words = (query or "").casefold().split()
    chosen = [
        one
        for one in found.sessions
        if workspace in (None, one[1].workspace)
        and all(
            word in f"{one[1].title}\n{one[1].first_message}\n{one[1].workspace}".casefold() for word in words
        )
    ]
    chosen.sort(
        key=lambda one: (one[1].last_activity_ms, desk_session_id(one[0], one[1].native_id)), reverse=True
    )
    return Listed(chosen, found.unreadable)
