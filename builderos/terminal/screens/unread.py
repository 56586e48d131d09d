"""The line above what came since a person last read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from builderos.terminal.model.conversation import ConversationModel
from builderos.terminal.model.entries import LineEntry, MessageEntry, Note

if TYPE_CHECKING:
    from builderos.terminal.client import Client

__all__ = ["UnreadLine"]


@attrs.define(eq=False)
class UnreadLine:
    """Draws it once. `seen`: what was shown once and is not shown again."""

    client: Client
    conversation: ConversationModel
    _since: int | None = None

    def draw(self, seen: set[str]) -> None:
        """Draw the line once all that was missed is there."""
        conversation = self.conversation
        if self._since is None and conversation.agent:
            self._since = conversation.read_seq
        if not self._since or "unread" in seen:
            return
        here = self.client.wire.shown.position if self.client.wire.shown is not None else None
        if here is None or here.seq < conversation.head_seq:
            return  # what was missed is still coming
        for entry in conversation.timeline.entries:
            if self._since < entry.seq <= conversation.head_seq and not (
                isinstance(entry, MessageEntry) and entry.device_id == conversation.me
            ):
                seen.add("unread")
                if entry.seq > conversation.timeline.first_seq:
                    note = Note("unread", LineEntry("unread", "new"), entry.seq)
                    note.place = entry.place - 0.01
                    conversation.timeline.insert(note)
                break
        self._since = 0
