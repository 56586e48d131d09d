"""One process of a node: the real router, calls and replicas, over the simulated post and the shared store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from actors.nodes.calls import HomeCalls
from actors.nodes.home import SessionsAtHome
from actors.nodes.node_answers import NodeAnswers
from actors.nodes.node_calls import NodeCalls
from actors.nodes.notes import NodeNotes
from actors.nodes.replicas import Replicas
from actors.nodes.router import Router
from actors.supervisor import Supervisor
from storage.errors import Fenced, StorageUnavailable
from storage.records import Entry, Fold, Grant, NewSession, SessionRecord, Summary
from tests.simulation.nodes.alerts import AlertBook, Begun, Reader, run_alerts
from tests.simulation.nodes.post import PostRoom, SimPost
from tests.simulation.server import SimServer
from tests.simulation.store import StoreHandle
from transport.websocket.heartbeat import Heartbeat

__all__ = ["NodeServer", "NodeStoreHandle"]

HEARTBEAT_S = 0.5


@attrs.define(eq=False, kw_only=True)
class NodeStoreHandle(StoreHandle):
    """One node's store. All appends are durable, and it acquires and recovers its own sessions only."""

    room: PostRoom
    book: AlertBook
    _begun: dict[str, Begun] = attrs.field(factory=dict)

    async def _arrive(self, *, writes: bool) -> None:
        await StoreHandle._arrive(self, writes=writes)
        if self.room.is_cut(self.owner, self.life):
            raise StorageUnavailable("the database cannot be reached")

    async def acquire(self, session_id: str) -> Grant:
        """See `actors.ports.Ownership`."""
        if self.store.record(session_id) is not None and not self._is_own(session_id):
            raise Fenced("its home is another node")
        return await StoreHandle.acquire(self, session_id)

    async def unfinished(self) -> Sequence[str]:
        """See `actors.ports.Catalog`."""
        return [name for name in await StoreHandle.unfinished(self) if self._is_own(name)]

    async def due(self, limit: int) -> Sequence[tuple[str, int]]:
        """See `actors.ports.Catalog`."""
        return [one for one in await StoreHandle.due(self, 1 << 30) if self._is_own(one[0])][:limit]

    async def append(
        self,
        grant: Grant,
        expected_seq: int,
        entries: Sequence[Entry],
        *,
        fold: Sequence[Fold] = (),
        durable: bool,
        summary: Summary | None = None,
    ) -> int:
        """See `actors.ports.Journal`."""
        begun = self.book.commits.begin(grant.session_id, expected_seq, entries)
        self._begun[grant.session_id] = begun
        try:
            return await StoreHandle.append(
                self,
                grant,
                expected_seq,
                entries,
                fold=fold,
                durable=self._is_durable(durable),
                summary=summary,
            )
        finally:
            self.book.commits.end(begun)

    async def _write(self, grant: Grant, expected_seq: int, entries: Sequence[Entry], **more: Any) -> int:
        head = await StoreHandle._write(self, grant, expected_seq, entries, **more)
        self.book.commits.written(self._begun[grant.session_id])
        return head

    async def create(self, session: NewSession) -> SessionRecord:
        """See `actors.ports.Catalog`."""
        await self.enter(writes=True)
        made = self.store.memory.create_nowait(session)
        made.record = attrs.evolve(made.record, owner=self.owner)
        self.store.sync()
        return made.record

    async def heads(self, session_ids: Sequence[str]) -> dict[str, tuple[str, int, int]]:
        """See `actors.nodes.ports.Heads`."""
        await self.enter(writes=False)
        found = {name: self.store.record(name) for name in session_ids}
        return {name: (one.owner, one.epoch, one.head_seq) for name, one in found.items() if one is not None}

    def _is_durable(self, durable: bool) -> bool:
        return True

    def _is_own(self, session_id: str) -> bool:
        record = self.store.record(session_id)
        return record is not None and record.owner == self.owner


@attrs.define(eq=False, kw_only=True)
class NodeServer(SimServer):
    """A process of node `node`."""

    node: str
    room: PostRoom
    book: AlertBook
    router: Router | None = None

    def __attrs_post_init__(self) -> None:
        SimServer.__attrs_post_init__(self)
        self._journal = NodeStoreHandle(
            store=self.store, life=self.life, owner=self.node, room=self.room, book=self.book
        )
        self._heartbeat = Heartbeat(HEARTBEAT_S)

    @asynccontextmanager
    async def _front(self, supervisor: Supervisor) -> AsyncIterator[Any]:
        """Open the router, as `builderos.server.nodes` does."""
        store = self._journal
        assert isinstance(store, NodeStoreHandle)
        post = SimPost(self.room, self.node, self.life, self.room.join(self.node), self.kill)
        async with trio.open_nursery() as nursery:
            calls = HomeCalls(post, store, self.chaos.new_id, nursery)
            at_home = SessionsAtHome(post, supervisor, nursery, lambda _: False, self._is_home)
            node_calls, answers = NodeCalls(post, self.chaos.new_id), NodeAnswers(post, nursery)
            replicas = Replicas(post, store, store, nursery, calls.settle)
            self.router = router = Router(
                supervisor,
                post,
                calls,
                node_calls,
                at_home,
                answers,
                store,
                store,
                replicas,
                nursery,
                NodeNotes(post),
            )
            calls.told_others = router.tell_others
            nursery.start_soon(post.run, router.take, router.nodes_changed)
            nursery.start_soon(router.run)
            yield router
            self.router = None
            post.leave()
            nursery.cancel_scope.cancel(reason="the server ends")

    async def _serve_with(self, front: Any) -> None:
        """Raise alerts too."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run_alerts, front)
            await SimServer._serve_with(self, front)
            nursery.cancel_scope.cancel(reason="the server ends")

    async def _run_alerts(self, front: Router) -> None:
        store = self._journal
        assert isinstance(store, NodeStoreHandle)
        await run_alerts(Reader(store, self.book), front.watch, self.chaos.now_ms, self.chaos.new_id)

    async def _is_home(self, session_id: str) -> bool:
        record = await self._journal.get(session_id)
        return record is not None and record.owner == self.node
