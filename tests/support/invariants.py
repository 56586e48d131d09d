"""What must be true of a session and of all that its devices saw, after whatever happened (PROTOCOL section 5).

Everything here is pure and works on `Committed`, so that the crash suite (frames of real devices, read by
`committed_of`) and a simulation in one process hold to the same rules. Each function returns what is wrong; an
empty list is what a test wants. `actors.events.invariants` has the rules of one journal by itself.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, get_args

import attrs

from actors.events.codec import CONVERTER
from actors.events.committed import TURN_ENDS, Committed, Event
from actors.events.conversation import Message, Thinking, TurnStarted, UserMessage
from actors.events.invariants import violations
from actors.events.session import SessionUpdated
from actors.events.work import TaskProgress

__all__ = [
    "Problem",
    "accepted_problems",
    "committed_of",
    "journal_problems",
    "prompt_problems",
    "view_problems",
]

Kind = Literal["journal", "lost", "doubled", "gap", "stale", "orphan"]

_CLASSES: dict[str, type[Any]] = {cls.kind: cls for cls in get_args(Event)}
_TEXTS = ("user_message", "message", "thinking", "notice", "error")


@attrs.frozen
class Problem:
    """A broken promise.

    Attributes:
        kind: `journal` (a rule of `invariants.py`), `lost`, `doubled`, `gap`, `stale` (shown, and not so), or `orphan`.
        about: what, in words.
    """

    kind: Kind
    about: str


def committed_of(frame: Mapping[str, Any]) -> Committed:
    """Return the event of a frame of protocol version 3; `timestamp` becomes `at_ms`."""
    kind = frame["type"]
    body = {name: value for name, value in frame.items() if name != "content" or kind in _TEXTS}
    if kind == SessionUpdated.kind:
        body.pop("where", None)  # its frame has another form than its row
    if kind == TaskProgress.kind:
        body["progress"] = frame["content"]
    at_ms = round(datetime.fromisoformat(frame["timestamp"]).timestamp() * 1000)
    event: Event = CONVERTER.structure(body, _CLASSES[kind])
    first = frame.get("first_seq", frame["seq"])
    return Committed(frame["seq"], first, at_ms, frame["turn_id"], frame.get("device_id"), event)


def journal_problems(journal: Iterable[Committed], *, folded: bool = True) -> list[Problem]:
    """Return what is wrong with a whole journal by itself."""
    return [
        Problem("journal", f"{one.seq}: {one.rule}: {one.detail}")
        for one in violations(journal, folded=folded)
    ]


def accepted_problems(journal: Iterable[Committed], accepted: Mapping[str, int]) -> list[Problem]:
    """Return which accepted messages (id: the seq that the sender got) are not in the journal exactly once."""
    said: dict[str, list[int]] = {}
    for item in journal:
        if isinstance(item.event, UserMessage):
            said.setdefault(item.event.message_id, []).append(item.seq)
    problems = []
    for message_id, seq in accepted.items():
        found = said.get(message_id, [])
        if seq not in found:
            problems.append(Problem("lost", f"{message_id}, accepted as {seq}, is at {found}"))
        if len(found) > 1:
            problems.append(Problem("doubled", f"{message_id} is at {found}"))
    return problems


def prompt_problems(journal: Sequence[Committed], taken: Sequence[str]) -> list[Problem]:
    """Hold what an agent had against the journal.

    A message may be there once for each time that a person had it tried again, and once besides. One that was
    answered must be there.

    Args:
        journal: of the session.
        taken: the words of each message that the agent had, in its own record. Messages are distinguished by
            their words, so each must have words of its own.
    """
    words = {
        item.event.message_id: item.event.content for item in journal if isinstance(item.event, UserMessage)
    }
    turns: Counter[str] = Counter()
    answered: set[str] = set()
    for item in journal:
        if isinstance(item.event, TurnStarted):
            turns[words.get(item.event.message_id or "", "")] += 1
        elif item.event.kind == "delivery" and getattr(item.event, "state", "") == "answered":
            answered.add(words.get(getattr(item.event, "message_id", ""), ""))
    had = Counter(taken)
    doubled = [f"{text!r} {count} times" for text, count in had.items() if count > max(turns[text], 1)]
    return [Problem("doubled", f"the agent had {text}") for text in doubled] + [
        Problem("lost", f"answered, and the agent never had {text!r}") for text in answered if not had[text]
    ]


def view_problems(
    name: str, journal: Sequence[Committed], seen: Sequence[Committed], *, to_the_end: bool = True
) -> list[Problem]:
    """Hold what one device saw, over all its connections, against the journal.

    Args:
        name: of the device, for the words.
        journal: of the session.
        seen: the events in the order in which they came, in one epoch. It may begin anywhere.
        to_the_end: whether the device should have come to the journal's end.
    """
    view = _View(name, _Truth.of(journal))
    for item in seen:
        view.take(item)
    end = journal[-1].seq if journal else 0
    if to_the_end and (view.position or 0) < end:
        view.note("lost", f"it came to {view.position} of {end}")
    return view.problems


@attrs.frozen
class _Truth:
    """A journal, ready to be asked."""

    ends: list[int]
    items: Sequence[Committed]
    texts: dict[tuple[str | None, str, str], str]

    @classmethod
    def of(cls, journal: Sequence[Committed]) -> _Truth:
        texts: dict[tuple[str | None, str, str], str] = {}
        for item in journal:
            if isinstance(item.event, Message | Thinking):
                key = (item.turn_id, item.event.kind, item.event.block)
                texts[key] = texts.get(key, "") + item.event.content
        return cls([item.seq for item in journal], journal, texts)

    def at(self, seq: int) -> Committed | None:
        """Return what covers `seq`."""
        place = bisect_left(self.ends, seq)
        item = self.items[place] if place < len(self.items) else None
        return item if item is not None and item.first_seq <= seq else None


@attrs.define(eq=False)
class _View:
    name: str
    truth: _Truth
    position: int | None = None
    problems: list[Problem] = attrs.field(factory=list)
    _started: set[str | None] = attrs.field(factory=set)
    _texts: dict[tuple[str | None, str, str], str] = attrs.field(factory=dict)

    def note(self, kind: Kind, about: str) -> None:
        self.problems.append(Problem(kind, f"{self.name}: {about}"))

    def take(self, item: Committed) -> None:
        position = item.first_seq - 1 if self.position is None else self.position
        if item.first_seq > position + 1:
            self.note("gap", f"{item.first_seq}-{item.seq} after {position}")
        elif item.seq <= position:
            self.note("doubled", f"{item.first_seq}-{item.seq} after {position}")
        self.position = max(position, item.seq)
        if isinstance(item.event, Message | Thinking):
            self._piece(item, item.event)
            return
        known = self.truth.at(item.seq)
        if known is None or (known.event, known.turn_id, known.device_id) != (
            item.event,
            item.turn_id,
            item.device_id,
        ):
            self.note("stale", f"{item.seq} is {known} in the journal, and it saw {item}")
        if isinstance(item.event, TurnStarted):
            self._started.add(item.turn_id)
        elif item.event.kind in TURN_ENDS and item.turn_id in self._started:
            self._ended(item)

    def _piece(self, item: Committed, event: Message | Thinking) -> None:
        key = (item.turn_id, event.kind, event.block)
        truth = self.truth.texts.get(key, "")
        if truth[event.offset : event.offset + len(event.content)] != event.content:
            self.note(
                "stale", f"the piece {item.first_seq}-{item.seq} at {event.offset} is not in the journal"
            )
        known = self._texts.get(key, "")
        if item.turn_id in self._started and event.offset > len(known):
            self.note("gap", f"{item.first_seq}-{item.seq} begins at {event.offset}, after {len(known)}")
        self._texts[key] = known[: event.offset] + event.content

    def _ended(self, item: Committed) -> None:
        for key, truth in self.truth.texts.items():
            if key[0] == item.turn_id and self._texts.get(key, "") != truth:
                have = len(self._texts.get(key, ""))
                self.note(
                    "lost", f"block {key[2]} of {item.turn_id} has {len(truth)} characters, here {have}"
                )
