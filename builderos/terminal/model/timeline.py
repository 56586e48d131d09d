"""The entries of a conversation in the order in which people read them. Pure.

A message stands directly before its turn's answer, also one that waited while another turn ran. Messages that still wait
stand at the end. So an entry has a `place`, which is close to, and not always, its seq.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from typing import Final

import attrs

from builderos.terminal.model.entries import AnswerEntry, Entry, MessageEntry, Note

__all__ = ["Timeline"]

_QUEUE: Final = float(2**40)
"""Where the queue begins: after every seq that a journal can have."""

_UNSENT: Final = float(2**50)

_place = attrgetter("place")


@attrs.define(eq=False)
class Timeline:
    """The entries, and by what they are found.

    Attributes:
        entries: by `place`.
        first_seq: from here on all is known; 1 or less: there is nothing before.
        dirty: keys of entries that changed since a reader emptied this.
        shape: grows with every change of the list itself.
        printed: what running tools have printed, by tool. It may come before their `tool_started`.
    """

    entries: list[Entry] = attrs.field(factory=list)
    messages: dict[str, MessageEntry] = attrs.field(factory=dict)
    answers: dict[str, AnswerEntry] = attrs.field(factory=dict)
    first_seq: int = 1
    dirty: set[str] = attrs.field(factory=set)
    shape: int = 0
    printed: dict[str, str] = attrs.field(factory=dict)
    _of_turn: dict[str, list[MessageEntry]] = attrs.field(factory=dict)

    def clear(self, first_seq: int) -> None:
        """Begin again from a seq."""
        self.entries.clear()
        self.messages.clear()
        self.answers.clear()
        self._of_turn.clear()
        self.dirty.clear()
        self.first_seq = first_seq
        self.shape += 1

    def print_tools(self, turn_id: str | None, printed: dict[str, str]) -> None:
        """Show what the running tools of a turn have printed."""
        self.printed = printed
        answer = self.answers.get(turn_id or "")
        if answer is not None:
            for tool in answer.tools.values():
                tool.printed = printed.get(tool.tool_id, "")
            self.touch(answer)

    def touch(self, entry: Entry) -> None:
        """Note that an entry changed."""
        entry.version += 1
        self.dirty.add(entry.key)

    def insert(self, entry: Entry) -> None:
        """Put a new entry where it belongs; a known one stays as it is."""
        if isinstance(entry, MessageEntry):
            if entry.message_id in self.messages:
                return
            self.messages[entry.message_id] = entry
            if entry.turn_id:
                self._of_turn.setdefault(entry.turn_id, []).append(entry)
        elif isinstance(entry, AnswerEntry):
            if entry.turn_id in self.answers:
                return
            self.answers[entry.turn_id] = entry
        self._put(entry)
        if isinstance(entry, AnswerEntry):
            for one in self._of_turn.get(entry.turn_id, ()):
                self.replace(one)

    def replace(self, entry: MessageEntry) -> None:
        """Put a message where it belongs by now."""
        if entry.place == self._place_of(entry):
            return
        self._take_out(entry)
        self._put(entry)

    def remove(self, message_id: str) -> None:
        """Drop a message that was never sent."""
        entry = self.messages.pop(message_id, None)
        if entry is not None:
            self._take_out(entry)

    def arrived(self, message_id: str, seq: int, turn_id: str | None) -> MessageEntry | None:
        """Return our own message that the server has now; None if it is not one that waited here."""
        entry = self.messages.get(message_id)
        if entry is None or entry.state != "waiting":
            return None
        entry.seq, entry.turn_id, entry.state = seq, turn_id, "sent"
        if turn_id:
            self._of_turn.setdefault(turn_id, []).append(entry)
        self.replace(entry)
        return entry

    def touch_unsent(self) -> None:
        """Have the messages that wait in our outbox drawn again."""
        for entry in self.messages.values():
            if entry.state == "waiting":
                self.touch(entry)

    def before(self, entry: Entry) -> AnswerEntry | None:
        """Return the answer before an entry."""
        at = self.index(entry)
        return next((one for one in reversed(self.entries[:at]) if isinstance(one, AnswerEntry)), None)

    def index(self, entry: Entry) -> int:
        """Return where an entry is."""
        at = bisect_left(self.entries, entry.place, key=_place)
        while at < len(self.entries) and self.entries[at] is not entry:
            at += 1
        return at

    def _take_out(self, entry: Entry) -> None:
        at = self.index(entry)
        if at < len(self.entries):
            del self.entries[at]
            self.shape += 1

    def _put(self, entry: Entry) -> None:
        entry.place = self._place_of(entry)
        self.shape += 1
        if not self.entries or self.entries[-1].place < entry.place:
            self.entries.append(entry)
        else:
            self.entries.insert(bisect_left(self.entries, entry.place, key=_place), entry)

    def _place_of(self, entry: Entry) -> float:
        if isinstance(entry, Note):
            return entry.place or float(entry.seq)
        if not isinstance(entry, MessageEntry):
            return float(entry.seq)
        if entry.state == "waiting":
            return _UNSENT + entry.seq
        answer = self.answers.get(entry.turn_id or "")
        if answer is not None:
            # several messages of one turn keep their order between the seq before the answer's and the answer's own
            return answer.seq - 0.5 + 0.4 * entry.seq / (entry.seq + 1e6)
        return _QUEUE + entry.seq if entry.state == "queued" else float(entry.seq)
