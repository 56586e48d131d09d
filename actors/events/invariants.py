"""What must be true of a session's journal, whatever happened while it was written (PROTOCOL sections 3 and 5).

Pure, and apart from the state machine on purpose: it shares no code with what writes a journal but the classes
of events and the measure of a text, so that a defect there cannot hide itself here. `Verifier` takes one event
after the other; it keeps what the running turn needs, and a few words for each message and turn of the session.

The rules, by name:

- gap, overlap: the rows' ranges follow each other from 1 on; only pieces cover more than one seq.
- turn: each turn is started once and ends once, one at a time; what belongs to a turn stands between, but for
  the notice that a message for later is kept back, which comes before its turn; its start is followed by the
  hand-over, and its end is its last event and agrees with what became of its message.
- delivery: each message goes along the edges of `EDGES`, and only for a steered one is a hand-over taken back.
- message: a message id is accepted once, and no event names one that was not.
- permission, task: what a turn opens is closed once, in that turn, before its end.
- tool: a tool's end belongs to its beginning.
- text: offsets, length and hash are those of the pieces.
- fold: no row is too large, and a finished turn's neighbouring pieces lie in as few rows as they can.
- count: `message_count` is the number of messages and answers so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final, Literal

import attrs

from actors.events.committed import TURN_ENDS, Committed
from actors.events.conversation import (
    BranchLeft,
    Complete,
    Delivery,
    Message,
    Notice,
    Thinking,
    TurnStarted,
    UserMessage,
)
from actors.events.permissions import PermissionRequested, PermissionResolved
from actors.events.pieces import MAX_PIECE_BYTES, json_size
from actors.events.session import Checkpoint, SessionUpdated, Undone, UndoStarted
from actors.events.work import TaskFinished, TaskProgress, TaskStarted, ToolFinished, ToolStarted

__all__ = ["EDGES", "MessageRecord", "Rule", "Verifier", "Violation", "violations"]

Rule = Literal[
    "gap", "overlap", "turn", "delivery", "message", "permission", "task", "tool", "text", "fold", "count"
]

MAX_FOUND = 100
"""Violations kept of one session: if so much is wrong, more of it helps nobody."""

EDGES: Final[Mapping[str, frozenset[str]]] = {
    "accepted": frozenset({"queued", "handed"}),
    "queued": frozenset({"handed", "cancelled"}),
    "handed": frozenset({"consumed", "queued", "failed", "interrupted", "unknown"}),
    "consumed": frozenset({"answered", "failed", "interrupted"}),
    "unknown": frozenset({"handed", "queued", "cancelled"}),
    "answered": frozenset(),
    "failed": frozenset(),
    "interrupted": frozenset(),
    "cancelled": frozenset(),
}
"""From each delivery state the next ones; `accepted` is that of the `user_message` itself."""

_OUTCOMES: Final[Mapping[str, frozenset[str]]] = {
    "complete": frozenset({"answered"}),
    "error": frozenset({"failed", "unknown"}),
    "interrupted": frozenset({"interrupted"}),
}
_OUTSIDE: Final = frozenset({"queued", "cancelled"})
"""Delivery states that need no running turn."""

_SETTLED: Final = frozenset({"answered", "failed", "interrupted", "unknown"})


@attrs.frozen
class Violation:
    """Something that may not be: where (the seq of the row that showed it), which rule, and what it is."""

    seq: int
    rule: Rule
    detail: str


@attrs.define
class MessageRecord:
    """What the journal said of one message so far: the seq where it is first named, and its delivery state."""

    seq: int
    state: str


@attrs.define(eq=False)
class _Open:
    """The running turn."""

    turn_id: str
    message_id: str | None
    handed: bool = False
    settled: bool = False
    steered: set[str] = attrs.field(factory=set)
    requests: set[str] = attrs.field(factory=set)
    tasks: set[str] = attrs.field(factory=set)
    tools: set[str] = attrs.field(factory=set)
    lengths: dict[tuple[str, str], int] = attrs.field(factory=dict)
    texts: dict[str, list[str]] = attrs.field(factory=dict)
    last: Committed | None = None
    last_size: int = 0
    unfolded_seq: int | None = None


@attrs.define(eq=False)
class Verifier:
    """Takes the events of one session from the first on, in order.

    Attributes:
        imported_prefix: what the ids of messages and turns begin with that came from elsewhere, long after; of
            these less is asked: a question may have failed without a turn, an answer may have no question.
        folded: without it rows of finished turns need not be folded: for events as they were when they came.
        found: what is wrong, at most `MAX_FOUND` of it.
        position: the last seq.
        message_count: messages and answers so far.
        messages: the record of each message.
    """

    imported_prefix: str | None = None
    folded: bool = True
    found: list[Violation] = attrs.field(factory=list)
    position: int = 0
    message_count: int = 0
    messages: dict[str, MessageRecord] = attrs.field(factory=dict)
    _ended: set[str] = attrs.field(factory=set)
    _background: set[str] = attrs.field(factory=set)
    _turn: _Open | None = None

    @property
    def open_turn(self) -> str | None:
        """The turn that runs where the events end."""
        return None if self._turn is None else self._turn.turn_id

    def take(self, item: Committed) -> None:
        """Hold the next event against the rules."""
        self._check_range(item)
        event, turn = item.event, self._turn
        if item.turn_id is not None and item.turn_id in self._ended:
            self._note(item, "turn", f"{event.kind} after the end of its turn {item.turn_id}")
            return
        match event:
            case UserMessage():
                self._said(item, event)
            case Delivery():
                self._delivered(item, event)
            case TurnStarted():
                self._started(item, event)
            case SessionUpdated() | Checkpoint() | UndoStarted() | Undone() | BranchLeft():
                pass
            case Notice() if item.turn_id is None or self._waits(item, event):
                pass
            case TaskStarted(background=True) | TaskProgress(background=True) | TaskFinished(background=True):
                self._worked_in_background(item, event)
            case _ if turn is None or item.turn_id != turn.turn_id:
                self._note(item, "turn", f"{event.kind} of {item.turn_id}, which does not run")
            case _ if not turn.handed:
                self._note(item, "turn", f"{event.kind} before the hand-over of {turn.message_id}")
            case _ if event.kind in TURN_ENDS:
                self._end(item, turn)
            case _ if turn.settled:
                self._note(item, "turn", f"{event.kind} after the outcome of {turn.message_id}")
            case Message() | Thinking():
                self._piece(item, event, turn)
            case _:
                self._work(item, turn)

    # ---- the rules, one by one ----

    def _note(self, item: Committed, rule: Rule, detail: str) -> None:
        if len(self.found) < MAX_FOUND:
            self.found.append(Violation(item.seq, rule, detail))

    def _check_range(self, item: Committed) -> None:
        if item.first_seq > self.position + 1:
            self._note(item, "gap", f"{item.first_seq} follows {self.position}")
        elif item.first_seq <= self.position:
            self._note(item, "overlap", f"{item.first_seq}-{item.seq} follows {self.position}")
        if item.first_seq > item.seq:
            self._note(item, "overlap", f"the range {item.first_seq}-{item.seq} ends before it begins")
        elif item.first_seq != item.seq and not isinstance(item.event, Message | Thinking):
            self._note(item, "overlap", f"one {item.event.kind} covers {item.first_seq}-{item.seq}")
        self.position = max(self.position, item.seq)

    def _said(self, item: Committed, event: UserMessage) -> None:
        self.message_count += 1
        if event.message_id in self.messages:
            first = self.messages[event.message_id].seq
            self._note(item, "message", f"{event.message_id} was accepted at {first} already")
            return
        self.messages[event.message_id] = MessageRecord(item.seq, "accepted")

    def _delivered(self, item: Committed, event: Delivery) -> None:
        told = self.messages.get(event.message_id)
        if told is None:
            if not self._is_imported(event.message_id):
                self._note(item, "message", f"{event.state} of {event.message_id}, which nobody sent")
            told = self.messages[event.message_id] = MessageRecord(item.seq, "accepted")
        before, told.state = told.state, event.state
        if event.state not in EDGES[before] and not self._may_skip(event, before):
            self._note(item, "delivery", f"{event.message_id} went from {before} to {event.state}")
        if event.state in _OUTSIDE:
            self._taken_back(item, event, before)
            return
        turn = self._turn
        if turn is None or item.turn_id != turn.turn_id:
            if not self._is_imported(event.message_id):
                self._note(item, "delivery", f"{event.message_id} {event.state} outside a running turn")
        elif event.message_id == turn.message_id:
            turn.handed = turn.handed or event.state == "handed"
            turn.settled = event.state in _SETTLED
        elif event.state == "handed":
            turn.steered.add(event.message_id)
        elif event.message_id not in turn.steered:
            self._note(item, "delivery", f"{event.message_id} {event.state} in the turn of another message")

    def _taken_back(self, item: Committed, event: Delivery, before: str) -> None:
        if before != "handed":
            return
        if self._turn is None or event.message_id not in self._turn.steered:
            self._note(item, "delivery", f"{event.message_id} was handed over and queued again")
        else:
            self._turn.steered.remove(event.message_id)

    def _waits(self, item: Committed, event: Notice) -> bool:
        """Tell whether a notice is of a message for later: its turn is still to start."""
        return event.code == "later_held" and (self._turn is None or item.turn_id != self._turn.turn_id)

    def _may_skip(self, event: Delivery, before: str) -> bool:
        if not self._is_imported(event.message_id):
            return False
        # A question that failed without a turn, and a second answer to the same question.
        return (before, event.state) == ("accepted", "failed") or event.state == "handed"

    def _is_imported(self, any_id: str) -> bool:
        return self.imported_prefix is not None and any_id.startswith(self.imported_prefix)

    def _started(self, item: Committed, event: TurnStarted) -> None:
        self.message_count += 1
        turn_id = item.turn_id
        if turn_id is None:
            self._note(item, "turn", "a turn without an id")
            return
        if self._turn is not None:
            self._note(item, "turn", f"{turn_id} started while {self._turn.turn_id} runs")
            self._ended.add(self._turn.turn_id)
        message_id = event.message_id
        if message_id is None:
            if event.cause is None:
                self._note(item, "turn", f"{turn_id} has neither a message nor a cause")
        elif message_id not in self.messages and not self._is_imported(message_id):
            self._note(item, "message", f"a turn of {message_id}, which nobody sent")
        self._turn = _Open(turn_id, message_id, handed=message_id is None)

    def _worked_in_background(
        self, item: Committed, event: TaskStarted | TaskProgress | TaskFinished
    ) -> None:
        if item.turn_id is not None and (self._turn is None or self._turn.turn_id != item.turn_id):
            self._note(item, "turn", f"{event.kind} of {item.turn_id}, which does not run")
        if isinstance(event, TaskStarted):
            self._background.add(event.task_id)
        elif event.task_id not in self._background:
            self._note(item, "task", f"{event.kind} of {event.task_id}, which is not open")
        elif isinstance(event, TaskFinished):
            self._background.remove(event.task_id)

    def _end(self, item: Committed, turn: _Open) -> None:
        kind = item.event.kind
        for rule, left in (("permission", turn.requests), ("task", turn.tasks)):
            for one in sorted(left):
                self._note(item, "task" if rule == "task" else "permission", f"{one} is open at the end")
        told = None if turn.message_id is None else self.messages.get(turn.message_id)
        if told is not None and told.state not in _OUTCOMES[kind]:
            self._note(item, "turn", f"{kind}, and {turn.message_id} is {told.state}")
        for message_id in sorted(turn.steered):
            if (state := self.messages[message_id].state) in ("handed", "consumed"):
                self._note(item, "delivery", f"{message_id}, steered, is {state} at the end")
        if self.folded and turn.unfolded_seq is not None and not self._is_imported(turn.turn_id):
            self._note(item, "fold", f"the piece at {turn.unfolded_seq} is not folded with its neighbour")
        if isinstance(item.event, Complete):
            self._check_complete(item, item.event, turn)
        self._ended.add(turn.turn_id)
        self._turn = None

    def _check_complete(self, item: Committed, event: Complete, turn: _Open) -> None:
        text = "".join("".join(parts) for parts in turn.texts.values())
        if event.text_length != len(text):
            self._note(item, "text", f"text_length {event.text_length}, and the pieces have {len(text)}")
        elif event.text_sha256 != sha256(text.encode()).hexdigest():
            self._note(item, "text", "text_sha256 is not that of the pieces")
        if event.message_count != self.message_count:
            self._note(
                item, "count", f"message_count {event.message_count}, and there are {self.message_count}"
            )

    def _piece(self, item: Committed, event: Message | Thinking, turn: _Open) -> None:
        block = (event.kind, event.block)
        if not event.content and event.offset == 0:
            turn.lengths[block] = 0
            if isinstance(event, Message):
                turn.texts[event.block] = []
            turn.last = None
            return
        so_far = turn.lengths.get(block, 0)
        if event.offset != so_far:
            self._note(item, "text", f"offset {event.offset} of {event.block}, which has {so_far}")
        turn.lengths[block] = so_far + len(event.content)
        if isinstance(event, Message):
            turn.texts.setdefault(event.block, []).append(event.content)
        size = json_size(event.content)
        if size > MAX_PIECE_BYTES:
            self._note(item, "fold", f"a piece of {size} bytes")
        last = turn.last
        if (
            last is not None
            and last.seq + 1 == item.first_seq
            and isinstance(last.event, Message | Thinking)
            and (last.event.kind, last.event.block) == block
            and turn.last_size + size <= MAX_PIECE_BYTES
            and turn.unfolded_seq is None
        ):
            turn.unfolded_seq = item.seq
        turn.last, turn.last_size = item, size

    def _work(self, item: Committed, turn: _Open) -> None:
        match item.event:
            case PermissionRequested(request_id):
                if request_id in turn.requests:
                    self._note(item, "permission", f"{request_id} is asked again while it is open")
                turn.requests.add(request_id)
            case PermissionResolved(request_id):
                self._close(item, turn.requests, "permission", request_id)
            case TaskStarted(task_id):
                turn.tasks.add(task_id)
            case TaskFinished(task_id):
                self._close(item, turn.tasks, "task", task_id)
            case TaskProgress(task_id) if task_id not in turn.tasks:
                self._note(item, "task", f"progress of {task_id}, which is not open")
            case ToolStarted(tool_id):
                turn.tools.add(tool_id)
            case ToolFinished(tool_id, name) if name or tool_id in turn.tools:
                # Without a name: of a call whose beginning the agent never reported.
                self._close(item, turn.tools, "tool", tool_id)
            case _:
                pass

    def _close(self, item: Committed, opened: set[str], rule: Rule, one: str) -> None:
        if one in opened:
            opened.remove(one)
        else:
            self._note(item, rule, f"{item.event.kind} of {one}, which is not open")


def violations(
    items: Iterable[Committed], *, imported_prefix: str | None = None, folded: bool = True
) -> list[Violation]:
    """Return what is wrong with a session's events, all of them from the first on; see `Verifier`.

    A turn may be running at the end: that is not a violation.
    """
    verifier = Verifier(imported_prefix, folded)
    for item in items:
        verifier.take(item)
    return verifier.found
