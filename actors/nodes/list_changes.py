"""Reports which entries of the list of all nodes' sessions may have changed: here, and to the other nodes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

import attrs
import trio

from actors.nodes.mail import ChangedMail, encode_mail
from actors.nodes.ports import Post
from actors.nodes.replicas import LOOK_S
from actors.ports import Catalog
from actors.tail import Watchers
from storage.errors import StorageError

__all__ = ["ListChanges"]

CHANGES_S: Final = 0.2
"""The least time between two mails about changed sessions."""

LISTED: Final = 200
"""Sessions whose entries are sent again after a node came or went: those at the top of the list."""

log = logging.getLogger("builderos.actors")


@attrs.define(eq=False)
class ListChanges:
    """The watch of the list. `run` works in the background."""

    post: Post
    catalog: Catalog
    _watchers: Watchers = attrs.field(factory=Watchers, init=False)
    _changed: dict[str, None] = attrs.field(factory=dict, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)

    def watch(self, changed: Callable[[str], None]) -> AbstractContextManager[None]:
        """Call `changed` with the id of every session of any node whose entry in a list may have changed."""
        return self._watchers.watch(changed)

    def tell(self, session_id: str) -> None:
        """Report a session to those who watch at this node. Never blocks."""
        self._watchers.tell(session_id)

    def note(self, session_id: str) -> None:
        """Report a session of this node to all nodes. Never blocks."""
        self._watchers.tell(session_id)
        self._changed[session_id] = None
        self._wake.set()

    def take(self, mail: ChangedMail) -> None:
        """Take what another node reports. Never blocks."""
        for session_id in mail.session_ids:
            self._watchers.tell(session_id)

    async def tell_top(self, homes: set[str]) -> None:
        """Report the sessions of nodes that came or went, as far as they are at the top of the list."""
        try:
            page = await self.catalog.page(LISTED)
        except StorageError as error:
            log.info("entries of nodes that came or went are not sent again: %s", error)
            return
        for record in page:
            if record.owner in homes:
                self._watchers.tell(record.session_id)

    async def run(self) -> None:
        """Send other nodes what was noted, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            changed, self._changed = self._changed, {}
            body = encode_mail(ChangedMail(tuple(changed)))
            for state in self.post.nodes.values():
                if state.is_alive and state.id != self.post.node:
                    self.post.post(state.id, body, within_s=LOOK_S)
            await trio.sleep(CHANGES_S)
