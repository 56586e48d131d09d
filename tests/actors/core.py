"""A session's pure core for tests: inputs in, the words of events and effects out, and a reload when wanted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import count

import attrs

from actors.commands import Author, Command, Envelope, Send
from actors.events.codec import decode_row, encode_entry, encode_settings
from actors.events.committed import Committed, Event
from actors.events.conversation import Delivery, Message, Thinking
from actors.events.pieces import join_pieces
from actors.events.session import Settings
from actors.offer import NO_OFFER, encode_offer
from actors.replies import Accepted, Rejected, Reply
from actors.session.effects import AnswerCommand, Effect, HandOver, SendToHub, StartHub
from actors.session.inputs import FromDevice, FromHub, HubGone, HubReady, Input
from actors.session.loading import load_state
from actors.session.snapshot import restore, summary
from actors.session.state import SessionState
from actors.session.steps.decide import decide
from actors.session.steps.step import Step
from bridgehub.protocol import events as hub
from bridgehub.protocol.hub_spec import Setup
from bridgehub.protocol.messages import Configure, Decided, InterruptTurn, Reported, Welcome
from storage.records import CommandRecord, Entry, Fold, Row, SessionRecord, Summary
from tests.fakes.memory_store import MemoryStore

__all__ = ["SESSION", "Core", "author", "fresh_record", "word_of"]

SESSION = "trip"


def author(device_id: str) -> Author:
    return Author(f"key-of-{device_id}", device_id, device_id.title())


def fresh_record() -> SessionRecord:
    return SessionRecord(
        session_id=SESSION,
        agent_type="echo",
        device_id="phone",
        settings=encode_settings(Settings("/w")),
        created_at_ms=0,
        last_activity_ms=0,
        epoch=1,
        owner_epoch=1,
        head_seq=0,
        snapshot_seq=0,
        summary=None,
        read_seq=0,
        draft="",
    )


def word_of(event: Event) -> str:
    """Return an event as the table of `docs/internals/architecture.md` writes it."""
    if isinstance(event, Delivery):
        return f"d:{event.state}"
    code = getattr(event, "code", None)
    return f"{event.kind} {code}" if event.kind == "error" else event.kind


@attrs.define(eq=False)
class Core:
    """One session over a little journal of its own; each call of `give` is one batch, committed at once."""

    rows: list[Row] = attrs.field(factory=list)
    record: SessionRecord = attrs.field(factory=fresh_record)
    commands: dict[str, CommandRecord] = attrs.field(factory=dict)
    replies: list[Reply] = attrs.field(factory=list)
    hub_seq: int = 0
    state: SessionState = attrs.field(init=False)
    new_id: Callable[[], str] = attrs.field(init=False)
    events: list[Committed] = attrs.field(factory=list)
    effects: list[Effect] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        numbers = count(1)
        self.new_id = lambda: f"id{next(numbers)}"
        self.state = restore(self.record)

    # ---- inputs ----

    def envelope(self, command: Command, device: str = "phone") -> Envelope:
        return Envelope(command, author(device), self.replies.append)

    def given(self, command: Command, device: str = "phone", *, watched: bool = False) -> FromDevice:
        known = self.commands.get(command.message_id) if isinstance(command, Send) else None
        return FromDevice(self.envelope(command, device), known, watched)

    def reported(self, event: hub.HubEvent, *, span: int = 1) -> FromHub:
        self.hub_seq += span
        return FromHub(self.hub_id, Reported(self.hub_seq, self.hub_seq - span + 1, event))

    def ready(self, last_turn: str | None = None, waiting: tuple[str, ...] = ()) -> HubReady:
        return HubReady(
            self.hub_id,
            Welcome(1, self.hub_id, 7, last_turn, last_turn is not None, waiting, takes_setup=True),
        )

    def gone(self, **kwargs: str) -> HubGone:
        return HubGone(self.hub_id, **{"reason": "died", **kwargs})  # type: ignore[arg-type]

    @property
    def hub_id(self) -> str:
        assert self.state.hub_id is not None
        return self.state.hub_id

    @property
    def turn_id(self) -> str:
        assert self.state.turn is not None
        return self.state.turn.turn_id

    # ---- one batch ----

    def step(self, *inputs: Input) -> Step:
        """Decide, without committing."""
        step = Step(self.state, 1_000 + self.state.head_seq, self.new_id)
        for one in inputs:
            decide(step, one)
        return step

    def give(self, *inputs: Input) -> list[str]:
        """Decide and commit a batch; return the words of its events. Its effects lie in `effects`."""
        step = self.step(*inputs)
        self.commit(step)
        self.answer(step)
        return [word_of(item.event) for item in step.events]

    def do(self, command: Command, device: str = "phone", *, watched: bool = False) -> list[str]:
        """Give one command."""
        return self.give(self.given(command, device, watched=watched))

    def hear(self, *events: hub.HubEvent) -> list[str]:
        """Give what the hub reports next."""
        return self.give(*(self.reported(event) for event in events))

    def commit(self, step: Step) -> None:
        """Write down what the step decided, as the actor does: rows joined, folds, then the summary."""
        items = join_pieces(step.events, starts=step.starts)
        for item in items:
            self._put(item.first_seq, item.seq, encode_entry(item))
        for fold in step.folds:
            self._fold(fold)
        self.note(summary(self.state))
        self.events, self.effects = step.events, step.effects

    def note(self, written: Summary) -> None:
        if written.snapshot is None:
            assert self.record.summary is not None
            written = attrs.evolve(written, snapshot=self.record.summary.snapshot)
        self.record = attrs.evolve(self.record, head_seq=self.state.head_seq, summary=written)

    def answer(self, step: Step) -> None:
        for effect in step.effects:
            if isinstance(effect, AnswerCommand):
                effect.to(effect.reply)

    # ---- what came of it ----

    @property
    def orders(self) -> list[Effect]:
        """Effects of the last batch but answers, and the settings that each new link gets."""
        return [one for one in self.effects if not isinstance(one, AnswerCommand) and not _is_setup(one)]

    @property
    def setups(self) -> list[Setup]:
        """The settings that the last batch sent to the hub."""
        return [
            one.message.setup
            for one in self.effects
            if isinstance(one, SendToHub) and isinstance(one.message, Configure)
        ]

    @property
    def order_words(self) -> list[str]:
        words: list[str] = []
        for effect in self.orders:
            match effect:
                case StartHub():
                    words.append("hub")
                case HandOver():
                    words.append("prompt")
                case SendToHub(InterruptTurn()):
                    words.append("interrupt")
                case SendToHub(Decided(decision="cancelled")):
                    words.append("decided cancelled")
                case SendToHub(Decided()):
                    words.append("decided")
                case _:
                    words.append(type(effect).__name__)
        return words

    @property
    def reply_word(self) -> str:
        """The answer to the last command, as the table writes it; empty if there was none."""
        replies = [effect.reply for effect in self.effects if isinstance(effect, AnswerCommand)]
        if not replies:
            return ""
        match replies[-1]:
            case Accepted(duplicate=duplicate):
                return "accepted, duplicate" if duplicate else "accepted"
            case Rejected(code=code):
                return f"rejected {code}"
            case other:
                return type(other).__name__

    def text_of(self, turn_id: str) -> dict[tuple[str, str], str]:
        """Return the texts of one turn, by kind and block, out of the journal."""
        found: dict[tuple[str, str], str] = {}
        for item in map(decode_row, self.rows):
            event = item.event
            if item.turn_id == turn_id and isinstance(event, Message | Thinking):
                key = (event.kind, event.block)
                assert event.offset == (len(found.get(key, "")) if event.content else 0)
                found[key] = found.get(key, "")[: event.offset] + event.content
        return found

    def reload(self) -> None:
        """Throw the state away and load it again, through the actor's own way."""
        self.state = self.loaded()

    def loaded(self) -> SessionState:
        """Return what a new owner would load."""
        offer = None if self.state.offer == NO_OFFER else encode_offer(self.state.offer)
        store = _Rows(record=self.record, rows=self.rows, offer=offer)
        loading = load_state(store, store, SESSION)
        try:
            loading.send(None)  # nothing in it waits
        except StopIteration as done:
            state: SessionState = done.value[1]
            return state
        raise AssertionError("loading waited for something")

    def _put(self, first: int, seq: int, entry: Entry) -> None:
        if entry.command_id is not None:
            known = self.commands.get(entry.command_id) or CommandRecord(entry.command_id, seq, "")
            self.commands[entry.command_id] = attrs.evolve(known, state=entry.command_state or known.state)
        turn_id, device_id = entry.turn_id, entry.device_id
        self.rows.append(
            Row(SESSION, seq, first, turn_id, entry.kind, device_id, entry.at_ms, entry.payload, 0)
        )

    def _fold(self, fold: Fold) -> None:
        inside = [row for row in self.rows if fold.first_seq <= row.seq <= fold.last_seq]
        assert inside[0].first_seq == fold.first_seq
        assert inside[-1].seq == fold.last_seq
        at = self.rows.index(inside[0])
        entry = fold.entry
        made = Row(
            SESSION,
            fold.last_seq,
            fold.first_seq,
            entry.turn_id,
            entry.kind,
            entry.device_id,
            0,
            entry.payload,
            0,
        )
        self.rows[at : at + len(inside)] = [made]


def _is_setup(effect: Effect) -> bool:
    return isinstance(effect, SendToHub) and isinstance(effect.message, Configure)


@attrs.define(eq=False, kw_only=True)
class _Rows(MemoryStore):
    """A store that is only read, and never waits, so that no event loop is needed."""

    record: SessionRecord
    rows: list[Row]
    offer: bytes | None

    async def get(self, session_id: str) -> SessionRecord | None:
        return self.record

    async def offer_of(self, agent_type: str) -> bytes | None:
        return self.offer

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
        return [row for row in self.rows if row.seq > after and (kinds is None or row.kind in kinds)][:limit]
