"""The HTTP requests in progress, by device: they end if its key is revoked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import trio

__all__ = ["Underway"]


@attrs.define(eq=False)
class Underway:
    """The requests in progress, each with a cancel scope."""

    _scopes: dict[str, set[trio.CancelScope]] = attrs.field(factory=dict)

    @contextmanager
    def of(self, device_id: str) -> Iterator[trio.CancelScope]:
        """Run a request inside the block; `end` cancels it."""
        with trio.CancelScope() as scope:
            self._scopes.setdefault(device_id, set()).add(scope)
            try:
                yield scope
            finally:
                self.spare(device_id, scope)

    def spare(self, device_id: str, scope: trio.CancelScope) -> None:
        """Let one request finish: the one that revokes its own key. Idempotent."""
        scopes = self._scopes.get(device_id, set())
        scopes.discard(scope)
        if not scopes:
            self._scopes.pop(device_id, None)

    def end(self, device_id: str) -> None:
        """Cancel all requests of a device whose key was revoked. Never blocks."""
        for scope in tuple(self._scopes.get(device_id, ())):
            scope.cancel(reason="the key was revoked")
