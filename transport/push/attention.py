"""Who looks at which session now, and which device a person used last.

An open connection says nothing of a person. A device sends `focus` while somebody uses it, which counts for 60 s. The
iOS app sends none, so its own last act counts as long. No look outlives its connection.

If several nodes share the sessions, one of them notifies. The others share with it what happens at their connections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final

import attrs

from actors.ports import Clock

__all__ = ["LEASE_MS", "Attention", "DeviceLook"]

LEASE_MS: Final = 60_000
"""How long a look counts."""

MAX_SHARED: Final = 1_000
"""Looks that a node shares."""

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
        noted: called after a change at a connection of this node.
        sent: called with the fields of an `alert` frame that this node sent.
        heard: called if somebody hears `alert` frames from now on.
    """

    clock: Clock
    changed: Callable[[], None] = lambda: None
    noted: Callable[[], None] = lambda: None
    sent: Callable[[dict[str, Any]], None] = lambda _: None
    heard: Callable[[], None] = lambda: None
    _hear_elsewhere: set[str] = attrs.field(factory=set)
    _looks: dict[int, DeviceLook] = attrs.field(factory=dict)
    _elsewhere: dict[str, list[DeviceLook]] = attrs.field(factory=dict)
    _active: dict[str, None] = attrs.field(factory=dict)
    _unshared: dict[str, None] = attrs.field(factory=dict)
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
        self._note()

    def leave(self, connection: object) -> None:
        """Forget a connection that has ended."""
        if self._looks.pop(id(connection), None) is not None:
            self._note()

    def use(self, label: str) -> None:
        """Note that a person used a device, without looking at a session."""
        self._note_active(label)
        self.noted()

    def act(self, connection: object, key_id: str, label: str, session_id: str) -> None:
        """Note that a person did something on a device that sends no `focus`."""
        self._note_active(label)
        self._looks[id(connection)] = DeviceLook(key_id, session_id, self.clock() + LEASE_MS)
        self.noted()

    def watchers(self, session_id: str) -> list[str]:
        """Return the keys of those that look at a session now."""
        now_ms = self.clock()
        return [
            one.key_id
            for one in (*self._looks.values(), *chain.from_iterable(self._elsewhere.values()))
            if one.session_id == session_id and one.until_ms > now_ms
        ]

    def active(self) -> list[str]:
        """Return labels, the one that was active last first."""
        return list(reversed(self._active))

    @contextmanager
    def listen(self, heard: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        """Call `heard` with the fields of each `alert` frame while inside the block. It must not block or raise."""
        self._listeners[heard] = None
        self.heard()
        self.noted()
        try:
            yield
        finally:
            del self._listeners[heard]
            self.noted()

    @property
    def is_heard(self) -> bool:
        """Whether somebody hears `alert` frames, at any node."""
        return bool(self._listeners or self._hear_elsewhere)

    def tell(self, fields: dict[str, Any]) -> None:
        """Send an `alert` frame to all who listen, at any node."""
        self.tell_here(fields)
        self.sent(fields)

    def tell_here(self, fields: dict[str, Any]) -> None:
        """Send an `alert` frame to all who listen at this node."""
        for heard in tuple(self._listeners):
            heard(fields)

    # ---- over nodes ----

    def share(self) -> dict[str, Any]:
        """Return what another node must know: all looks with what is left of them, and who was active since the last
        call. Clocks differ, so no time is in it."""
        now_ms = self.clock()
        looks = [(one.key_id, one.session_id, one.until_ms - now_ms) for one in self._looks.values()]
        active, self._unshared = list(self._unshared), {}
        looks = [one for one in looks if one[2] > 0][:MAX_SHARED]
        return {"looks": looks, "active": active, "hears": bool(self._listeners)}

    def take(self, node: str, fields: dict[str, Any]) -> None:
        """Take what another node shares. Raises KeyError, TypeError, ValueError: it cannot be read."""
        now_ms, looks = self.clock(), []
        for key_id, session_id, left_ms in fields["looks"][:MAX_SHARED]:
            until_ms = now_ms + min(int(left_ms), LEASE_MS)
            looks.append(DeviceLook(str(key_id), None if session_id is None else str(session_id), until_ms))
        active = [str(label) for label in fields["active"][:MAX_LABELS]]
        self._elsewhere[node] = looks
        for label in active:
            self._remember(label)
        if fields.get("hears"):
            self._hear_elsewhere.add(node)
            self.heard()
        else:
            self._hear_elsewhere.discard(node)
        self.changed()

    def forget(self, node: str) -> None:
        """Forget the looks at a node that is gone."""
        self._hear_elsewhere.discard(node)
        if self._elsewhere.pop(node, None):
            self.changed()

    # ---- here ----

    def _note(self) -> None:
        self.changed()
        self.noted()

    def _note_active(self, label: str) -> None:
        self._remember(label)
        self._unshared[label] = None
        if len(self._unshared) > MAX_LABELS:
            del self._unshared[next(iter(self._unshared))]

    def _remember(self, label: str) -> None:
        self._active.pop(label, None)
        self._active[label] = None
        if len(self._active) > MAX_LABELS:
            del self._active[next(iter(self._active))]
