"""The person's own programs on this computer: their sessions, as the server asks for them.

All reading is done on threads, few at a time. Nothing here writes to what a program keeps.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import trio

from bridgehub.agents.claude.memory import later_ids
from bridgehub.agents.claude.settings import config_folder
from bridgehub.desk.claude_files import ClaudeFiles
from bridgehub.desk.claude_rows import row_id
from bridgehub.desk.codex_files import CodexFiles
from bridgehub.desk.files import NotReadable, whole_size
from bridgehub.desk.live.changes import ClaudeRegistry, CodexRegistry, DeskChanges, Registry, Watched
from bridgehub.desk.live.claude_live import live_programs
from bridgehub.desk.live.codex_live import CodexWriters, live_threads
from bridgehub.desk.live.processes import end_politely
from bridgehub.desk.looking import look_at_claude, look_at_codex
from bridgehub.desk.records import (
    MAX_MESSAGES,
    Answered,
    DeskEvent,
    DeskHistory,
    DeskLook,
    DeskMark,
    DeskSession,
    NoSuchSession,
    Where,
)
from bridgehub.desk.turns import Turns

if TYPE_CHECKING:
    from bridgehub.desk.acp_conversations import AcpConversations

__all__ = ["Desk", "DeskAgent", "Listed"]

MAX_HISTORY = 16 * 1024 * 1024
"""Characters of the same; more would not fit into the server's memory many times over."""

MAX_BRANCH = 20_000
"""Messages that are followed back to find out what a conversation has."""

THREADS = 2

MAX_FOLLOWED = 16
"""Sessions that are followed at once (PROTOCOL section 14); the others are looked at before each message."""

_T = TypeVar("_T")


@attrs.frozen
class DeskAgent:
    """An agent of the config whose program a person may also use in a terminal."""

    name: str
    kind: str
    env: Mapping[str, str] = attrs.field(repr=False)


@attrs.frozen
class Listed:
    """All sessions of the desk, each with its agent's name and who has it open; and how many cannot be read."""

    sessions: list[tuple[str, DeskSession, Where | None]]
    unreadable: int


@attrs.define(eq=False)
class _Program:
    agent: DeskAgent
    now_ms: Callable[[], int]
    lock: threading.Lock = attrs.field(factory=threading.Lock)
    claude: ClaudeFiles = attrs.field(init=False)
    codex: CodexFiles = attrs.field(init=False)
    writers: CodexWriters = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        env = dict(self.agent.env)
        home = env.get("CODEX_HOME") or os.path.join(env.get("HOME") or str(Path.home()), ".codex")
        self.claude = ClaudeFiles(config_folder(env), self.now_ms)
        self.codex = CodexFiles(Path(home))
        self.writers = CodexWriters(Path(home))

    @property
    def is_claude(self) -> bool:
        return self.agent.kind == "claude"

    def listed(self) -> tuple[list[tuple[str, DeskSession, Where | None]], int]:
        with self.lock:
            if self.is_claude:
                found, unreadable = self.claude.sessions()
                live = live_programs(self.claude.config) if found else {}
            else:
                found, unreadable = self.codex.sessions()
                live = live_threads(self.codex.home) if found else {}
        return [(self.agent.name, one, live.get(one.native_id)) for one in found], unreadable

    def registry(self) -> Registry:
        if self.is_claude:
            return ClaudeRegistry(
                self.claude.config / "sessions", lambda: live_programs(self.claude.config), self.find
            )
        return CodexRegistry(
            self.codex.home / "thread-writer-locks",
            lambda: live_threads(self.codex.home),
            self.find,
            self.writer,
            self.now_ms,
        )

    def writer(self, thread_id: str) -> Where | None:
        with self.lock:
            return self.writers.of(thread_id)

    def find(self, conversation: str, memory: Mapping[str, object]) -> tuple[str, str | None]:
        with self.lock:
            if self.is_claude:
                return self.claude.newest(_ids(conversation, memory))
            thread = memory.get("thread_id")
            return (thread, self.codex.find(thread)) if isinstance(thread, str) else ("", None)

    def has(self, native_id: str) -> bool:
        with self.lock:
            return self.claude.find(native_id) is not None

    def history(self, native_id: str) -> DeskHistory:
        with self.lock:
            path = self.claude.find(native_id) if self.is_claude else self.codex.find(native_id)
            sessions, _ = self.claude.sessions() if self.is_claude else self.codex.sessions()
        session = next((one for one in sessions if one.native_id == native_id), None)
        if path is None or session is None:
            raise NoSuchSession(native_id)
        try:
            end = whole_size(path)
            if self.is_claude:
                branch = self.claude.branch(path, end, messages=MAX_MESSAGES // 2, size=MAX_HISTORY)
                rows, is_cut, leaf, memory = branch.rows, branch.is_cut, branch.leaf, {"native": native_id}
                mode, answered = branch.mode, Answered(branch.model, mode=branch.mode)
            else:
                rows, is_cut = self.codex.history(path, end, messages=MAX_MESSAGES // 2, size=MAX_HISTORY)
                leaf, memory, mode, answered = "", {"thread_id": native_id}, "", Answered()
        except (OSError, NotReadable) as error:
            raise NoSuchSession(native_id) from error
        turns, events = Turns(), list[DeskEvent]()
        for row in rows:
            events += turns.take(row)
        live = (
            live_programs(self.claude.config) if self.is_claude else live_threads(self.codex.home, native_id)
        )
        where = live.get(native_id)
        if where is None:
            events += turns.close()
        mark = DeskMark(native_id, end, leaf, turns.rests, answered=answered)
        return DeskHistory(session, events, mark, memory, is_cut, mode)

    def on_branch(
        self, conversation: str, memory: Mapping[str, Any], wanted: frozenset[str], end: int | None
    ) -> frozenset[str] | None:
        with self.lock:
            _, path = self.claude.newest(_ids(conversation, memory))
        if path is None or not wanted:
            return None if path is None else frozenset()
        try:
            end = os.stat(path).st_size if end is None else end
            return frozenset(self.claude.branch(path, end, messages=MAX_BRANCH, wanted=wanted).ids)
        except (OSError, NotReadable):
            return None

    def where(self, conversation: str, memory: Mapping[str, Any]) -> Where | None:
        if self.is_claude:
            with self.lock:
                native_id, _ = self.claude.newest(_ids(conversation, memory))
            return live_programs(self.claude.config).get(native_id) if native_id else None
        thread = memory.get("thread_id")
        if not isinstance(thread, str) or not row_id(thread):
            return None
        with self.lock:
            found = self.writers.of(thread)
        return None if found is not None and found.can_join else found

    def look(
        self,
        conversation: str,
        memory: Mapping[str, Any],
        mark: DeskMark | None,
        *,
        is_open: bool,
        known: frozenset[str] = frozenset(),
    ) -> DeskLook:
        with self.lock:
            if self.is_claude:
                ids = _ids(conversation, memory)
                return look_at_claude(self.claude, self.claude.config, ids, mark, is_open=is_open)
            thread = memory.get("thread_id")
            if not isinstance(thread, str):
                return DeskLook()
            return look_at_codex(self.codex, self.writers, thread, mark, is_open=is_open, known=known)


def _ids(conversation: str, memory: Mapping[str, Any]) -> tuple[str, ...]:
    native = memory.get("native")
    first = native if isinstance(native, str) and native else conversation
    return (first, *later_ids(first))


@attrs.define(eq=False)
class Desk:
    """Reads all programs. `places`: one for each followed session.

    `acp`: agents that must be asked for their conversations. Those are listed and opened, not followed.
    """

    agents: Mapping[str, DeskAgent]
    _now_ms: Callable[[], int]
    acp: Mapping[str, AcpConversations] = attrs.field(factory=dict)
    _programs: dict[str, _Program] = attrs.field(init=False)
    places: trio.Semaphore = attrs.field(factory=lambda: trio.Semaphore(MAX_FOLLOWED))
    changes: DeskChanges = attrs.field(init=False)
    _threads: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(THREADS))

    def __attrs_post_init__(self) -> None:
        kinds = ("claude", "codex")
        self._programs = {
            name: _Program(one, self._now_ms) for name, one in self.agents.items() if one.kind in kinds
        }
        registries = {name: program.registry() for name, program in self._programs.items()}
        self.changes = DeskChanges(registries, self._threads)

    def watch(
        self, agent: str, conversation: Callable[[], str], memory: Callable[[], Mapping[str, Any]]
    ) -> AbstractContextManager[Watched]:
        """Follow a session while inside the block. Arguments as of `look`, as they are at any time."""
        return self.changes.watch(agent, conversation, memory)

    def has(self, agent: str) -> bool:
        """Tell whether an agent's program may have sessions in a terminal that can be followed."""
        return agent in self._programs

    def lists(self, agent: str) -> bool:
        """Tell whether an agent's conversations may be in the list."""
        return agent in self._programs or agent in self.acp

    async def listed(self, agent: str | None = None) -> Listed:
        """Return the sessions of one agent, or of all."""
        found = Listed([], 0)
        for name, program in self._programs.items():
            if agent in (None, name):
                sessions, unreadable = await self._thread(program.listed)
                found = Listed([*found.sessions, *sessions], found.unreadable + unreadable)
        if not self.acp:
            return found
        from bridgehub.desk.acp_conversations import sessions_of  # only such agents need it

        asked = await sessions_of(self.acp, agent)
        return Listed([*found.sessions, *((name, one, None) for name, one in asked)], found.unreadable)

    async def claude_with(self, native_id: str) -> str:
        """Return the agent of Claude Code whose program has this conversation. Raises NoSuchSession."""
        for name, program in self._programs.items():
            if program.is_claude and await self._thread(partial(program.has, native_id)):
                return name
        raise NoSuchSession(native_id)

    async def history(self, agent: str, native_id: str) -> DeskHistory:
        """Read a conversation. Raises NoSuchSession."""
        if agent in self.acp:
            return await self.acp[agent].history(native_id)
        program = self._programs.get(agent)
        if program is None:
            raise NoSuchSession(native_id)
        return await self._thread(partial(program.history, native_id))

    async def look(
        self,
        agent: str,
        conversation: str,
        memory: Mapping[str, Any],
        mark: DeskMark | None,
        *,
        is_open: bool,
        known: frozenset[str] = frozenset(),
    ) -> DeskLook:
        """Look at what others did to a session's conversation.

        Args:
            agent: the agent's name in the config.
            conversation: the id that the session's own conversation has.
            memory: what its driver remembers.
            mark: where the last look ended.
            is_open: whether a turn of the desk is open.
            known: turns that are journalled already, by the program's own ids.
        """
        program = self._programs.get(agent)
        if program is None:
            return DeskLook()
        return await self._thread(
            partial(program.look, conversation, memory, mark, is_open=is_open, known=known)
        )

    async def where(self, agent: str, conversation: str, memory: Mapping[str, Any]) -> Where | None:
        """Return who has a session's conversation open. Arguments as of `look`."""
        program = self._programs.get(agent)
        if program is None:
            return None
        return await self._thread(partial(program.where, conversation, memory))

    async def on_branch(
        self,
        agent: str,
        conversation: str,
        memory: Mapping[str, Any],
        wanted: frozenset[str],
        *,
        end: int | None = None,
    ) -> frozenset[str] | None:
        """Return which of these rows a conversation has, as the program would take it up.

        None if its record has no branches. The record is read from its end until all are found. `end`: how many bytes of
        it count; None: all.
        """
        program = self._programs.get(agent)
        if program is None or not program.is_claude:
            return None
        return await self._thread(partial(program.on_branch, conversation, memory, wanted, end))

    async def end(self, where: Where) -> bool:
        """Ask the program that has a session open to end; return whether it was asked."""
        if where.pid is None or not where.started:
            return False
        return await self._thread(partial(end_politely, where.pid, where.started))

    async def _thread(self, call: Callable[[], _T]) -> _T:
        return await trio.to_thread.run_sync(call, limiter=self._threads)
