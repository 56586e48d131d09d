"""A whole server behind the transport, in memory: journal, catalog, bus, tail and devices.

`FakeSession.publish` is what a session's owner does: it journals events, then publishes them. A command is
noted, and answered by `on_command` where a test gives one; an `Attach` is answered always.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import attrs
import trio

from actors.commands import Attach, Close, Envelope, Send
from actors.events.codec import decode_settings, encode_entry
from actors.events.committed import TURN_ENDS, Committed, Event
from actors.events.conversation import Delivery, TurnStarted, UserMessage
from actors.events.permissions import PermissionRequested
from actors.replies import Accepted, Closed, SessionView
from actors.tail import Listener, Tail
from storage.aliases import Aliases
from storage.errors import SessionExists, SessionMissing, StorageError, StorageUnavailable
from storage.records import CommandRecord, Entry, Fold, Grant, Head, NewSession, Row, SessionRecord, Summary
from tests.fakes.devices import FakeDevices
from transport.ports import Deps
from transport.push.attention import Attention

__all__ = ["ALIASES", "FakeServer", "FakeSession", "accept"]

START_MS = 1_700_000_000_000

ALIASES = Aliases(b"for tests")


@attrs.define(eq=False)
class FakeSession:
    """One session: its rows, its tail, and the state that an attach gets."""

    record: SessionRecord
    tail: Tail
    rows: list[Row] = attrs.field(factory=list)
    commands: dict[str, CommandRecord] = attrs.field(factory=dict)
    state: str = "idle"
    pending: tuple[PermissionRequested, ...] = ()
    turn_id: str | None = None
    at_ms: int = START_MS

    @property
    def head_seq(self) -> int:
        return self.rows[-1].seq if self.rows else 0

    def journal_only(self, *events: Event, device_id: str | None = None) -> list[Committed]:
        """Journal events without telling anybody."""
        made: list[Committed] = []
        for event in events:
            if isinstance(event, TurnStarted):
                self.turn_id = f"turn-{self.head_seq + 1}"
            self.at_ms += 1
            seq = self.head_seq + 1
            item = Committed(seq, seq, self.at_ms, self.turn_id, device_id, event)
            self._keep(item)
            made.append(item)
            if event.kind in TURN_ENDS:
                self.turn_id = None
        return made

    def publish(self, *events: Event, device_id: str | None = None) -> list[Committed]:
        """Journal events, then tell them."""
        made = self.journal_only(*events, device_id=device_id)
        self.tell(made)
        return made

    def tell(self, items: Sequence[Committed]) -> None:
        sizes = [len(encode_entry(item).payload) for item in items]
        self.tail.publish_nowait(items, sizes)

    def _keep(self, item: Committed) -> None:
        entry = encode_entry(item)
        where = (self.record.session_id, item.seq, item.first_seq, item.turn_id)
        row = Row(*where, entry.kind, item.device_id, item.at_ms, entry.payload, commit_no=item.seq)
        self.rows.append(row)
        if entry.command_id is not None and entry.command_state is not None:
            first = self.commands.get(entry.command_id)
            seq = first.seq if first else item.seq
            self.commands[entry.command_id] = CommandRecord(entry.command_id, seq, entry.command_state)

    def view(self) -> SessionView:
        record = self.record
        return SessionView(
            epoch=record.epoch,
            head_seq=self.head_seq,
            agent_type=record.agent_type,
            title=record.summary.title if record.summary else "",
            state=self.state,
            settings=decode_settings(record.settings),
            queue=(),
            pending=self.pending,
            read_seq=record.read_seq,
            draft=record.draft,
        )


OnCommand = Callable[[FakeSession, Envelope], None]


@attrs.define(eq=False)
class FakeServer:
    """`Journal`, `Catalog`, `CommandBus` and `LiveBus` at once."""

    devices: FakeDevices = attrs.field(factory=FakeDevices)
    sessions: dict[str, FakeSession] = attrs.field(factory=dict)
    envelopes: list[tuple[str, Envelope]] = attrs.field(factory=list)
    on_command: OnCommand | None = None
    submit_error: Exception | None = None
    read_error: StorageError | None = None
    before_count: Callable[[], Awaitable[None]] | None = None
    now_ms: int = START_MS
    offers: dict[str, bytes] = attrs.field(factory=dict)
    watchers: list[Callable[[str], None]] = attrs.field(factory=list)
    attention: Attention = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.attention = Attention(lambda: self.now_ms)

    def deps(self) -> Deps:
        return Deps(
            bus=self,
            live=self,
            catalog=self,
            journal=self,
            devices=self.devices,
            watch=self.watch,
            clock=lambda: self.now_ms,
            aliases=ALIASES,
            attention=self.attention,
        )

    async def due(self, limit: int) -> Sequence[tuple[str, int]]:
        await trio.lowlevel.checkpoint()
        return []

    async def reveal(self, session_id: str, *, files_of: str) -> None:
        await trio.lowlevel.checkpoint()

    async def remove_hidden(self, session_id: str) -> None:
        await trio.lowlevel.checkpoint()

    async def keep_offer(self, agent_type: str, offer: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.offers[agent_type] = offer

    async def offer_of(self, agent_type: str) -> bytes | None:
        await trio.lowlevel.checkpoint()
        return self.offers.get(agent_type)

    def add_session(self, session_id: str, agent: str = "echo") -> FakeSession:
        new = NewSession(session_id, agent, "phone", b'{"workspace":"/w"}', self.now_ms)
        return self._make(new)

    def _make(self, new: NewSession) -> FakeSession:
        self.now_ms += 1
        record = SessionRecord(
            session_id=new.session_id,
            agent_type=new.agent_type,
            device_id=new.device_id,
            settings=new.settings,
            created_at_ms=new.created_at_ms,
            last_activity_ms=self.now_ms,
            epoch=1,
            owner_epoch=1,
            head_seq=0,
            snapshot_seq=0,
            summary=Summary("", "idle", 0, 0, False, b"", None, 0),
            read_seq=0,
            draft="",
        )
        made = FakeSession(record, Tail(new.session_id, 1, 0))
        self.sessions[new.session_id] = made
        return made

    def _session(self, session_id: str) -> FakeSession:
        if session_id not in self.sessions:
            raise SessionMissing(session_id)
        return self.sessions[session_id]

    def _check_readable(self) -> None:
        if self.read_error is not None:
            raise self.read_error

    # ---- CommandBus and LiveBus ----

    async def submit(self, session_id: str, envelope: Envelope) -> None:
        session = self._session(session_id)
        if self.submit_error is not None:
            raise self.submit_error
        if isinstance(envelope.command, Attach):
            envelope.reply(session.view())
            return
        self.envelopes.append((session_id, envelope))
        if self.on_command is not None:
            self.on_command(session, envelope)
        elif isinstance(envelope.command, Close):
            envelope.reply(Closed(process_killed=True))

    def listen(self, session_id: str, listener: Listener) -> AbstractContextManager[Tail]:
        return self._session(session_id).tail.listen(listener)

    @contextmanager
    def watch(self, changed: Callable[[str], None]) -> Iterator[None]:
        self.watchers.append(changed)
        try:
            yield
        finally:
            self.watchers.remove(changed)

    # ---- Journal ----

    async def append(
        self,
        grant: Grant,
        expected_seq: int,
        entries: Sequence[Entry],
        *,
        fold: Sequence[Fold] = (),
        durable: bool,
        summary: Summary | None = None,
    ) -> int:
        raise StorageUnavailable("the transport never appends")

    async def read(
        self,
        session_id: str,
        after: int,
        limit: int,
        *,
        before: int | None = None,
        kinds: Collection[str] | None = None,
        newest: bool = False,
    ) -> Sequence[Row]:
        self._check_readable()
        found = [
            row
            for row in self._session(session_id).rows
            if after < row.seq
            and (before is None or row.seq < before)
            and (kinds is None or row.kind in kinds)
        ]
        return found[-limit:] if newest else found[:limit]

    async def head(self, session_id: str) -> Head:
        session = self._session(session_id)
        return Head(session.record.epoch, session.head_seq)

    async def find_commands(self, session_id: str, command_ids: Sequence[str]) -> dict[str, CommandRecord]:
        known = self._session(session_id).commands
        return {one: known[one] for one in command_ids if one in known}

    async def first_seq_of_turns(self, session_id: str, count: int) -> int:
        self._check_readable()
        session = self._session(session_id)
        started = [row.turn_id for row in session.rows if row.kind == TurnStarted.kind]
        last = set(started[-count:]) if count else set()
        return min(
            (row.first_seq for row in session.rows if row.turn_id in last), default=session.head_seq + 1
        )

    async def check_writable(self) -> None:
        self._check_readable()

    # ---- Catalog ----

    async def create(self, session: NewSession) -> SessionRecord:
        if session.session_id in self.sessions:
            raise SessionExists(session.session_id)
        return self._make(session).record

    async def get(self, session_id: str) -> SessionRecord | None:
        session = self.sessions.get(session_id)
        return None if session is None else attrs.evolve(session.record, head_seq=session.head_seq)

    async def page(
        self,
        limit: int,
        before: tuple[int, str] | None = None,
        *,
        archived: bool | None = None,
        workspace: str | None = None,
    ) -> Sequence[SessionRecord]:
        records = sorted(
            (session.record for session in self.sessions.values()),
            key=lambda one: (one.last_activity_ms, one.session_id),
            reverse=True,
        )
        return [one for one in records if before is None or (one.last_activity_ms, one.session_id) < before][
            :limit
        ]

    async def count(self) -> int:
        if self.before_count is not None:
            await self.before_count()
        return len(self.sessions)

    async def unfinished(self) -> Sequence[str]:
        return []

    async def unread_count(self, session_id: str, after: int) -> int:
        kinds = {"user_message", "turn_started"}
        return sum(1 for row in self._session(session_id).rows if row.kind in kinds and row.seq > after)

    async def note(
        self,
        session_id: str,
        *,
        read_seq: int | None = None,
        draft: str | None = None,
        pinned: bool | None = None,
        archived: bool | None = None,
    ) -> None:
        session = self._session(session_id)
        if read_seq is not None:
            session.record = attrs.evolve(session.record, read_seq=read_seq)
        if draft is not None:
            session.record = attrs.evolve(session.record, draft=draft)
        if pinned is not None:
            session.record = attrs.evolve(session.record, pinned=pinned)
        if archived is not None:
            session.record = attrs.evolve(session.record, archived=archived)

    async def remove(self, session_id: str) -> None:
        self._session(session_id)
        del self.sessions[session_id]


def accept(session: FakeSession, envelope: Envelope) -> None:
    """Answer a `Send` as an owner does: journal, reply, publish."""
    command = envelope.command
    assert isinstance(command, Send)
    label = envelope.author.device_id
    items = session.journal_only(UserMessage(command.message_id, command.content), device_id=label)
    items += session.journal_only(TurnStarted(command.message_id), Delivery(command.message_id, "handed"))
    envelope.reply(Accepted(command.message_id, items[0].seq, duplicate=False))
    session.tell(items)
