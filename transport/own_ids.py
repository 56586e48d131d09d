"""Where ids of the iOS app's own form come in, their aliases go on (`storage.aliases`; PROTOCOL section 4, rule 12)."""

from __future__ import annotations

from typing import TypeVar

import attrs
from starlette.types import ASGIApp, Receive, Scope, Send

from storage.aliases import Aliases
from transport.client_frames import AttachFrame, Id

__all__ = ["AliasedPaths", "aliased"]

_Frame = TypeVar("_Frame")


def aliased(frame: _Frame, aliases: Aliases) -> _Frame:
    """Return a device's frame with aliases in the place of the app's own ids."""
    session_id = getattr(frame, "session_id", None)
    if isinstance(session_id, str) and (alias := aliases.session(session_id)) != session_id:
        frame = attrs.evolve(frame, session_id=alias)  # type: ignore[misc]  # whatever has a field is a class of ours
    if isinstance(frame, AttachFrame) and frame.device_id is not None:
        frame = attrs.evolve(frame, device_id=Id(aliases.device(frame.device_id)))
    return frame


@attrs.frozen
class AliasedPaths:
    """Replaces session ids in a request's path. Stands behind the check of signed addresses: older ones name them."""

    app: ASGIApp
    aliases: Aliases

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = self.aliases.path(scope["path"])
        await self.app(scope, receive, send)
