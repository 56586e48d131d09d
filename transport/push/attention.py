"""Who looks at which session now, and which device a person used last.

An open connection says nothing of a person. A device sends `focus` while somebody uses it, which counts for 60 s. The
iOS app sends none, so its own last act counts as long. No look outlives its connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import attrs

from actors.ports import Clock

__all__ = ["LEASE_MS", "Attention", "DeviceLook"]

LEASE_MS: Final = 60_000
"""How long a look counts."""

MAX_LABELS: Final = 1_000
"""Labels whose last activity is remembered; the longest inactive are forgotten."""


@attrs.define(eq=False)
class DeviceLook:
    """What one connection looks at. `until_ms`: how long that counts."""

    key_id: str
    session_id: str | None = None
    until_ms: int = 0


@attrs.define(eq=False)
class Attention:
    """All looks and the last activity of labels, in memory. Nothing here blocks.

    Attributes:
        changed: called when somebody may have stopped looking.
    """

    clock: Clock
    changed: Callable[[], None] = lambda: None
    _looks: dict[int, DeviceLook] = attrs.field(factory=dict)
    _active: dict[str, None] = attrs.field(factory=dict)
    _listeners: dict[Callable[[dict[str, Any]], None], None] = attrs.field(factory=dict)

    def focus(
        self,
        connection: object,
        key_id: str,
        label: str,
        session_id: str | None,
        *,
        visible: bool,
        idle_ms: int,
    ) -> None:
        """Take a connection's `focus`; its newest one counts."""
        left_ms = LEASE_MS - idle_ms if visible else 0
        if left_ms > 0:
            self._note_active(label)
        look = self._looks.setdefault(id(connection), DeviceLook(key_id))
        look.session_id, look.until_ms = session_id, self.clock() + left_ms
        self.changed()

    def leave(self, connection: object) -> None:
        """Forget a connection that has ended."""
        if self._looks.pop(id(connection), None) is not None:
            self.changed()

    def use(self, label: str) -> None:
        """Note that a person used a device, without looking at a session."""
        self._note_active(label)

    def act(self, connection: object, key_id: str, label: str, session_id: str) -> None:
        """Note that a person did something on a device that sends no `focus`."""
        self._note_active(label)
        self._looks[id(connection)] = DeviceLook(key_id, session_id, self.clock() + LEASE_MS)

    def watchers(self, session_id: str) -> list[str]:
        """Return the keys of those that look at a session now."""
        now_ms = self.clock()
        return [
            one.key_id
            for one in self._looks.values()
            if one.session_id == session_id and one.until_ms > now_ms
        ]

    def active(self) -> list[str]:
        """Return labels, the one that was active last first."""
        return list(reversed(self._active))

    @contextmanager
    def listen(self, heard: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        """Call `heard` with the fields of each `alert` frame while inside the block. It must not block or raise."""
        self._listeners[heard] = None
        try:
            yield
        finally:
            del self._listeners[heard]

    def tell(self, fields: dict[str, Any]) -> None:
        """Send an `alert` frame to all who listen."""
        for heard in tuple(self._listeners):
            heard(fields)

    def _note_active(self, label: str) -> None:
        self._active.pop(label, None)
        self._active[label] = None
        if len(self._active) > MAX_LABELS:
            del self._active[next(iter(self._active))]
