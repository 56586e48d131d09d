"""Sessions, read only: the list, the messages, and the journal itself."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response

from actors.events.codec import decode_row
from actors.events.committed import Committed
from actors.events.conversation import TurnStarted, UserMessage
from storage.records import SessionRecord
from transport.http.responses import (
    HttpError,
    JsonAnswer,
    choice_of,
    decode_cursor,
    encode_cursor,
    limit_of,
    number_of,
)
from transport.http.routes.workspace import folder_of
from transport.ports import Deps, Device, Renders
from transport.transcript import ANSWER_KINDS, ENTRY_KINDS, Answers, entries
from transport.v3.decode import is_id
from transport.v3.events import encode_event
from transport.v3.replies import left_turns, session_entry

__all__ = ["SessionRoutes"]

SESSIONS_LIMIT: Final = 100
ROWS_LIMIT: Final = 200

_ARCHIVED: Final[dict[str, bool | None]] = {"true": True, "false": False, "all": None}

PAGE_LENGTH: Final = 4 * 1024 * 1024
"""Code points of the messages, and of the answers, in one page; a single entry may be longer."""

PAGE_SPAN: Final = 100_000
"""Events between the first and the last entry of a page: all of them are read for the answers."""

ANSWER_ROWS: Final = 256
"""Rows of answers that are read at once."""

PAGE_HTML_S: Final = 10.0
"""How long a page may wait for its renderings; typical answers take some milliseconds each."""

PAGE_HTML_CHARS: Final = 4 * 1024 * 1024
"""Characters of all renderings of a page: the newest entries come first, since people look at them first."""


@attrs.frozen
class SessionRoutes:
    """The routes that read sessions."""

    deps: Deps

    async def listing(self, request: Request, _: Device) -> Response:
        """Return the sessions, newest first."""
        limit = limit_of(request, SESSIONS_LIMIT)
        before = decode_cursor(request)
        archived = _ARCHIVED[choice_of(request, "archived", *_ARCHIVED) or "false"]
        workspace = folder_of(request)
        found = list(await self.deps.catalog.page(limit + 1, before, archived=archived, workspace=workspace))
        page = found[:limit]
        body = {
            "total": await self.deps.catalog.count(),
            "sessions": [session_entry(record, self._machine(record)) for record in page],
            "next_before": encode_cursor(page[-1].last_activity_ms, page[-1].session_id)
            if len(found) > limit
            else None,
        }
        return JsonAnswer(body)

    def _machine(self, record: SessionRecord) -> dict[str, str] | None:
        return None if self.deps.nodes is None else self.deps.nodes.machine(record.owner)

    async def events(self, request: Request, _: Device) -> Response:
        """Return the journal, in the form of the WebSocket's frames."""
        record = await self._record(request)
        limit = limit_of(request, ROWS_LIMIT)
        after = number_of(request, "after_seq") or 0
        rows = await self.deps.journal.read(record.session_id, after, limit)
        items = [decode_row(row) for row in rows]
        head = await self.deps.journal.head(record.session_id)
        more = bool(items) and items[-1].seq < head.seq
        texts = [encode_event(record.session_id, head.epoch, item) for item in items]
        start = JsonAnswer({"session_id": record.session_id, "epoch": head.epoch}).body
        last = str(items[-1].seq).encode() if more else b"null"
        body = bytes(start)[:-1] + b',"events":[' + b",".join(texts) + b'],"next_after":' + last + b"}"
        return JsonAnswer(body)

    async def messages(self, request: Request, _: Device) -> Response:
        """Return the messages, ascending: those after a place, or the last ones before one."""
        html = choice_of(request, "format", "html") is not None
        record = await self._record(request)
        limit = limit_of(request, ROWS_LIMIT)
        before, after = number_of(request, "before_seq"), number_of(request, "after_seq")
        if before is not None and after is not None:
            raise HttpError(400, "bad_request", "Use after_seq or before_seq, not both.")
        body: dict[str, Any] = {"session_id": record.session_id}
        if before is None:
            found, more = await self._after(record.session_id, after or 0, limit + 1)
            page, more = found[:limit], more or len(found) > limit
        else:
            found, more = await self._before(record.session_id, before, limit + 1)
            page, more = found[-limit:], more or len(found) > limit
        short = _within_span(page, newest=before is not None)
        page, more = short, more or len(short) < len(page)
        while (made := await self._entries(record.session_id, page, html=html)) is None:
            # Too much for one response: a shorter page, and the next one continues after it.
            half, more = max(len(page) // 2, 1), True
            page = page[:half] if before is None else page[-half:]
        body["next_after"] = page[-1].seq if more and before is None else None
        if before is not None:
            body["next_before"] = page[0].seq if more else None
        left = left_turns(record)
        for entry in made:
            if entry["turn_id"] in left:
                entry["left"] = True
        body["messages"] = made
        return JsonAnswer(body)

    async def _record(self, request: Request) -> SessionRecord:
        session_id = request.path_params["id"]
        record = await self.deps.catalog.get(session_id) if is_id(session_id) else None
        if record is None:
            raise HttpError(404, "not_found", "There is no such session.")
        return record

    async def _after(self, session_id: str, after: int, count: int) -> tuple[list[Committed], bool]:
        """Return up to `count` entries, fewer if they are long; and whether their length was the reason."""
        found: list[Committed] = []
        while len(found) < count and not (full := _length(found) > PAGE_LENGTH):
            page = await self._read(session_id, after, count - len(found), ENTRY_KINDS)
            if not page:
                break
            found.extend(page)
            after = page[-1].seq
        return found, full

    async def _before(self, session_id: str, before: int, count: int) -> tuple[list[Committed], bool]:
        found: list[Committed] = []
        full = False
        while len(found) < count and before > 0 and not (full := _length(found) > PAGE_LENGTH):
            rows = await self.deps.journal.read(
                session_id, 0, count - len(found), before=before, kinds=ENTRY_KINDS, newest=True
            )
            if not rows:
                break
            found[:0] = [decode_row(row) for row in rows]
            before = rows[0].seq
        return found, full

    async def _read(self, session_id: str, after: int, limit: int, kinds: Collection[str]) -> list[Committed]:
        rows = await self.deps.journal.read(session_id, after, limit, kinds=kinds)
        return [decode_row(row) for row in rows]

    async def _entries(
        self, session_id: str, page: Sequence[Committed], *, html: bool
    ) -> list[dict[str, Any]] | None:
        """Return the entries; None if several of them exceed the size of one response."""
        starts = [item for item in page if isinstance(item.event, TurnStarted)]
        answers = Answers(item.turn_id for item in starts if item.turn_id is not None)
        after = starts[0].seq if starts else 0
        while not answers.complete:
            rows = await self._read(session_id, after, ANSWER_ROWS, ANSWER_KINDS)
            if not rows:
                break
            answers.add(rows)
            if len(page) > 1 and answers.length > PAGE_LENGTH:
                return None
            after = rows[-1].seq
        ids = [item.event.message_id for item in page if isinstance(item.event, UserMessage)]
        known = await self.deps.journal.find_commands(session_id, ids) if ids else {}
        made = entries(page, {name: command.state for name, command in known.items()}, answers.by_turn)
        if html:
            await _add_html(self.deps.renderer, made, answers)
        return made


async def _add_html(renderer: Renders, made: Sequence[dict[str, Any]], answers: Answers) -> None:
    """Add `html` to entries, the newest first, as far as time and size allow."""
    left = PAGE_HTML_CHARS
    with trio.move_on_after(PAGE_HTML_S):  # noqa: ASYNC912 - a page without entries takes no time
        for entry in reversed(made):
            answer = answers.by_turn.get(entry["turn_id"]) if entry["role"] == "assistant" else None
            blocks = [("", entry["content"])] if answer is None else list(answer.blocks.items())
            html = await renderer.render(blocks)
            if html is not None and len(html) <= left:
                left -= len(html)
                entry["html"] = html


def _within_span(page: Sequence[Committed], *, newest: bool) -> list[Committed]:
    """Return the entries within a page's first, or last, `PAGE_SPAN` events; at least one."""
    if newest:
        return [item for item in page if page[-1].seq - item.seq <= PAGE_SPAN]
    return [item for item in page if item.seq - page[0].seq <= PAGE_SPAN]


def _length(items: Sequence[Committed]) -> int:
    return sum(len(item.event.content) for item in items if isinstance(item.event, UserMessage))
