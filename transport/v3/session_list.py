"""Sends entries of changed sessions, each at most once a second: of the attached ones, or after `watch_sessions` of
all."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Final

import attrs

from actors.ports import Catalog, Clock
from storage.errors import StorageError
from transport.ports import Nodes
from transport.v3 import replies
from transport.websocket.frames import text_frame
from transport.websocket.writer import DeviceWriter

__all__ = ["SessionFeed"]

INTERVAL_S: Final = 1.0
"""Least time between two entries of one session."""

ENTRIES_AT_ONCE: Final = 16
"""Entries that are read before the writer asks its other sources again."""

logger = logging.getLogger("builderos.transport")


@attrs.define(eq=False)
class SessionFeed:
    """A source of the connection's writer. Holds only ids, at most one for each session."""

    writer: DeviceWriter
    catalog: Catalog
    clock: Clock
    wants: Callable[[str], bool]
    nodes: Nodes | None = None
    active: bool = True
    _changed: dict[str, None] = attrs.field(factory=dict)
    _free_at: dict[str, float] = attrs.field(factory=dict)

    def changed(self, session_id: str) -> None:
        """Note that a session's entry may have changed."""
        if session_id not in self._changed and self.wants(session_id):
            self._changed[session_id] = None
            self.writer.mark_ready(self)

    async def take(self, now: float) -> bytes:
        """Implements `transport.websocket.writer.RoundSource`."""
        self._free_at = {name: at for name, at in self._free_at.items() if at > now}
        due = [name for name in self._changed if name not in self._free_at][:ENTRIES_AT_ONCE]
        texts: list[bytes] = []
        for session_id in due:
            del self._changed[session_id]
            self._free_at[session_id] = now + INTERVAL_S
            text = await self._entry(session_id)
            if text is not None:
                texts.append(text)
        return b"".join(map(text_frame, texts))

    def written(self, now: float) -> None:
        """Implements `transport.websocket.writer.RoundSource`."""

    def due(self, now: float) -> float:
        """Implements `transport.websocket.writer.RoundSource`."""
        return min((self._free_at.get(name, now) for name in self._changed), default=math.inf)

    async def _entry(self, session_id: str) -> bytes | None:
        try:
            record = await self.catalog.get(session_id)
            if record is None:
                return None
            unread = await self.catalog.unread_count(session_id, record.read_seq)
        except StorageError as error:
            # The entry is sent with the session's next change; a slightly old list does no harm.
            logger.warning("session %s: its list entry cannot be read: %s", session_id, error)
            return None
        machine = None if self.nodes is None else self.nodes.machine(record.owner)
        return replies.session_changed(record, unread, self.clock(), machine)
