"""The headers that every answer has, whichever route made it."""

from __future__ import annotations

from typing import Final

import attrs
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["COMMON", "SafeHeaders"]

COMMON: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
"""What an answer gets that does not say otherwise itself. A browser's cache is no place for conversations.

`Strict-Transport-Security` is not among them, over our own TLS either: it holds for all ports of a host's name, and
would shut a browser out of whatever else that machine serves without TLS. This port speaks nothing but TLS anyway.
"""


@attrs.frozen
class SafeHeaders:
    """Adds to each answer what it lacks."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                there = {name.lower() for name, _ in headers}
                more = [pair for pair in COMMON if pair[0] not in there]
                message = {**message, "headers": [*headers, *more]}
            await send(message)

        await self.app(scope, receive, completed)
