"""A wire between a server and its database that a test can cut: nothing passes then, and no side hears of it.

A connection over a wire that is cut ends when its words are not heard for `tcp_user_timeout`, as TCP would end it. A
database that hangs is another case: TCP takes all that is said, and nobody answers.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import attrs
import trio

__all__ = ["Wire", "open_wire"]

UNHEARD_S = 3.0
"""The `tcp_user_timeout` of `storage.postgres.connection`."""


@attrs.define(eq=False)
class Wire:
    """The wire. `url`: of the database behind it."""

    url: str
    _port: int
    _whole: trio.Event = attrs.field(factory=trio.Event)
    _unheard_s: float = UNHEARD_S

    def cut(self) -> None:
        """Let nothing pass from now on."""
        self._whole, self._unheard_s = trio.Event(), UNHEARD_S

    def hang(self) -> None:
        """Let nothing pass from now on, though all is heard."""
        self._whole, self._unheard_s = trio.Event(), math.inf

    def restore(self) -> None:
        """Let all pass again, what was held too."""
        self._whole.set()

    @asynccontextmanager
    async def restored(self) -> AsyncIterator[None]:
        """Restore it at the end of the block, so that a node behind it can end."""
        try:
            yield
        finally:
            self.restore()

    async def carry(self, near: trio.SocketStream) -> None:
        """Serve one connection."""
        try:
            await self._whole.wait()
            far = await trio.open_tcp_stream("127.0.0.1", self._port)
            async with near, far, trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, near, far, nursery.cancel_scope)
                nursery.start_soon(self._pump, far, near, nursery.cancel_scope)
        except OSError:
            await near.aclose()

    async def _pump(
        self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        try:
            while data := await source.receive_some(65_536):
                with trio.move_on_after(self._unheard_s) as unheard:
                    await self._whole.wait()
                if unheard.cancelled_caught:
                    break
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()


@asynccontextmanager
async def open_wire(url: str) -> AsyncIterator[Wire]:
    """Lay a wire to the database of a URL, whole at first."""
    parts = urlsplit(url)
    assert parts.port is not None
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        near = parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}")
        wire = Wire(urlunsplit(near), parts.port)
        wire.restore()
        await nursery.start(trio.serve_listeners, wire.carry, [listener])
        yield wire
        nursery.cancel_scope.cancel()
