"""A synchronous standby of a PostgreSQL server, which can take its place."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.postgres.cluster import ROLE, START_S, Cluster, find_program, free_port, owner

__all__ = ["promote", "run_standby", "url_of_both"]

_LOOK_S = 0.02


@contextmanager
def run_standby(primary: Cluster, folder: Path) -> Iterator[Cluster]:
    """Run a standby in an empty folder. From then on the primary acknowledges only what both have.

    Promoted, it waits for no standby of its own: the primary's wish for one is younger than the copy.
    """
    program = find_program("pg_basebackup")
    assert program is not None, "pg_basebackup is missing: on Debian and Ubuntu, apt install postgresql"
    if user := owner():
        os.chown(folder, user["user"], user["group"])
    copy = [program, "-h", "127.0.0.1", "-p", str(primary.port), "-U", "bos", "-D", str(folder / "data")]
    subprocess.run([*copy, "-R", "-c", "fast", "--no-sync"], cwd=folder, check=True, **user)
    standby = Cluster(folder, free_port(), primary.settings)
    standby.start()
    try:
        with primary.connected() as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
            connection.execute("SELECT pg_reload_conf()")
        _wait(primary, "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'quorum'")
        yield standby
    finally:
        standby.stop(signal.SIGQUIT)


def promote(standby: Cluster) -> None:
    """Let a standby take the place of its primary, which has ended. Return when it takes writes."""
    with standby.connected() as connection:
        connection.execute("SELECT pg_promote(wait => true)")


def url_of_both(primary: Cluster, standby: Cluster, database: str) -> str:
    """Return the URL of a database at whichever of the two takes writes."""
    return f"postgresql://{ROLE}@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/{database}"


def _wait(cluster: Cluster, question: str) -> None:
    """Wait until a server says yes."""
    until = time.monotonic() + START_S
    with cluster.connected() as connection:
        while connection.execute(question).fetchone() != (True,):
            assert time.monotonic() < until, question
            time.sleep(_LOOK_S)
