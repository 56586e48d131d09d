"""PostgreSQL for the bench, as the tests start it but with a real disk, and two servers on it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import attrs

from bench.chains import Server, open_server
from bench.processes import environment
from tests.postgres.cluster import Cluster, find_program, run_cluster
from tests.postgres.standby import promote, run_standby, url_of_both

__all__ = ["Both", "Postgres", "is_installed", "open_pair"]

_SETTINGS: Final = {"fsync": "on", "autovacuum": "on", "shared_buffers": "128MB"}

_KEY: Final = "k" * 64
"""The first device's key, at both nodes of a database that lives for minutes."""


@attrs.frozen
class Both:
    """A primary, its synchronous standby, and the URL of a database at whichever takes writes."""

    primary: Cluster
    standby: Cluster
    url: str

    def promote(self) -> None:
        """Let the standby take over. Blocks."""
        promote(self.standby)


@attrs.frozen
class Postgres:
    """Starts servers of PostgreSQL in folders of their own: its user may not enter the bench's."""

    @contextmanager
    def alone(self) -> Iterator[Cluster]:
        """Run one server while inside the block."""
        with _folder() as folder, run_cluster(folder, _SETTINGS) as cluster:
            yield cluster

    @contextmanager
    def with_standby(self) -> Iterator[Both]:
        """Run two while inside the block."""
        with ExitStack() as stack:
            primary = stack.enter_context(self.alone())
            url = primary.new_database()
            standby = stack.enter_context(run_standby(primary, stack.enter_context(_folder())))
            yield Both(primary, standby, url_of_both(primary, standby, url.rpartition("/")[2]))


def is_installed() -> bool:
    """Return whether the programs of PostgreSQL are there."""
    return all(find_program(name) for name in ("postgres", "initdb", "pg_basebackup"))


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="bench-pg-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@asynccontextmanager
async def open_pair(url: str, folder: Path) -> AsyncIterator[dict[str, Server]]:
    """Run the nodes `home` and `other` on a database while inside the block. Raises BenchError."""
    async with AsyncExitStack() as stack:
        nodes = {}
        for name in ("home", "other"):
            place = folder / name
            place.mkdir()
            start = partial(open_server, arguments=("--database", url, "--node", name))
            env = {**environment(), "BUILDEROS_API_KEY": _KEY}
            nodes[name] = await stack.enter_async_context(start(place / "data", place, env=env))
        yield nodes
