"""Denies permission requests that nobody answers within `permission_timeout_s`.

One task for all sessions, with the same ports as a device. It learns which sessions changed, looks up in the journal
since when each request waits, and denies like any device. So it works across a restart, and the first answer still
wins.
"""

from __future__ import annotations

import logging
import math
from typing import Final

import attrs
import trio

from actors.commands import Author, Decide, Envelope
from actors.errors import ActorError
from actors.events.codec import decode_row
from actors.events.permissions import PermissionRequested, PermissionResolved
from actors.replies import Reply
from storage.errors import StorageError
from transport.ports import Deps

__all__ = ["TIME_LIMIT", "PermissionTimeouts"]

TIME_LIMIT: Final = "time-limit"
"""The decider's name in `by_device`."""

LOOK_S: Final = 1.0
"""Least time between two checks of the changed sessions: one may change at every piece of an answer."""

RETRY_S: Final = 5.0

MAX_REQUESTS: Final = 200
"""Rows of one session to read; at most half as many requests wait at once."""

_KINDS: Final = frozenset({PermissionRequested.kind, PermissionResolved.kind})

logger = logging.getLogger("builderos.transport")


@attrs.define(eq=False)
class PermissionTimeouts:
    """One task that denies overdue requests."""

    deps: Deps
    timeout_s: float
    _changed: dict[str, None] = attrs.field(factory=dict)
    _due_ms: dict[str, dict[str, float]] = attrs.field(factory=dict)
    _wake: trio.Event = attrs.field(factory=trio.Event)

    def changed(self, session_id: str) -> None:
        """Note that a session's entry may have changed."""
        self._changed[session_id] = None
        self._wake.set()

    async def run(self) -> None:
        """Deny overdue requests until cancelled."""
        with self.deps.watch(self.changed):
            await self._recall()
            while True:
                await self._look()
                await self._deny_due()
                await trio.sleep(min(LOOK_S, self.timeout_s / 4))
                with trio.move_on_after(self._wait_s()):
                    await self._wake.wait()
                self._wake = trio.Event()

    async def _recall(self) -> None:
        try:
            for session_id in await self.deps.catalog.unfinished():
                self._changed[session_id] = None
        except StorageError as error:
            logger.warning("permission requests from before the start get no time limit: %s", error)

    def _wait_s(self) -> float:
        due_ms = min((at for requests in self._due_ms.values() for at in requests.values()), default=math.inf)
        if due_ms == math.inf:
            return math.inf
        return max(0.0, (due_ms - self.deps.clock()) / 1000)

    async def _look(self) -> None:
        changed, self._changed = self._changed, {}
        for session_id in changed:
            try:
                self._due_ms[session_id] = await self._waiting(session_id)
            except StorageError as error:
                logger.info("session %s: cannot read its requests: %s", session_id, error)
                self._changed[session_id] = None
            if not self._due_ms.get(session_id):
                self._due_ms.pop(session_id, None)

    async def _waiting(self, session_id: str) -> dict[str, float]:
        """Return when each open request of a session is to be denied."""
        record = await self.deps.catalog.get(session_id)
        if record is None or record.summary is None or record.summary.pending_count == 0:
            return {}
        if record.owner != self.deps.catalog.owner:
            return {}  # its own machine does that
        rows = await self.deps.journal.read(session_id, 0, MAX_REQUESTS, kinds=_KINDS, newest=True)
        due_ms: dict[str, float] = {}
        for item in map(decode_row, rows):
            if isinstance(item.event, PermissionRequested):
                due_ms[item.event.request_id] = item.at_ms + self.timeout_s * 1000
            elif isinstance(item.event, PermissionResolved):
                due_ms.pop(item.event.request_id, None)
        return due_ms

    async def _deny_due(self) -> None:
        now_ms = self.deps.clock()
        for session_id, requests in self._due_ms.items():
            for request_id in [one for one, at in requests.items() if at <= now_ms]:
                await self._deny(session_id, request_id)
                # Its event brings the session here again; without an event, it is tried again.
                requests[request_id] = now_ms + RETRY_S * 1000

    async def _deny(self, session_id: str, request_id: str) -> None:
        command = Decide(request_id, "deny", note="Nobody answered in time.", drives=True)
        author = Author(TIME_LIMIT, TIME_LIMIT, TIME_LIMIT)
        try:
            with trio.move_on_after(RETRY_S):
                await self.deps.bus.submit(session_id, Envelope(command, author, _ignore))
        except (ActorError, StorageError) as error:
            logger.info("session %s: cannot deny a request yet: %s", session_id, error)


def _ignore(_: Reply) -> None:
    """An earlier answer won."""
