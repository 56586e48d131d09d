"""HTTP requests that are being answered, by the device that asked: they end with its key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import trio

__all__ = ["Underway"]


@attrs.define(eq=False)
class Underway:
    """See the module. One scope a request."""

    _scopes: dict[str, set[trio.CancelScope]] = attrs.field(factory=dict)

    @contextmanager
    def of(self, device_id: str) -> Iterator[trio.CancelScope]:
        """Answer a request inside the block, which `end` cancels."""
        with trio.CancelScope() as scope:
            self._scopes.setdefault(device_id, set()).add(scope)
            try:
                yield scope
            finally:
                self.spare(device_id, scope)

    def spare(self, device_id: str, scope: trio.CancelScope) -> None:
        """Let a request come to its end by itself: the one that revokes its own key. Idempotent."""
        scopes = self._scopes.get(device_id, set())
        scopes.discard(scope)
        if not scopes:
            self._scopes.pop(device_id, None)

    def end(self, device_id: str) -> None:
        """Cancel all requests of a device whose key was revoked. Never blocks."""
        for scope in tuple(self._scopes.get(device_id, ())):
            scope.cancel(reason="the key was revoked")
