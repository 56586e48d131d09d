"""Records which request an app connection showed last, so that a decision applies to that one. Pure."""

from __future__ import annotations

import attrs

__all__ = ["LastRequest"]


@attrs.define(eq=False)
class LastRequest:
    """The last request that was written to the app on one connection, over all its sessions."""

    session_id: str = ""
    request_id: str | None = None

    def show(self, session_id: str, request_id: str) -> None:
        """Record that a request is written to the app."""
        self.session_id, self.request_id = session_id, request_id

    def of(self, session_id: str) -> str | None:
        """Return the request that a decision for this session applies to, if it still waits; None if there is none."""
        return self.request_id if session_id == self.session_id else None
