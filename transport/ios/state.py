"""Decides what the iOS app gets of one session over one connection, and what its texts mean. Pure.

The app knows only exchanges: it sends a text and locks its composer, `message` frames arrive, and one `complete` or
`error` unlocks the composer. Turns that came over this connection are *own* turns and answer an exchange. All others
are sent as `peer_…`, which the app ignores.

An own turn is **open** while its exchange is: its text streams. A permission request ends the exchange (the composer
must unlock) and the turn is **closed**: none of it is sent. The app's own decision opens it again and the rest streams.
If somebody else decided, the end of the turn sends the whole answer.

| input | own turn open | own turn closed | no own turn |
|---|---|---|---|
| piece | `TextOutput` | kept | `Peer` |
| permission request | `TextOutput` with it, `End` | the same, unless one is shown already | kept |
| decided by the app | – | open again, `TextOutput` of the missing part | `TextOutput` with the decision, `End` |
| decided elsewhere | – | the next request, or nothing until the end | kept |
| end of the turn | `TextOutput`, `End` | `TextOutput` of the whole answer, `End` | `Peer` |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal

import attrs

from actors.events.committed import TURN_ENDS, Committed
from actors.events.conversation import Delivery, Message, TurnError, TurnStarted, UserMessage
from actors.events.permissions import PermissionRequested, PermissionResolved
from transport.ios.output import (
    EARLIER,
    NOW,
    WHOLE_LIMIT,
    End,
    LastRequest,
    Missed,
    Output,
    OwnTurn,
    Peer,
    PeerTurn,
    TextOutput,
    end_of,
)
from transport.ios.text import (
    BEGUN_AGAIN,
    SummaryFilter,
    already_decided,
    bare_error,
    decision_of,
    may_be_allowed,
    request_text,
)

__all__ = ["AppState", "Decision", "LastRequest", "SendText"]

LATE_MS: Final = 10 * 60 * 1000
"""How long after somebody else's decision the app's own is answered instead of sent to the agent (rule 10)."""


@attrs.frozen
class SendText:
    """The text goes to the agent."""


@attrs.frozen
class Decision:
    """The text answers a request."""

    request_id: str
    decision: Literal["allow", "deny"]


@attrs.define(eq=False)
class AppState:
    """The state of one session on one connection.

    Attributes:
        session_id: the session.
        label: the label of this device's events.
        seen: the request that this connection showed last, of any session.
        name_of: returns a device's name for people by its label.
        own: messages of this connection whose turn has not ended, in the order of sending.
        pending: requests that wait for a person, oldest first.
        shown: the request that the app got last, until it is decided.
        deciding: the request of the app's decision that is on its way.
        late: who decided last before the app could, and the time.
        owes_own: whether the agent may have begun a turn by itself that the app did not hear of.
    """

    session_id: str
    label: str
    seen: LastRequest
    name_of: Callable[[str], str] = str
    own: dict[str, OwnTurn] = attrs.field(factory=dict)
    pending: dict[str, PermissionRequested] = attrs.field(factory=dict)
    shown: str | None = None
    deciding: str | None = None
    late: tuple[str | None, int] | None = None
    owes_own: bool = True
    _carried: list[str] = attrs.field(factory=list)
    _carried_ids: list[str] = attrs.field(factory=list)
    _starters: dict[str, tuple[str, str | None]] = attrs.field(factory=dict)
    _turn_of: dict[str, str | None] = attrs.field(factory=dict)
    _peers: dict[str, PeerTurn] = attrs.field(factory=dict)

    # ---- what the app does ----

    def seed(self, pending: Iterable[PermissionRequested], past: Iterable[Committed]) -> None:
        """Take the state at the start: open requests, and recent events that show who asked for what."""
        for request in pending:
            self.pending[request.request_id] = request
        for item in past:
            event = item.event
            self._note(item)
            if isinstance(event, PermissionResolved) and self._is_of_this_device(event.request_id):
                self._note_late(event, item.at_ms)

    def expect(self, message_id: str) -> None:
        """Note that a message of this connection is on its way."""
        self.own[message_id] = OwnTurn(message_id)

    def read(self, text: str, now_ms: int) -> SendText | Decision | list[Output]:
        """Return the meaning of a text: a message, a decision, or output that answers at once."""
        decision = decision_of(text)
        waiting = [request_id for request_id in self.pending if request_id != self.deciding]
        if waiting:
            seen = self.seen.of(self.session_id)
            if seen is None or seen not in waiting:
                return self._show(waiting[0])
            if decision is None or (decision == "allow" and not may_be_allowed(self.pending[seen])):
                return self._show(seen)
            self.deciding = seen
            return Decision(seen, decision)
        if decision is not None and self.late is not None and now_ms - self.late[1] <= LATE_MS:
            return [self._late_text(), End()]
        return SendText()

    def refused(self, message_id: str, content: str, code: str | None) -> list[Output]:
        """Return the output for a refused message."""
        self.own.pop(message_id, None)
        return [End(bare_error(content), code, closes=(message_id,))]

    def too_late(self, request_id: str, by_device: str | None, now_ms: int) -> list[Output]:
        """Handle a decision that came after somebody else's. Its exchange ends, with the next request."""
        if self.deciding != request_id:
            return []
        self.deciding = None
        self.pending.pop(request_id, None)
        if self.shown == request_id:
            self.shown = None
        self.late = (by_device, now_ms)
        return [self._late_text(), *(self._show_next() or [End()])]

    def decision_refused(self, request_id: str, content: str) -> list[Output]:
        """Handle a decision that was refused for another reason. Its exchange ends."""
        if self.deciding != request_id:
            return []
        self.deciding = None
        return [End(bare_error(content))]

    def _late_text(self) -> TextOutput:
        by_device = self.late[0] if self.late is not None else None
        name = "the end of its turn" if by_device is None else self.name_of(by_device)
        return TextOutput(already_decided(name), alone=True)

    # ---- what the session does ----

    def take(self, items: Iterable[Committed]) -> list[Output]:
        """Return the output for events, which come in the journal's order and once each."""
        items = tuple(items)
        settled = {i.event.request_id for i in items if isinstance(i.event, PermissionResolved)}
        says: list[Output] = []
        for item in items:
            self._note(item)
            says += self._take(item, settled)
        return says

    def _take(self, item: Committed, settled: set[str]) -> list[Output]:
        event = item.event
        if isinstance(event, UserMessage):
            known = event.message_id in self.own
            return [] if known else [Peer("peer_user_message", item)]
        if isinstance(event, PermissionRequested):
            return self._requested(event, settled)
        if isinstance(event, PermissionResolved):
            return self._resolved(event, item)
        if isinstance(event, Delivery):
            return self._taken_back(event)
        own = self._own_turn(item.turn_id)
        if isinstance(event, TurnStarted):
            self.owes_own |= event.message_id is None
            return [] if own is None else self._started(own)
        if isinstance(event, Message):
            return self._peer_piece(item, event) if own is None else self._piece(own, event.content)
        if event.kind in TURN_ENDS:
            return self._peer_end(item) if own is None else self._end(own, item)
        return []

    def _note(self, item: Committed) -> None:
        event, turn_id = item.event, item.turn_id
        if isinstance(event, UserMessage) and turn_id is not None:
            self._starters.setdefault(turn_id, (event.message_id, item.device_id))
        elif isinstance(event, TurnStarted) and turn_id is not None:
            if event.message_id in self.own:
                self.own[event.message_id].turn_id = turn_id
        elif isinstance(event, PermissionRequested):
            self._turn_of[event.request_id] = turn_id
        elif event.kind in TURN_ENDS and turn_id is not None:
            self._starters.pop(turn_id, None)

    def _own_turn(self, turn_id: str | None) -> OwnTurn | None:
        if turn_id is None:
            return None
        return next((own for own in self.own.values() if own.turn_id == turn_id), None)

    def _is_of_this_device(self, request_id: str) -> bool:
        turn_id = self._turn_of.get(request_id)
        starter = self._starters.get(turn_id) if turn_id is not None else None
        return self._own_turn(turn_id) is not None or (starter is not None and starter[1] == self.label)

    # ---- decisions ----

    def _show(self, request_id: str) -> list[Output]:
        """Show a request and end the exchange."""
        says: list[Output] = []
        for own in self.own.values():
            says += self._missing(own)
            own.open = False
        self.shown = request_id
        request = TextOutput(request_text(self.pending[request_id]), alone=True, request_id=request_id)
        return [*says, request, End()]

    def _show_next(self) -> list[Output]:
        self.shown = next((request_id for request_id in self.pending if request_id != self.deciding), None)
        return [] if self.shown is None or not self.own else self._show(self.shown)

    def _requested(self, event: PermissionRequested, settled: set[str]) -> list[Output]:
        self.pending[event.request_id] = event
        if event.request_id in settled or not self.own or self.shown is not None:
            return []
        return self._show(event.request_id)

    def _resolved(self, event: PermissionResolved, item: Committed) -> list[Output]:
        request_id = event.request_id
        self.pending.pop(request_id, None)
        was_shown = self.shown == request_id
        mine = self.deciding == request_id and event.by_device == self.label
        if mine:
            self.deciding = None
            said = "Denied." if event.decision == "deny" else "Allowed."
            says = self._decided_here(request_id, said)
        else:
            if was_shown or self._is_of_this_device(request_id):
                self._note_late(event, item.at_ms)
            says = []
        self._turn_of.pop(request_id, None)
        if not was_shown and not mine:
            return says
        self.shown = None
        if self.deciding == request_id:
            return says  # the answer to the app's own, later decision ends the exchange
        return [*says, *self._show_next()]

    def _decided_here(self, request_id: str, said: str) -> list[Output]:
        """Continue with the rest of the turn; if the turn is not this device's, confirm the decision."""
        turn_id = self._turn_of.get(request_id)
        if turn_id is not None and self._own_turn(turn_id) is None and self._is_of_this_device(request_id):
            # A turn of an earlier connection of this device: from here on it answers this exchange.
            message_id = self._starters[turn_id][0]
            self.own[message_id] = OwnTurn(message_id, turn_id=turn_id)
        if not self.own:
            return [TextOutput(said, alone=True), End()]
        says: list[Output] = []
        for own in self.own.values():
            says += self._missing(own)
            own.open = True
        return says

    def _missing(self, own: OwnTurn) -> list[Output]:
        """Return the text of a closed turn that was not sent yet."""
        text = own.whole()[own.told :]
        if not text:
            return []
        own.told = own.length
        return [TextOutput(text, own.message_id, own.told)]

    def _note_late(self, event: PermissionResolved, at_ms: int) -> None:
        if event.by_device != self.label:
            self.late = (event.by_device, at_ms)

    # ---- own turns ----

    def _started(self, own: OwnTurn) -> list[Output]:
        if not own.open:
            return []
        says: list[Output] = [Missed(own.message_id, self.owes_own)]
        self.owes_own = False
        if self._carried:
            says.append(TextOutput(EARLIER + "\n\n".join(self._carried) + NOW))
            self._carried.clear()
        return says

    def _piece(self, own: OwnTurn, content: str) -> list[Output]:
        text = own.cut.feed(content) if content else own.cut.flush() + BEGUN_AGAIN
        own.add(text)
        if not text or not own.open:
            return []
        own.told = own.length
        return [TextOutput(text, own.message_id, own.told)]

    def _taken_back(self, event: Delivery) -> list[Output]:
        own = self.own.get(event.message_id)
        if event.state != "cancelled" or own is None:
            return []
        del self.own[event.message_id]
        closes = (event.message_id,)
        return [End("Another device cancelled the message.", closes=closes)] if own.open else []

    def _end(self, own: OwnTurn, item: Committed) -> list[Output]:
        says: list[Output] = []
        rest = own.cut.flush()
        own.add(rest)
        del self.own[own.message_id]
        if not own.open:
            return self._end_closed(own, item)
        if rest:
            own.told = own.length
            says.append(TextOutput(rest, own.message_id, own.told))
        closes = (*self._carried_ids, own.message_id)
        self._carried_ids.clear()
        return [*says, end_of(item, closes)]

    def _end_closed(self, own: OwnTurn, item: Committed) -> list[Output]:
        whole = own.whole()
        if own.length > WHOLE_LIMIT:
            whole += "\n\n[The answer is longer; another device shows all of it.]"
        if any(turn.open for turn in self.own.values()):
            # The composer is locked for a later message: an end now would be taken for that message's end.
            self._carried += [whole] if whole else []
            self._carried_ids.append(own.message_id)
            return []
        end = end_of(item, (own.message_id,))
        return [TextOutput(whole, own.message_id, own.length, alone=True), end] if whole else [end]

    # ---- others' turns ----

    def _peer_piece(self, item: Committed, event: Message) -> list[Output]:
        turn = self._peers.setdefault(item.turn_id or "", PeerTurn())
        if not event.content:  # the block is taken back
            turn.cut, turn.offsets[event.block] = SummaryFilter(), 0
            return [Peer("peer_message", item)]
        text = turn.cut.feed(event.content)
        if not text:
            return []
        # The offsets omit the parts that were cut out too, so that `text[:offset] + content` stays right.
        offset = turn.offsets.get(event.block, event.offset)
        turn.offsets[event.block] = offset + len(text)
        return [Peer("peer_message", attrs.evolve(item, event=Message(text, event.block, offset)))]

    def _peer_end(self, item: Committed) -> list[Output]:
        says: list[Output] = []
        turn = self._peers.pop(item.turn_id or "", None)
        rest = turn.cut.flush() if turn is not None else ""
        if turn is not None and rest:
            block = next(reversed(turn.offsets), "")
            event = Message(rest, block, turn.offsets.get(block, 0))
            says.append(Peer("peer_message", attrs.evolve(item, event=event)))
        failed = isinstance(item.event, TurnError)
        return [*says, Peer("peer_error" if failed else "peer_complete", item)]
