"""`GET /api/search`: full-text search over all sessions, the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from storage.errors import SearchBusy
from storage.tables.search import Hit, Search
from transport.http.requests import wait_left
from transport.http.responses import HttpError, JsonAnswer, limit_of, number_of, query_of
from transport.ports import Device
from transport.v3.events import timestamp

__all__ = ["search"]

HITS_LIMIT: Final = 50
MAX_QUERY: Final = 1000
"""Characters of a query; only the first words count anyway."""

_ROLES: Final = {"user_message": "user", "message": "assistant"}


async def search(finder: Search, request: Request, _: Device) -> Response:
    """Return the entries that have all words."""
    (query,) = query_of(request, "q")
    if query is None or len(query) > MAX_QUERY:
        raise HttpError(400, "bad_request", f"q must be a text of at most {MAX_QUERY} characters.")
    limit = limit_of(request, HITS_LIMIT)
    before = number_of(request, "before")
    hits = await _find(finder, request, query, limit + 1, before)
    page = hits[:limit]
    entries = [
        {
            "session_id": hit.session_id,
            "seq": hit.seq,
            "role": _ROLES.get(hit.kind, "tool"),
            "snippet": hit.snippet,
            "timestamp": timestamp(hit.at_ms),
        }
        for hit in page
    ]
    last = str(page[-1].commit_no) if len(hits) > limit else None
    return JsonAnswer({"hits": entries, "next_before": last})


async def _find(
    finder: Search, request: Request, query: str, limit: int, before: int | None
) -> Sequence[Hit]:
    """Search, until the client disconnects. Raises HttpError, ClientDisconnect."""
    found: Sequence[Hit] | None = None
    is_busy = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_when_left, request, nursery.cancel_scope)
        try:
            found = await finder.find(query, limit, before)
        except SearchBusy:
            is_busy = True
        nursery.cancel_scope.cancel(reason="the search has ended")
    if is_busy:
        raise HttpError(503, "busy", "The search took too long. Try again, or use longer or more words.")
    if found is None:
        raise ClientDisconnect
    return found


async def _cancel_when_left(request: Request, scope: trio.CancelScope) -> None:
    await wait_left(request.receive)
    scope.cancel(reason="the client left")
