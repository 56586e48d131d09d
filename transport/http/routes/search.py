"""`GET /api/search`: full text over all sessions, the newest first."""

from __future__ import annotations

from typing import Final

import attrs
from starlette.requests import Request
from starlette.responses import Response

from storage.tables.search import Search
from transport.http.responses import HttpError, JsonAnswer, limit_of, number_of
from transport.ports import Device
from transport.v3.events import timestamp

__all__ = ["SearchRoutes"]

HITS_LIMIT: Final = 50
MAX_QUERY: Final = 1000
"""Characters; only the first words count anyway."""

_ROLES: Final = {"user_message": "user", "message": "assistant"}


@attrs.frozen
class SearchRoutes:
    """See the module."""

    finder: Search

    async def search(self, request: Request, _: Device) -> Response:
        """Find what has all the words."""
        query = request.query_params.get("q")
        if query is None or len(query) > MAX_QUERY:
            raise HttpError(400, "bad_request", f"q must be a text of at most {MAX_QUERY} characters.")
        limit = limit_of(request, HITS_LIMIT)
        before = number_of(request, "before")
        hits = list(await self.finder.find(query, limit + 1, before))
        page = hits[:limit]
        shown = [
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
        return JsonAnswer({"hits": shown, "next_before": last})
