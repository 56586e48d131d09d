"""Brings what a person decided to the terminal that waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import attrs
import trio

from actors.events.permissions import PermissionResolved

__all__ = ["DeskAnswers"]


@attrs.define(eq=False)
class DeskAnswers:
    """The terminals that wait, by request."""

    _waiting: dict[str, trio.MemorySendChannel[PermissionResolved]] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self._waiting)

    def tell(self, resolved: PermissionResolved) -> None:
        """Pass a decision on, if a terminal waits for it. Never blocks."""
        channel = self._waiting.get(resolved.request_id)
        if channel is not None:
            with suppress(trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
                channel.send_nowait(resolved)

    @contextmanager
    def wait(self, request_id: str) -> Iterator[trio.MemoryReceiveChannel[PermissionResolved]]:
        """Give what the decision on a request comes through."""
        # One decision is all that a request gets.
        sent, received = trio.open_memory_channel[PermissionResolved](1)
        self._waiting[request_id] = sent
        try:
            with sent, received:
                yield received
        finally:
            del self._waiting[request_id]
