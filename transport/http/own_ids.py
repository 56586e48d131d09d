"""Session ids of the iOS app's own form in a path become their aliases (`storage.aliases`)."""

from __future__ import annotations

import attrs
from starlette.types import ASGIApp, Receive, Scope, Send

from storage.aliases import Aliases

__all__ = ["AliasedPaths"]


@attrs.frozen
class AliasedPaths:
    """Replaces session ids in a request's path. Stands behind the check of signed addresses: older ones name them."""

    app: ASGIApp
    aliases: Aliases

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = self.aliases.path(scope["path"])
        await self.app(scope, receive, send)
