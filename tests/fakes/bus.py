"""A whole server behind the transport, in memory: journal, catalog, bus, tail and devices.

`FakeSession.publish` is what a session's owner does: it journals events, then publishes them. A command is
noted, and answered by `on_command` where a test gives one; an `Attach` is answered always.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import attrs

from actors.commands import Attach, Close, Envelope, Send
from actors.events.codec import decode_settings, encode_entry
from actors.events.committed import TURN_ENDS, Committed, Event
from actors.events.conversation import Attachment, Delivery, TurnStarted, UserMessage
from actors.events.permissions import PermissionRequested
from actors.replies import Accepted, Closed, Rejected, SessionView
from actors.tail import Listener, Tail
from storage.aliases import Aliases
from storage.errors import SessionMissing
from storage.records import NewSession, Row, SessionRecord, Summary
from storage.tables.hash_chain import Act
from tests.fakes.devices import FakeDevices
from tests.fakes.memory_store import MemoryStore, StoredSession
from transport.access.audit_trail import AuditTrail
from transport.delays import DeviceDelays
from transport.ports import Deps
from transport.push.attention import Attention
from transport.rendering.protocol import Block

__all__ = ["ALIASES", "FakeAuditLog", "FakeServer", "FakeSession", "NoRenderer", "NoUploads", "accept"]

START_MS = 1_700_000_000_000

ALIASES = Aliases(b"for tests")


@attrs.define(eq=False)
class FakeSession:
    """One session: what is stored of it, its tail, and the state that an attach gets."""

    store: MemoryStore
    stored: StoredSession
    tail: Tail
    state: str = "idle"
    pending: tuple[PermissionRequested, ...] = ()
    turn_id: str | None = None
    at_ms: int = START_MS

    @property
    def record(self) -> SessionRecord:
        return self.stored.record

    @property
    def rows(self) -> list[Row]:
        return self.stored.rows

    @property
    def head_seq(self) -> int:
        return self.record.head_seq

    def journal_only(self, *events: Event, device_id: str | None = None) -> list[Committed]:
        """Journal events without telling anybody."""
        made: list[Committed] = []
        for event in events:
            if isinstance(event, TurnStarted):
                self.turn_id = f"turn-{self.head_seq + 1}"
            self.at_ms += 1
            seq = self.head_seq + 1
            item = Committed(seq, seq, self.at_ms, self.turn_id, device_id, event)
            self.store.put_nowait(self.stored, encode_entry(item))
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


class FakeAuditLog:
    """Stores no act: nobody looks at them."""

    async def append(self, acts: Sequence[Act]) -> None:
        """Implements `AuditLog`."""


class NoUploads:
    """Has no file."""

    async def find(self, url: str) -> Attachment | None:
        """Implements `Uploads`."""
        return None

    async def use(self, session_id: str, files: Sequence[Attachment]) -> bool:
        """Implements `Uploads`."""
        return not files


class NoRenderer:
    """Renders nothing: every text is to be shown as it is."""

    async def render(self, blocks: Sequence[Block]) -> str | None:
        """Implements `Renders`."""
        return None


OnCommand = Callable[[FakeSession, Envelope], None]


@attrs.define(eq=False)
class FakeServer(MemoryStore):
    """`CommandBus` and `LiveBus` over a store in memory, which is the `Journal` and the `Catalog`."""

    devices: FakeDevices = attrs.field(factory=FakeDevices)
    sessions: dict[str, FakeSession] = attrs.field(factory=dict)
    envelopes: list[tuple[str, Envelope]] = attrs.field(factory=list)
    on_command: OnCommand | None = None
    submit_error: Exception | None = None
    before_count: Callable[[], Awaitable[None]] | None = None
    now_ms: int = START_MS
    watchers: list[Callable[[str], None]] = attrs.field(factory=list)
    delays: DeviceDelays = attrs.field(factory=DeviceDelays)
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
            uploads=NoUploads(),
            renderer=NoRenderer(),
            trail=AuditTrail(FakeAuditLog(), lambda: self.now_ms),
            delays=self.delays,
        )

    def add_session(self, session_id: str, agent: str = "echo") -> FakeSession:
        new = NewSession(session_id, agent, "phone", b'{"workspace":"/w"}', self.now_ms)
        return self._make(new)

    def _make(self, new: NewSession) -> FakeSession:
        self.now_ms += 1
        stored = self.create_nowait(new)
        empty = Summary("", "idle", 0, 0, False, b"", None, 0)
        stored.record = attrs.evolve(
            stored.record, last_activity_ms=self.now_ms, owner_epoch=1, summary=empty
        )
        made = self.sessions[new.session_id] = FakeSession(self, stored, Tail(new.session_id, 1, 0))
        return made

    def _session(self, session_id: str) -> FakeSession:
        if session_id not in self.sessions:
            raise SessionMissing(session_id)
        return self.sessions[session_id]

    # ---- CommandBus and LiveBus ----

    async def submit(self, session_id: str, envelope: Envelope) -> None:
        session = self._session(session_id)
        if self.submit_error is not None:
            raise self.submit_error
        if isinstance(envelope.command, Attach):
            envelope.reply(session.view())
            return
        if isinstance(envelope.command, Send) and envelope.command.flaw is not None:
            envelope.reply(Rejected(*envelope.command.flaw, message_id=envelope.command.message_id))
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

    # ---- what differs from a store ----

    async def create(self, session: NewSession) -> SessionRecord:
        await self.enter(writes=True)
        return self._make(session).record

    async def count(self) -> int:
        if self.before_count is not None:
            await self.before_count()
        return await MemoryStore.count(self)

    async def remove(self, session_id: str) -> None:
        await MemoryStore.remove(self, session_id)
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
