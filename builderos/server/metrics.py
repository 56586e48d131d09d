"""Journal, hubs and live bus with counters around them, for `/metrics`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import attrs
import trio

from actors.ports import FoundHub, HubLink, Hubs, Journal, LiveBus
from actors.supervisor import Supervisor
from actors.tail import Listener, Tail
from bridgehub.protocol.messages import HubSpec, Reported
from storage.records import Command, Entry, Fold, Grant, Head, Row, Summary
from storage.store import Store
from transport.metrics import Lagging, Metrics, family

__all__ = ["MeasuredHubs", "MeasuredJournal", "MeasuredLive", "server_lines"]


@attrs.frozen(eq=False)
class MeasuredJournal:
    """A journal whose appends are counted. See `actors.ports.Journal`."""

    inner: Journal
    metrics: Metrics

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
        """Append, and record how long it took."""
        began = trio.current_time()
        head = await self.inner.append(
            grant, expected_seq, entries, fold=fold, durable=durable, summary=summary
        )
        kinds = [entry.kind for entry in entries]
        self.metrics.appended(grant.session_id, head, trio.current_time() - began, kinds)
        return head

    async def read(
        self,
        session_id: str,
        after: int,
        limit: int,
        *,
        before: int | None = None,
        kinds: Collection[str] | None = None,
        newest: bool = False,
    ) -> Sequence[Row]:
        """Read."""
        return await self.inner.read(session_id, after, limit, before=before, kinds=kinds, newest=newest)

    async def head(self, session_id: str) -> Head:
        """Return the head."""
        return await self.inner.head(session_id)

    async def find_commands(self, session_id: str, command_ids: Sequence[str]) -> dict[str, Command]:
        """Find commands."""
        return await self.inner.find_commands(session_id, command_ids)

    async def first_seq_of_turns(self, session_id: str, count: int) -> int:
        """Find where the last turns begin."""
        return await self.inner.first_seq_of_turns(session_id, count)

    async def check_writable(self) -> None:
        """Check."""
        await self.inner.check_writable()


@attrs.frozen(eq=False)
class MeasuredHubs:
    """Hubs whose starts are counted. See `actors.ports.Hubs`."""

    inner: Hubs
    metrics: Metrics

    async def start(self, spec: HubSpec) -> None:
        """Start a hub, and count it."""
        self.metrics.hub_started(spec.session_id)
        await self.inner.start(spec)

    async def connect(self, hub_id: str, *, owner_epoch: int, last_seq: int) -> HubLink:
        """Connect."""
        return await self.inner.connect(hub_id, owner_epoch=owner_epoch, last_seq=last_seq)

    async def reap(self, hub_id: str, *, last_seq: int) -> Sequence[Reported]:
        """Reap."""
        return await self.inner.reap(hub_id, last_seq=last_seq)

    async def stop(self, hub_ids: Collection[str]) -> Collection[str]:
        """Stop."""
        return await self.inner.stop(hub_ids)

    async def forget(self, hub_id: str) -> None:
        """Forget."""
        await self.inner.forget(hub_id)

    async def find(self, hub_id: str) -> FoundHub | None:
        """Find."""
        return await self.inner.find(hub_id)

    async def living(self) -> Sequence[FoundHub]:
        """List."""
        return await self.inner.living()


@attrs.frozen(eq=False)
class MeasuredLive:
    """A live bus that records how far behind each listener is. See `actors.ports.LiveBus`."""

    inner: LiveBus
    metrics: Metrics

    @contextmanager
    def listen(self, session_id: str, listener: Listener) -> Iterator[Tail]:
        """Listen, and record how far behind the listener is."""
        with self.inner.listen(session_id, listener) as tail:
            if isinstance(listener, Lagging):
                with self.metrics.following(listener):
                    yield tail
            else:
                yield tail


def server_lines(store: Store, supervisor: Supervisor) -> list[str]:
    """Return the metrics of sessions and storage."""
    sessions, writer = supervisor.statistics(), store.statistics().writer
    return [
        *family("gauge", "builderos_sessions_live", "Sessions in memory.", sessions.live_count),
        *family("gauge", "builderos_sessions_failed", "Sessions that were given up.", sessions.failed_count),
        *family(
            "counter", "builderos_session_crashes_total", "Crashes of session actors.", sessions.crash_count
        ),
        *family("gauge", "builderos_writer_waiting", "Jobs that wait for the writer.", writer.waiting),
        *family("counter", "builderos_writer_jobs_total", "Jobs that the writer has done.", writer.jobs),
        *family("counter", "builderos_commits_total", "Transactions committed.", writer.commits),
        *family("counter", "builderos_synced_commits_total", "Of these, with fsync.", writer.synced),
    ]
