"""Does what a step decided, once its events are committed, and nothing that it did not."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
import trio

from actors.config import ActorConfig
from actors.desk.lost import read_lost
from actors.desk.watching import DeskWatch, LooksAtDesk
from actors.events.codec import decode_row
from actors.events.committed import Committed
from actors.events.conversation import Attachment, UserMessage
from actors.events.history import read_history
from actors.events.permissions import PermissionResolved
from actors.offer import Offer, encode_offer
from actors.ports import Catalog, Clock, Hubs, Ids, Journal, Ownership, Undoes
from actors.session.ack_pacer import Lateness
from actors.session.effects import (
    Announce,
    CarryOutUndo,
    Effect,
    EndElsewhere,
    ForgetHub,
    HandOver,
    KeepNote,
    KeepOffer,
    KillHub,
    NoteChange,
    NoteInAudit,
    PlanUndo,
    SendHistory,
    SendToHub,
    StartHub,
    SteerHub,
    StopHub,
    TellDesk,
)
from actors.session.hub_owner import HubOwner
from actors.session.inputs import FoundElsewhere
from actors.session.loading import STORAGE_DOWN
from actors.session.mailbox import Mailbox
from actors.session.state import SessionState
from actors.session.steps.step import setup_of
from actors.session.undoing import UndoRunner
from actors.tail import QuietTails, Tail
from actors.warming import WarmPlaces
from bridgehub.protocol.hub_spec import HubSpec, Unsaved
from bridgehub.protocol.messages import History, Prompt, Steer
from storage.records import SessionRecord
from storage.tables.hash_chain import Act

__all__ = ["EffectRunner", "SessionDeps"]

log = logging.getLogger("builderos.actors")

_RENEWED = uuid.UUID("3f1c7d52-8b0e-4c39-9d4e-52a07c3b8f10")
"""Under this name the agent-side ids of renewed conversations are made; it must never change."""


async def _no_file(attachment: Attachment) -> str | None:
    return None


def _never(name: str) -> bool:
    return False


@attrs.frozen
class SessionDeps:
    """What every session's actor works with.

    `spec_for` makes what a new hub is started with, from the session and the hub's id. `audited`
    takes what goes into the audit beside the journal; it never blocks.
    `desk` reads what the person's own programs keep; None if nobody looks. `desk_decided` takes
    decisions for terminals; it never blocks.
    `allows_bypass` returns whether the config lets an agent work without asking;
    `is_revoked`, whether a key, by its id, is not good any more. `warming` bounds what starts before a message; `quiet`
    lets tails rest; `lateness` knows how busy the machine is.
    """

    journal: Journal
    ownership: Ownership
    catalog: Catalog
    hubs: Hubs
    clock: Clock
    new_id: Ids
    spec_for: Callable[[SessionRecord, str], HubSpec]
    config: ActorConfig
    path_for: Callable[[Attachment], Awaitable[str | None]] = _no_file
    undoes: Undoes | None = None
    audited: Callable[[Act], object] = lambda act: None
    allows_bypass: Callable[[str], bool] = _never
    is_revoked: Callable[[str], bool] = _never
    desk: LooksAtDesk | None = None
    desk_decided: Callable[[PermissionResolved], None] = lambda resolved: None
    warming: WarmPlaces = attrs.field(factory=WarmPlaces)
    lateness: Lateness = attrs.field(factory=Lateness)
    quiet: QuietTails = attrs.field()

    @quiet.default
    def _quiet(self) -> QuietTails:
        return QuietTails(self.config.tail_rest_s)


@attrs.define(eq=False)
class EffectRunner:
    """Runs the effects of one session, in order. Lives as long as the state that it was made with."""

    deps: SessionDeps
    record: SessionRecord
    state: SessionState
    owner: HubOwner
    mailbox: Mailbox
    tail: Tail
    changed: Callable[[str], None]
    undos: UndoRunner = attrs.field(init=False)
    desk: DeskWatch | None = attrs.field(init=False, default=None)
    _note: KeepNote | None = None
    _keeps_note: bool = False
    _nursery: trio.Nursery | None = None

    def __attrs_post_init__(self) -> None:
        deps = self.deps
        self.undos = UndoRunner(deps.undoes, deps.journal, deps.catalog, self.record, self.mailbox)
        if deps.desk is not None and deps.desk.has(self.record.agent_type):
            self.desk = DeskWatch(deps.desk, self.state, deps.journal, self.mailbox, self._conversation)

    @property
    def session_id(self) -> str:
        """Whose effects these are."""
        return self.record.session_id

    @property
    def has_note(self) -> bool:
        """Whether a read mark or a draft waits to be written."""
        return self._keeps_note

    async def run(self, effect: Effect, items: Sequence[Committed]) -> None:
        """Do one effect; `items` are the events that were committed with it. `Answer` is not done here."""
        owner = self.owner
        match effect:
            case StartHub(hub_id):
                owner.start(self._spec(hub_id))
            case HandOver():
                where = None if self.desk is None else await self.desk.where()
                if where is None:
                    owner.tell(await self._with_lost(await self._prompt(effect, items)))
                else:
                    self.mailbox.add_nowait(FoundElsewhere(effect.turn_id, where))
            case EndElsewhere(where):
                if self.deps.desk is not None:
                    await self.deps.desk.end(where)
            case TellDesk(resolved):
                self.deps.desk_decided(resolved)
            case NoteChange():
                self.changed(self.session_id)
            case SteerHub():
                message = await self._message(effect.message_seq, items)
                files = await self._files_of(message)
                owner.tell(Steer(effect.turn_id, effect.message_id, message.content, files))
            case SendHistory():
                owner.tell(await self._history(effect))
            case SendToHub(message):
                owner.tell(message)
            case StopHub(hub_id):
                owner.end(hub_id, "stop")
            case KillHub(hub_id):
                owner.end(hub_id, "kill")
            case ForgetHub(hub_id):
                await self.deps.hubs.forget(hub_id)
            case PlanUndo() | CarryOutUndo():
                assert self._nursery is not None
                self.undos.order(effect, self._nursery)
            case KeepNote():
                self._note = effect if self._note is None else _newer(self._note, effect)
                self._keep_notes_soon()
            case NoteInAudit(act, key_id, subject):
                at_ms = self.deps.clock()
                self.deps.audited(
                    Act(at_ms=at_ms, act=act, device_id=key_id, session_id=self.session_id, subject=subject)
                )
            case KeepOffer(offer):
                await self._keep_offer(offer)
            case Announce(news):
                self.tail.post_nowait(news)
            case _:
                pass

    def _conversation(self) -> str:
        """Return the id of the session's own conversation."""
        return self._spec("").agent_session_id

    def _spec(self, hub_id: str) -> HubSpec:
        state = self.state
        spec = self.deps.spec_for(self.record, hub_id)
        settings, conversation = state.settings, spec.agent_session_id
        if state.renewals:
            conversation = str(uuid.uuid5(_RENEWED, f"{conversation}/{state.renewals}"))
        return attrs.evolve(
            spec,
            agent_session_id=conversation,
            model=settings.model,
            permission_mode=settings.permission_mode,
            effort=settings.effort,
            agent_memory=state.agent_memory,
            grants=tuple(state.grants),
            unsaved=None if state.unsaved is None else Unsaved(*state.unsaved),
            declined=tuple(state.declined),
        )

    async def _keep_offer(self, offer: Offer) -> None:
        try:
            await self.deps.catalog.keep_offer(self.record.agent_type, encode_offer(offer))
        except STORAGE_DOWN as exc:  # the agent reports it again with its next start
            log.warning("session %s: what its agent offers was not kept: %s", self.session_id, exc)

    async def _prompt(self, effect: HandOver, items: Sequence[Committed]) -> Prompt:
        message = await self._message(effect.message_seq, items)
        files = await self._files_of(message)
        content, setup = message.content, setup_of(self.state)
        undone, more = tuple(self.state.undone), self.state.undone_more
        prompt = Prompt(effect.turn_id, effect.message_id, content, effect.taken_before, files, setup)
        return attrs.evolve(prompt, undone=undone, undone_more=more)

    async def _with_lost(self, prompt: Prompt) -> Prompt:
        """Put what the agent's own record lacks in front of a prompt; a command of the program takes none."""
        if self.desk is None or not self.state.unsure or prompt.content.startswith("/"):
            return prompt
        lost = await read_lost(self.desk, prompt.turn_id)
        return attrs.evolve(prompt, content=f"{lost}\n\n{prompt.content}") if lost else prompt

    async def _message(self, seq: int, items: Sequence[Committed]) -> UserMessage:
        """Read a message that is to be handed over: from this batch, else from the journal."""
        event = next((item.event for item in items if item.seq == seq), None)
        if event is None:
            rows = await self.deps.journal.read(self.session_id, seq - 1, 1)
            event = decode_row(rows[0]).event
        assert isinstance(event, UserMessage), "a turn's message_seq names its user_message"
        return event

    async def _files_of(self, message: UserMessage) -> tuple[dict[str, Any], ...]:
        path_for = self.deps.path_for
        return tuple([{**attrs.asdict(one), "path": await path_for(one)} for one in message.attachments])

    async def _history(self, effect: SendHistory) -> History:
        said = await read_history(
            self.deps.journal,
            self.session_id,
            before_seq=effect.before_seq,
            leave_out=effect.message_id,
            limit_bytes=effect.limit_bytes,
        )
        return History(effect.turn_id, said, max(0, self.state.message_count - 2 - len(said)))

    def serve_in(self, nursery: trio.Nursery) -> None:
        """Do what takes a while in tasks of this nursery, which live only as long as they have something to do."""
        self._nursery = nursery
        self.owner.serve_in(nursery)
        if self.desk is not None:
            nursery.start_soon(self.desk.run)

    def _keep_notes_soon(self) -> None:
        assert self._nursery is not None
        if not self._keeps_note:
            self._keeps_note = True
            self._nursery.start_soon(self._keep_notes)

    async def _keep_notes(self) -> None:
        """Write read marks and drafts beside the stream: of many, the newest."""
        while (note := self._note) is not None:
            self._note = None
            try:
                await self.deps.catalog.note(
                    self.session_id,
                    read_seq=note.read_seq,
                    draft=note.draft,
                    pinned=note.pinned,
                    archived=note.archived,
                )
            except STORAGE_DOWN as exc:  # neither is worth more than a line; the next one may fit
                log.warning("session %s: a note was not kept: %s", self.session_id, exc)
            if any(one is not None for one in (note.read_seq, note.pinned, note.archived)):
                self.changed(self.session_id)
            self._keeps_note = self._note is not None
            self.mailbox.wake()  # the actor may have been waiting to leave


def _newer(note: KeepNote, later: KeepNote) -> KeepNote:
    return KeepNote(
        note.read_seq if later.read_seq is None else later.read_seq,
        note.draft if later.draft is None else later.draft,
        note.pinned if later.pinned is None else later.pinned,
        note.archived if later.archived is None else later.archived,
    )
