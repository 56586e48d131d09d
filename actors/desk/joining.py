"""Waits until a terminal can join the program of a session's hub, which is started if need be."""

from __future__ import annotations

import os
from pathlib import Path

import attrs
import orjson
import trio

from actors.commands import Author, Envelope, Warm
from actors.ports import FoundHub
from actors.replies import Reply
from actors.supervisor import Supervisor
from bridgehub.protocol.folder import can_join, codex_socket_of
from storage.records import SessionRecord

__all__ = ["POLL_S", "Joining", "shown_where"]

SHARED_S = 75.0
"""How long a hub's program may take to start, before the session is given to a terminal alone.

The hub gives a start up after 60 s and says so. A program of the terminal's own would take longer still: it starts another
one in the background, on a first time from a copy of 360 MB.
"""

HUBS = 3
"""Hubs that are started for it at most: one may end at this moment."""

POLL_S = 0.05
"""How often to look: neither the start of a program nor its end sends an event."""


@attrs.frozen
class Joining:
    """The wish of a terminal to join a session's program."""

    supervisor: Supervisor
    session_id: str
    author: Author

    async def wait(self) -> str:
        """Return where the program listens, once it does; empty if a terminal cannot join it.

        Raises:
            SessionMissing, ActorError, StorageError: nothing was done.
        """
        _, hub = await self._look()
        path = None if hub is None else codex_socket_of(Path(hub.socket))
        if path is not None and await trio.to_thread.run_sync(can_join, path) is False:
            path.unlink(missing_ok=True)  # of an earlier start: this one may go better
        with trio.move_on_after(SHARED_S):  # noqa: ASYNC912 - to ask waits
            for _ in range(HUBS):
                await self._ask()
                found = await self._wait_for_one()
                if found is not None:
                    return found
        return ""

    async def _ask(self) -> None:
        """Have the hub started, or its program kept; return once that is committed."""
        answered = trio.Event()

        def reply(_: Reply) -> None:
            answered.set()

        await self.supervisor.submit(self.session_id, Envelope(Warm(joins=True), self.author, reply))
        await answered.wait()

    async def _wait_for_one(self) -> str | None:
        """Return what `wait` does, for one hub; None if there is none or it has ended."""
        record, hub = await self._look()
        first = None if record is None else _hub_of(record)
        while record is not None:
            if first is None or _hub_of(record) != first:
                return None
            if hub is not None:
                path = codex_socket_of(Path(hub.socket))
                is_up = False if path is None else await trio.to_thread.run_sync(can_join, path)
                if is_up is not None:
                    return os.fspath(path) if path is not None and is_up else ""
            if record.summary is not None and record.summary.state == "waiting":
                return ""  # a person is asked before the program starts
            await trio.sleep(POLL_S)
            record, hub = await self._look()
        return ""

    async def _look(self) -> tuple[SessionRecord | None, FoundHub | None]:
        """Return the session, and its hub if one runs."""
        deps = self.supervisor.deps
        record = await deps.catalog.get(self.session_id)
        hub_id = None if record is None else _hub_of(record)
        hub = None if hub_id is None else await deps.hubs.find(hub_id)
        return record, hub if hub is not None and hub.alive else None


def shown_where(record: SessionRecord) -> object:
    """Return what program has a session open, as it was last seen; None if none has."""
    shown = record.summary.shown if record.summary is not None else None
    return None if shown is None else orjson.loads(shown).get("where")


def _hub_of(record: SessionRecord) -> str | None:
    return None if record.summary is None else record.summary.hub_id
