"""Makes this server one of several that share a database. Loaded only with `--node`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import attrs
import trio

from actors.nodes.calls import HomeCalls
from actors.nodes.home import SessionsAtHome
from actors.nodes.machines import Machines
from actors.nodes.moving import Moving
from actors.nodes.node_answers import NodeAnswers
from actors.nodes.node_calls import NodeCalls
from actors.nodes.notes import NodeNotes
from actors.nodes.replicas import Replicas
from actors.nodes.router import Router
from actors.supervisor import Supervisor
from builderos.ids import new_id
from storage.errors import StorageError
from storage.open_tables import Store
from storage.postgres.nodes.catalog import NodeCatalog
from storage.postgres.nodes.office import PostOffice
from storage.postgres.nodes.store import NodeStore
from storage.postgres.nodes.uploads import NodeUploads
from storage.tables.devices import DeviceRow
from transport.push.attention import Attention
from transport.push.notifier import Notifier

__all__ = ["ServerNodes", "open_nodes"]

NOTIFIER_S: Final = 5.0
"""How often the notifier looks for channels that were registered at other nodes."""

LOOKS: Final = "looks"
ALERT: Final = "alert"
REMOVED: Final = "removed"
"""Kinds of notes."""

SHARED_S: Final = 0.5
"""The least time between two notes about who looks at what."""

SHARED_AGAIN_S: Final = 20.0
"""After so long it is said again: a note may be lost, and a look counts for a minute."""

ALERT_FIELDS: Final = ("alert_id", "kind", "session_id", "state", "request_id", "by_device")

log = logging.getLogger("builderos.server")


def _ignore(_: str) -> None:
    pass


@attrs.define(eq=False)
class ServerNodes:
    """The parts of a node.

    Attributes:
        key_ended: called with each device whose key was revoked or replaced, here or at another node.
    """

    store: Store
    office: PostOffice
    router: Router
    machines: Machines
    moving: Moving
    nursery: trio.Nursery
    key_ended: Callable[[str], None] = _ignore
    _to_share: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def start(self) -> None:
        """Beat, and take the mail of the other nodes, until the server ends.

        Raises:
            StorageError: the database cannot be reached.
        """
        office, router = self.office, self.router
        office.on_mail, office.on_nodes, office.on_keys = router.take, self._nodes_changed, self.refresh_keys
        catalog, uploads, notes = self.store.catalog, self.store.uploads, router.notes
        assert isinstance(catalog, NodeCatalog)
        assert isinstance(uploads, NodeUploads)
        catalog.on_removed = lambda session_id: notes.let_know(REMOVED, {"session": session_id})
        notes.hear(
            REMOVED,
            lambda _, fields: self.nursery.start_soon(_forget_gone, uploads, str(fields["session"])),
        )
        await self.nursery.start(office.run, name="nodes")
        self.nursery.start_soon(router.run, name="sessions of other nodes")
        self.nursery.start_soon(self.moving.run, name="sessions that moved away")

    def _nodes_changed(self) -> None:
        self.router.nodes_changed()
        self._to_share.set()

    async def leave_files(self, session_id: str) -> None:
        """Remove the copies of files that only a session needed here which has moved away."""
        assert isinstance(self.store.uploads, NodeUploads)
        try:
            await self.store.uploads.leave(session_id)
        except StorageError as error:
            log.info("session %s: its files are left here until the next start: %s", session_id, error)

    async def share_attention(self, attention: Attention) -> None:
        """Let the node that notifies know who looks at what at this one, and pages here what it shows, until
        cancelled."""
        notes = self.router.notes
        notes.hear(LOOKS, attention.take)
        notes.hear(ALERT, lambda _, fields: attention.tell_here(_alert_of(fields)))
        attention.sent = partial(notes.let_know, ALERT)
        attention.noted = lambda: self._to_share.set()
        while True:
            with trio.move_on_after(SHARED_AGAIN_S):
                await self._to_share.wait()
            self._to_share = trio.Event()
            for state in self.office.nodes.values():
                if not state.is_alive:
                    attention.forget(state.id)
            notes.let_know(LOOKS, attention.share(), first_only=True)
            await trio.sleep(SHARED_S)

    async def refresh_keys(self) -> None:
        """Read the keys and codes as all nodes have them now. Raises StorageError."""
        for device_id in await self.store.devices.refresh():
            self.key_ended(device_id)
        await self.store.pairings.refresh()

    async def find_device(self, device_id: str) -> DeviceRow | None:
        """Return a device by its id, also one that is younger than what this node has read. Raises StorageError."""
        devices = self.store.devices
        if devices.get(device_id) is None:
            await self.refresh_keys()
        return devices.get(device_id)

    async def run_notifier(self, notifier: Notifier, run: Callable[[], Awaitable[None]]) -> None:
        """Run what only one node may run, while this is the one."""
        while True:
            changed = self.office.first_changed
            if self.office.is_first:
                log.info("notifications: this node sends them")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(run)
                    nursery.start_soon(_look_again, notifier)
                    await changed.wait()
                    nursery.cancel_scope.cancel(reason="another node may send them")
            else:
                await changed.wait()


def _alert_of(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an `alert` frame that another node sent."""
    return {name: str(fields[name]) for name in ALERT_FIELDS if name in fields}


async def _forget_gone(uploads: NodeUploads, session_id: str) -> None:
    try:
        await uploads.forget_gone(session_id)
    except StorageError as error:
        log.warning("session %s: it was removed, and its blobs here are left: %s", session_id, error)


async def _look_again(notifier: Notifier) -> None:
    while True:
        await trio.sleep(NOTIFIER_S)
        notifier.look_again()


@asynccontextmanager
async def open_nodes(opened: NodeStore, supervisor: Supervisor) -> AsyncIterator[ServerNodes]:
    """Make the parts of a node; `ServerNodes.start` starts them. They end with the block."""
    store, office = opened.store, opened.office
    async with trio.open_nursery() as nursery:
        calls = HomeCalls(office, store.journal, new_id, nursery)
        at_home = SessionsAtHome(
            office, supervisor, nursery, store.devices.was_revoked, partial(_is_home, store, supervisor)
        )
        node_calls, answers = NodeCalls(office, new_id), NodeAnswers(office, nursery)
        router = Router(
            supervisor,
            office,
            calls,
            node_calls,
            at_home,
            answers,
            store.catalog,
            store.journal,
            Replicas(office, store.journal, opened.journal, nursery, calls.settle),
            nursery,
            NodeNotes(office),
        )
        calls.told_others = router.tell_others

        async def find_device(device_id: str) -> DeviceRow | None:
            return await made.find_device(device_id)

        machines = Machines(
            office,
            router.known_home_of,
            office.is_fresh,
            node_calls,
            answers,
            find_device,
            opened.journal.counts,
        )

        def moved(session_id: str, home: str) -> None:
            router.moved(session_id, home)
            if home != machines.own:
                nursery.start_soon(made.leave_files, session_id)

        moving = Moving(supervisor, machines, opened.journal, moved)
        router.look_after_moved = supervisor.on_fenced = moving.look_after_moved
        made = ServerNodes(store, office, router, machines, moving, nursery)
        yield made
        nursery.cancel_scope.cancel(reason="the server ends")


async def _is_home(store: Store, supervisor: Supervisor, session_id: str) -> bool:
    if supervisor.is_live(session_id):
        return True
    record = await store.catalog.get(session_id)
    return record is not None and record.owner == store.catalog.owner
