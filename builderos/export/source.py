"""The source of an export: a database, read as events in the form that devices see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs

from actors.events.codec import decode_row
from actors.ports import Catalog, Journal
from builderos.client.wire.frames import Frame, decode
from storage.records import SessionRecord
from transport.v3.events import encode_event
from transport.v3.replies import session_entry

__all__ = ["FolderSource", "NoSessionError", "Source"]

PAGE_ROWS = 256
"""Events of one page; the database also bounds its bytes."""


class NoSessionError(Exception):
    """There is no such session; the text is one line for a person."""


class Source(Protocol):
    """Reads one session."""

    async def session(self) -> Mapping[str, Any]:
        """Return its entry as in `GET /api/sessions`. Raises NoSessionError, and the source's own errors."""
        ...

    async def page(self, after_seq: int) -> Sequence[Frame]:
        """Return the next events after a position; empty at the end."""
        ...


class Reads(Protocol):
    """An open database."""

    @property
    def journal(self) -> Journal:
        """Its events."""
        ...

    @property
    def catalog(self) -> Catalog:
        """Its sessions."""
        ...


@attrs.frozen
class FolderSource:
    """Reads the database, whether a server has it open or not. Raises StorageError.

    Attributes:
        page_rows: events that are read and turned into frames at once.
    """

    reading: Reads
    session_id: str
    page_rows: int = PAGE_ROWS

    async def session(self) -> Mapping[str, Any]:
        """Implements `Source`."""
        return session_entry(await self._record())

    async def page(self, after_seq: int) -> Sequence[Frame]:
        """Implements `Source`."""
        epoch = (await self._record()).epoch
        rows = await self.reading.journal.read(self.session_id, after_seq, self.page_rows)
        return [decode(encode_event(self.session_id, epoch, decode_row(row))) for row in rows]

    async def _record(self) -> SessionRecord:
        record = await self.reading.catalog.get(self.session_id)
        if record is None:
            raise NoSessionError(f"there is no session {self.session_id}")
        return record
