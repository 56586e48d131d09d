"""Where an export reads: the data folder's database, or a server over HTTP. Both give events as devices see them."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs
import orjson
import trio

from actors.codec import decode_row
from actors.ports import Catalog, Journal
from builderos.client.connection import LinkLostError, Server
from builderos.client.frames import Frame, decode
from storage.records import SessionRecord
from transport.v3.events import encode_event
from transport.v3.replies import session_entry

__all__ = ["FolderSource", "HttpSource", "NoSessionError", "Source"]

PAGE_ROWS = 256
"""Events of one page; the database also bounds its bytes, and a server its answer."""

ANSWER_S = 30.0
"""How long a server may take to answer."""

MAX_ANSWER_BYTES = 160 * 1024 * 1024
"""More than a page of events can be: 256 of at most 512 KiB."""

SESSIONS_PAGE = 500


class NoSessionError(Exception):
    """There is no such session; one line for a person."""


class Source(Protocol):
    """Reads one session."""

    async def session(self) -> Mapping[str, Any]:
        """Return its entry as in `GET /api/sessions`. Raises NoSessionError, and what the source may raise."""
        ...

    async def page(self, after_seq: int) -> Sequence[Frame]:
        """Return the next events after a position, none at the end."""
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
    """Reads the database, with a server beside it or without. Raises StorageError.

    Attributes:
        show_device: whether to tell who made the session.
        page_rows: events that are read and turned into frames at once.
    """

    reading: Reads
    session_id: str
    show_device: Callable[[str], bool] = lambda _: True
    page_rows: int = PAGE_ROWS

    async def session(self) -> Mapping[str, Any]:
        """See `Source`."""
        record = await self._record()
        return session_entry(record, show_device=self.show_device(record.device_id))

    async def page(self, after_seq: int) -> Sequence[Frame]:
        """See `Source`."""
        epoch = (await self._record()).epoch
        rows = await self.reading.journal.read(self.session_id, after_seq, self.page_rows)
        return [decode(encode_event(self.session_id, epoch, decode_row(row))) for row in rows]

    async def _record(self) -> SessionRecord:
        record = await self.reading.catalog.get(self.session_id)
        if record is None:
            raise NoSessionError(f"there is no session {self.session_id}")
        return record


@attrs.frozen
class HttpSource:
    """Reads a server. Raises LinkLostError."""

    server: Server
    session_id: str

    async def session(self) -> Mapping[str, Any]:
        """See `Source`."""
        before: str | None = ""
        while before is not None:
            query = urllib.parse.urlencode({"limit": SESSIONS_PAGE, **({"before": before} if before else {})})
            body = await self._get(f"/api/sessions?{query}")
            for entry in body.get("sessions") or ():
                if entry.get("session_id") == self.session_id:
                    found: Mapping[str, Any] = entry
                    return found
            before = body.get("next_before")
        raise NoSessionError(f"there is no session {self.session_id} on {self.server.url}")

    async def page(self, after_seq: int) -> Sequence[Frame]:
        """See `Source`."""
        name = urllib.parse.quote(self.session_id, safe="")
        body = await self._get(f"/api/sessions/{name}/events?after_seq={after_seq}&limit={PAGE_ROWS}")
        return [decode(orjson.dumps(event)) for event in body.get("events") or ()]

    async def _get(self, path: str) -> Mapping[str, Any]:
        return await trio.to_thread.run_sync(self._get_now, path)

    def _get_now(self, path: str) -> Mapping[str, Any]:
        request = urllib.request.Request(self.server.url + path, headers={"X-API-Key": self.server.key})
        # no proxy: the key is for this server only
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        context = self.server.ssl_context()
        if context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=ANSWER_S) as answer:
                body = orjson.loads(answer.read(MAX_ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise NoSessionError(f"there is no session {self.session_id}") from error
            raise LinkLostError(f"the server answered {error.code} {error.reason}") from error
        except (OSError, orjson.JSONDecodeError) as error:
            reason = getattr(error, "reason", error)
            told = getattr(reason, "strerror", None) or reason
            raise LinkLostError(f"{self.server.url}: {told}") from error
        if not isinstance(body, dict):
            raise LinkLostError(f"{self.server.url} answered with something else than sessions")
        return body
