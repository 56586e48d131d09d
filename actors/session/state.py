"""The state of one session. Pure.

`apply.py` changes it by events, `snapshot.py` is the way into storage and back.
"""

from __future__ import annotations

from typing import Any, Literal

import attrs

from actors.commands import Envelope
from actors.events.permissions import PermissionRequested, PermissionResolved
from actors.events.session import Held, SessionGrant, Settings
from actors.events.work import PlanEntry, TaskStarted
from actors.offer import MODE_RANKS, NO_OFFER, Offer
from actors.replies import IfHead
from actors.session.answer import AnswerText
from bridgehub.desk.records import DESK, DeskMark, Where
from bridgehub.protocol.tool_events import ToolOutput

__all__ = ["PREVIEW_LENGTH", "BackgroundTask", "RunningUndo", "SessionState", "Turn", "WaitingMessage"]

PREVIEW_LENGTH = 1000
"""Code points of a queued message that `attached` shows (PROTOCOL section 3)."""


StateWord = Literal["idle", "running", "waiting", "failed"]


@attrs.define
class WaitingMessage:
    """A user message whose turn has not started, or whose outcome is unknown.

    Attributes:
        seq: its `user_message`.
        not_before_ms: when its turn may begin; None: as soon as it is its turn.
        key_id: the key that brought it, if it is for later.
        kept: whether it waits for a person's word, since its time came when it could not run.
    """

    message_id: str
    turn_id: str
    device_id: str
    seq: int
    not_before_ms: int | None = None
    key_id: str = ""
    kept: bool = False
    preview: str = attrs.field(default="", init=False, eq=False)


@attrs.define
class BackgroundTask:
    """Work that may outlive its turn, `turn_id`. `is_stopping`: somebody wants it to end."""

    started: TaskStarted
    turn_id: str | None
    is_stopping: bool = False


@attrs.define
class Turn:
    """The running turn. One without a message was begun by the agent itself.

    Attributes:
        own_turn_id: a turn of the agent's own that it was in while this one's message was on its way to it.
        started_seq: the seq of `turn_started`; its pieces come after it.
        consumed: whether the agent said that it took the prompt.
        stopping_by: who interrupted it, None while nobody did.
        steered: messages that were given to this turn besides its own; `steered_taken` those that the agent took.
        decided: what was answered in this turn, for a hub that missed it.
        may_move: whether it is certain, but for what this owner's link was sent, that the hub which lives never
            had the prompt, and another one may still take it. Lost with the owner: then nobody knows.
        cause: why it began, if not by a message of a device; `desk`: a terminal works on it.
        is_live: whether the hub reports what the terminal does, since both share the agent's program.
        tools: the calls of a terminal that have not returned.
        denied: who said no to a terminal's call, by the tool, until a call of it returns.
        encoded: open requests as the snapshot holds them, as far as one was made: their inputs may be large.
        printed: the newest output of the tools that run, by tool id; not kept.
    """

    turn_id: str
    message_id: str | None
    device_id: str
    message_seq: int
    started_seq: int
    consumed: bool = False
    own_turn_id: str | None = None
    stopping_by: str | None = None
    steered: dict[str, WaitingMessage] = attrs.field(factory=dict)
    steered_taken: dict[str, None] = attrs.field(factory=dict)
    requests: dict[str, PermissionRequested] = attrs.field(factory=dict)
    decided: dict[str, PermissionResolved] = attrs.field(factory=dict)
    tasks: dict[str, TaskStarted] = attrs.field(factory=dict)
    cause: str | None = None
    is_live: bool = False
    tools: dict[str, str] = attrs.field(factory=dict)
    denied: dict[str, str] = attrs.field(factory=dict)
    answer: AnswerText = attrs.field(factory=AnswerText, init=False, eq=False)
    preview: str = attrs.field(default="", init=False, eq=False)
    may_move: bool = attrs.field(default=False, init=False, eq=False)
    encoded: dict[str, bytes] = attrs.field(factory=dict, init=False, eq=False)
    printed: dict[str, ToolOutput] = attrs.field(factory=dict, init=False, eq=False)


@attrs.define
class RunningUndo:
    """An undo in progress. `turn_id`, `of_undo`: what is taken back, one of the two."""

    undo_id: str
    turn_id: str | None
    of_undo: str | None
    by_device: str


@attrs.define(eq=False)
class SessionState:
    """The state of one session.

    Attributes:
        background: work that may outlive its turn, by task id.
        background_full: a notice has said that some of it is left out.
        leaving: hubs that were let go and are not known to be dead.
        grants: what was allowed for the whole session, and by whom.
        declined: whose settings a person said no to for this session (`bridgehub.protocol.trust`).
        agent_memory: what the agent's driver wants to know again in the next hub.
        grants_at: when each of them was allowed, as far as that was noted.
        person_mode: the permission mode that a person chose; the agent may have changed to another one since.
        mode_by: who chose it.
        offer: what the agent offers; kept for all sessions with it.
        gauge: the agent's last report of its context, cost and limits.
        plan: the agent's newest to-do list.
        held: why the messages that wait are kept back; None: they are not.
        renewals: how often its agent was made to start a new conversation.
        archived: whether it is out of the way; kept beside the journal.
        was_restored: whether this state comes out of a restore; not kept.
        allows_bypass: whether the config lets this agent work without asking; not kept.
        can_steer: whether the hub that is linked takes messages in mid-turn; not kept.
        unsaved: the turn that has a checkpoint before it and none after it, and that checkpoint.
        undo: the undo that is carried out, from its first event to its last.
        planning: an undo that no event shows yet, and who asked for it; not kept.
        undone: what was undone since the agent's last message, for its next one; `undone_more`: and how much more.
        desk: how far the agent's own record was read for what others added to it.
        where: the program of the person's own that has the session open, as it was last seen.
        unsure: whether the agent's own record may lack something that was said: two programs wrote to it.
        live: turns of terminals that the hub reported, and that the agent's record may tell again.
        joined: whether a terminal shares the agent's program now.
        left: turns that somebody left behind by going back at the desk.
        hub_is_old: whether that hub takes no settings; not kept.
        takes_warm_up: whether it starts its agent's program when asked to; not kept.
        is_warmed: whether the hub was started before a message, and had none yet; not kept.
        is_awaited: whether it was started for a terminal, and has not heard of that yet; not kept.
        configured: when settings were changed in the last minute (ms); not kept.
        control_dirty: set whenever the snapshot changed, cleared by `summary`.
        snapshot_kept: false if storage has no snapshot of this session, or one without what came since. The next
            append then brings one along, and is not made durable for it.
    """

    session_id: str
    agent_type: str
    settings: Settings
    epoch: int
    head_seq: int = 0
    read_seq: int = 0
    draft: str = ""
    leaving: dict[str, None] = attrs.field(factory=dict)
    background: dict[str, BackgroundTask] = attrs.field(factory=dict)
    background_full: bool = False
    grants: dict[str, str | None] = attrs.field(factory=dict)
    declined: dict[str, None] = attrs.field(factory=dict)
    grants_at: dict[str, int] = attrs.field(factory=dict)
    agent_memory: dict[str, Any] | None = None
    person_mode: str | None = None
    mode_by: str | None = None
    offer: Offer = NO_OFFER
    gauge: dict[str, Any] = attrs.field(factory=dict)
    plan: tuple[PlanEntry, ...] = ()
    held: Held | None = None
    renewals: int = 0
    archived: bool = False
    was_restored: bool = False
    allows_bypass: bool = False
    can_steer: bool = False
    unsaved: tuple[str, str] | None = None
    undo: RunningUndo | None = None
    planning: tuple[RunningUndo, Envelope] | None = None
    undone: list[str] = attrs.field(factory=list)
    undone_more: int = 0
    desk: DeskMark | None = None
    where: Where | None = None
    unsure: bool = False
    live: dict[str, None] = attrs.field(factory=dict)
    joined: bool = False
    left: dict[str, None] = attrs.field(factory=dict)
    hub_is_old: bool = False
    takes_warm_up: bool = False
    is_warmed: bool = False
    is_awaited: bool = False
    configured: list[int] = attrs.field(factory=list)
    hub_id: str | None = None
    hub_seq: int = 0
    title: str = ""
    failed: bool = False
    message_count: int = 0
    taken: int = 0
    turn: Turn | None = None
    arriving: dict[str, WaitingMessage] = attrs.field(factory=dict)
    queue: dict[str, WaitingMessage] = attrs.field(factory=dict)
    unknown: dict[str, WaitingMessage] = attrs.field(factory=dict)
    resolved: dict[str, str | None] = attrs.field(factory=dict)
    authors: dict[str, int] = attrs.field(factory=dict)
    authors_floor: int = 0
    control_dirty: bool = True
    snapshot_kept: bool = False

    @property
    def word(self) -> StateWord:
        """The session's state as devices see it."""
        if self.failed:
            return "failed"
        if self.turn is None:
            return "idle"
        waits_at_desk = self.is_at_desk and self.where is not None and self.where.status == "waiting"
        return "waiting" if self.turn.requests or waits_at_desk else "running"

    @property
    def head(self) -> IfHead:
        """The present position."""
        return IfHead(self.epoch, self.head_seq)

    def is_beyond(self, mode: str | None) -> bool:
        """Tell whether a permission mode lets the agent do more than the person chose."""
        kind, chosen = self.offer.kind_of(mode), self.offer.kind_of(self.person_mode)
        return MODE_RANKS[kind or "ask"] > MODE_RANKS[chosen or "ask"]

    @property
    def is_at_desk(self) -> bool:
        """Whether the running turn is one that a terminal works on, and that is known from the agent's record."""
        return self.turn is not None and self.turn.cause == DESK and not self.turn.is_live

    def next_waiting(self) -> WaitingMessage | None:
        """Return the message whose turn is next: the first that neither waits for its time nor is kept back."""
        if self.held is not None or self.where is not None:
            return None
        return next((one for one in self.queue.values() if one.not_before_ms is None and not one.kept), None)

    def due_at_ms(self) -> int | None:
        """Return when something of the queue is to be looked at again without anybody's word; None: never."""
        if not self.queue:
            return None
        times = [one.not_before_ms for one in self.queue.values() if not one.kept]
        known = [at for at in times if at is not None]
        if self.held is not None and self.held.until_ms is not None and None in times:
            known.append(self.held.until_ms)
        return None if self.failed else min(known, default=None)

    def granted(self) -> tuple[SessionGrant, ...]:
        """Return what is allowed for the whole session."""
        return tuple(SessionGrant(one, by, self.grants_at.get(one)) for one, by in self.grants.items())

    def is_foreign_after(self, seq: int, device_id: str) -> bool:
        """Tell whether anything after `seq` is neither `device_id`'s own nor of a turn that it started."""
        if self.authors_floor > seq:
            return True
        turn = self.turn
        if turn is not None and turn.device_id != device_id and turn.answer.last_seq > seq:
            return True
        return any(last > seq for owners, last in self.authors.items() if device_id not in owners.split(" "))
