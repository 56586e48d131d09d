"""What a turn's driver reports to, and what it waits for: a person's answers, and the session's history."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import attrs
import trio

from bridgehub.agents.diffs import relative_diff
from bridgehub.agents.request_words import RequestWords, plain_words
from bridgehub.masking import Masker
from bridgehub.outbox import Outbox
from bridgehub.protocol.events import (
    AgentMemory,
    AgentOffered,
    Gauged,
    HistoryWanted,
    HubEvent,
    PermissionAsked,
    PermissionSettled,
    PlanChanged,
    TextPiece,
    ToolEnded,
    ToolsPrinted,
)
from bridgehub.protocol.messages import Decided, History
from bridgehub.protocol.requests import TRUST, declined_by
from bridgehub.watchdog import InactivityWatchdog

if TYPE_CHECKING:
    from bridgehub.trust.finding import Findings

__all__ = ["PermissionRequests", "TurnSink"]

OPTIONS = ("allow", "deny", "allow_session")
"""What a person may answer; without a grant `allow_session` allows no more than this call."""

PLAN_S = 1.0
"""Least time between two to-do lists (PROTOCOL section 8)."""

AT_ONCE_CHARS = 32 * 1024
"""A piece of so many code points is put into an outbox with room without waiting: it is one line in any case. Nearly all
events are such pieces."""


@attrs.define(eq=False)
class _Request:
    grant: str | None
    answered: trio.Event = attrs.field(factory=trio.Event)
    answer: Decided | None = None


@attrs.define(eq=False)
class PermissionRequests:
    """What waits for the server's word. One a hub; emptied at each turn's end.

    Attributes:
        grants: what was allowed for the whole session, also by earlier hubs.
        declined: whose settings the person said no to for the session (`protocol.trust.declined_name`).
        history_limit: `limit_bytes` of the history that a driver waits for, 0 if none does.
    """

    grants: set[str]
    declined: set[str] = attrs.field(factory=set)
    history_limit: int = 0
    _requests: dict[str, _Request] = attrs.field(factory=dict)
    _history: list[History] = attrs.field(factory=list)
    _history_came: trio.Event = attrs.field(factory=trio.Event)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Ids of the requests that nobody has answered."""
        return tuple(self._requests)

    def decide_nowait(self, decided: Decided) -> None:
        """Give an answer to whom it waits for; nothing if it does not."""
        request = self._requests.get(decided.request_id)
        if request is None or request.answer is not None:
            return
        if decided.decision == "allow_session" and request.grant is not None:
            self.grants.add(request.grant)
        request.answer = decided
        request.answered.set()

    def history_nowait(self, history: History) -> None:
        """Give the history to the driver that waits for it; nothing if none does."""
        if self.history_limit:
            self._history.append(history)
            self._history_came.set()

    async def wait_answer(self, request_id: str, grant: str | None, announce: Callable[[], Any]) -> Decided:
        """Announce a request and wait for its answer, for as long as it takes."""
        request = self._requests[request_id] = _Request(grant)
        try:
            await announce()
            await request.answered.wait()
        finally:
            self._requests.pop(request_id, None)
        assert request.answer is not None
        return request.answer

    async def wait_history(self, limit_bytes: int, announce: Callable[[], Any]) -> History:
        """Ask for the history and wait for it."""
        self.history_limit, self._history_came = max(1, limit_bytes), trio.Event()
        self._history.clear()
        try:
            await announce()
            await self._history_came.wait()
        finally:
            self.history_limit = 0
        return self._history[0]

    def forget(self) -> None:
        """Forget what waits: the turn is over."""
        self._requests.clear()
        self.history_limit = 0


@attrs.define(eq=False)
class TurnSink:
    """What the driver of one turn reports to (`agents.base.Sink`, and `agents.echo.PracticeSink`)."""

    asking: PermissionRequests
    outbox: Outbox
    new_id: Callable[[], str]
    turn_id: str
    keep_memory: Callable[[dict[str, Any]], object] = lambda data: None
    tell_newest: Callable[[AgentOffered | Gauged | ToolsPrinted], object] = lambda event: None
    masker: Masker = attrs.field(factory=Masker)
    note: Callable[[HubEvent], object] = lambda event: None
    silence: InactivityWatchdog = attrs.field(factory=InactivityWatchdog)
    workspace: str = ""
    wait_saved: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    """Waits until the workspace is saved as it was before this turn."""
    closed: bool = False
    _plan: PlanChanged | None = None
    _plan_at: float = -math.inf
    _withdrawn: list[str] = attrs.field(factory=list)

    async def emit(self, event: HubEvent) -> None:
        if self.closed:
            await trio.lowlevel.checkpoint()
            return
        if isinstance(event, AgentOffered | Gauged | ToolsPrinted):
            self.tell_newest(event)
            await trio.lowlevel.checkpoint()
            return
        if type(event) is TextPiece and len(event.text) <= AT_ONCE_CHARS and not self.outbox.is_full:
            self.silence.words += 1
            await self.outbox.put(event)
            return
        self.silence.heard(event)
        if isinstance(event, ToolEnded) and event.diff:
            event = attrs.evolve(event, diff=relative_diff(event.diff, self.workspace))
        self.note(event)
        if isinstance(event, PlanChanged):
            self._plan = event
        if self._plan is not None and trio.current_time() >= self._plan_at:
            await self.flush_plan()
        if isinstance(event, PlanChanged):
            await trio.lowlevel.checkpoint()
            return
        with self.silence.held():
            await self.outbox.put(self.masker.event(event))

    async def flush_plan(self) -> None:
        """Tell the newest to-do list, if it was held back."""
        plan, self._plan = self._plan, None
        if plan is not None:
            self._plan_at = trio.current_time() + PLAN_S
            with self.silence.held():
                await self.outbox.put(plan)

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
        request_id = self.new_id()
        if grant is not None and grant in self.asking.grants:
            await trio.lowlevel.checkpoint()
            return Decided(request_id, "allow_session")
        words = words or plain_words(tool, tool_input, questions)
        asked = PermissionAsked(
            self.turn_id,
            request_id,
            tool,
            tool_input,
            OPTIONS if words.options is None else words.options,
            questions,
            grant,
            task_id,
            words.kind,
            words.title,
            words.modes,
            relative_diff(words.diff, self.workspace),
            words.editable,
            words.denying,
        )
        try:
            with self.silence.held():
                return await self.asking.wait_answer(request_id, grant, lambda: self.emit(asked))
        except trio.Cancelled:
            self._withdrawn.append(request_id)
            raise

    async def tell_withdrawn(self) -> None:
        withdrawn, self._withdrawn = self._withdrawn, []
        await trio.lowlevel.checkpoint()
        for request_id in withdrawn:
            await self.emit(PermissionSettled(self.turn_id, request_id))

    async def ask_trust(
        self, agent: str, found: Findings, options: tuple[str, ...], *, task_id: str | None = None
    ) -> Decided:
        request_id, told = self.new_id(), found.told(agent)
        name = declined_by(told, options)
        if name is not None and name in self.asking.declined:
            await trio.lowlevel.checkpoint()
            return Decided(request_id, "deny")
        asked = PermissionAsked(
            self.turn_id, request_id, TRUST, told, options, task_id=task_id, kind=TRUST, title=found.title
        )
        with self.silence.held():
            decided = await self.asking.wait_answer(request_id, None, lambda: self.emit(asked))
        if name is not None and decided.decision == "deny":
            self.asking.declined.add(name)
        return decided

    async def history(self, limit_bytes: int) -> History:
        wanted = HistoryWanted(self.turn_id, limit_bytes)
        with self.silence.held():
            return await self.asking.wait_history(limit_bytes, lambda: self.emit(wanted))

    async def remember(self, data: dict[str, Any]) -> None:
        self.keep_memory(data)
        await self.emit(AgentMemory(self.turn_id, data))

    async def work_saved(self) -> None:
        with self.silence.held():
            await self.wait_saved()

    async def settle(self) -> None:
        with self.silence.held():
            await self.outbox.wait_acked(self.outbox.head_seq)

    async def corrupt(self, line: bytes) -> None:
        await self.outbox.put_raw(line)
