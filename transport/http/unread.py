"""Throws away what a client still sends of a request that is answered already.

Hypercorn hands a body over through a small queue and does not end a request before it could put its end
there too: an answer to a body that nobody reads on would leave both sides waiting for each other.
"""

from __future__ import annotations

import attrs
import trio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Unread"]


@attrs.frozen
class Unread:
    """The outermost layer. Once the answer begins, the routes read no more, and this does."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_read = False
        async with trio.open_nursery() as nursery:

            async def watched_receive() -> Message:
                nonlocal is_read
                message = await receive()
                is_read = not message.get("more_body", False)
                return message

            async def watched_send(message: Message) -> None:
                if message["type"] == "http.response.start" and not is_read:
                    nursery.start_soon(_throw_away, receive)
                await send(message)

            await self.app(scope, watched_receive, watched_send)
            nursery.cancel_scope.cancel(reason="answered")


async def _throw_away(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
