"""The scripts of `deploy/postgres` on a real PostgreSQL, with what the image does around them done by hand."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs
import psycopg
import pytest
import trio

from storage.postgres.connection import PostgresServer
from storage.postgres.store import open_postgres_store
from tests.postgres.cluster import find_program, free_port, owner
from tests.storage.journal_contract import new_session
from tests.support.server import ROOT

SCRIPTS = ROOT / "deploy" / "postgres"
PASSWORDS = {"database_password": "of-the-nodes", "replication_password": "of-the-standby"}
LIMIT_S = 60.0


@attrs.frozen
class Place:
    """What the containers have: folders, secrets, and the programs of the image."""

    folder: Path
    ports: dict[str, int]

    def environment(self, name: str) -> dict[str, str]:
        programs = Path(str(find_program("postgres"))).parent
        return {
            "PATH": f"{self.folder / 'bin'}:{programs}:{os.environ['PATH']}",
            "PGDATA": str(self.folder / name),
            "PGHOST": str(self.folder),
            "PGPORT": str(self.ports["primary"]),
            "PGPASSFILE": str(self.folder / "passfile"),
            "SECRETS": str(self.folder / "secrets"),
            "PRIMARY": "127.0.0.1",
        }

    def run(self, name: str, *words: str) -> None:
        """Run a program to its end, as the user of PostgreSQL."""
        self._owned(subprocess.run, name, words, check=True, timeout=LIMIT_S)

    @contextmanager
    def running(self, name: str, *words: str) -> Iterator[None]:
        """Run a program that becomes a server, until the end of the block; enter it once the server answers."""
        process = self._owned(subprocess.Popen, name, words)
        try:
            until = time.monotonic() + LIMIT_S
            while not self._answers(name):
                assert process.poll() is None, (self.folder / "log").read_text()[-2000:]
                assert time.monotonic() < until, (self.folder / "log").read_text()[-2000:]
                time.sleep(0.05)
            yield
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(LIMIT_S)

    def options(self, name: str, *more: str) -> list[str]:
        """Return what lets two servers run on one machine."""
        return ["-p", str(self.ports[name]), "-k", str(self.folder), *more]

    def administer(self, name: str) -> psycopg.Connection:
        """Return a connection as a person has it who is in the container."""
        where = f"host={self.folder} port={self.ports[name]} user=postgres dbname=postgres"
        return psycopg.connect(where, autocommit=True)

    def _answers(self, name: str) -> bool:
        try:
            with self.administer(name):
                return True
        except psycopg.OperationalError:
            return False

    def _owned(self, start: Any, name: str, words: Sequence[str], **how: Any) -> Any:
        with (self.folder / "log").open("ab") as log:
            options = {"env": self.environment(name), "cwd": self.folder, "stdout": log, "stderr": log}
            return start(list(words), **options, **owner(), **how)


@pytest.fixture
def place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="bos-dep-"))
    try:
        folder.chmod(0o755)
        for name in ("bin", "secrets"):
            (folder / name).mkdir()
        for name, password in PASSWORDS.items():
            (folder / "secrets" / name).write_text(f"{password}\n")
        entry = folder / "bin" / "docker-entrypoint.sh"
        entry.write_text('#!/bin/sh\nexec "$@"\n')
        for script in SCRIPTS.glob("*.sh"):
            shutil.copy(script, folder / "bin")
        for program in (folder / "bin").iterdir():
            program.chmod(0o755)
        if user := owner():
            os.chown(folder, user["user"], user["group"])
        yield Place(folder, {"primary": free_port(), "standby": free_port()})
    finally:
        shutil.rmtree(folder)


RIGHTS = (
    "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication FROM pg_roles WHERE rolname = 'builderos'"
)


def test_nodes_can_use_what_the_scripts_make(place: Place, tmp_path: Path) -> None:
    """The role of the nodes owns its database only, what it writes is on both disks, and the standby can take over."""
    hosts = ",".join(f"127.0.0.1:{port}" for port in place.ports.values())
    server = PostgresServer.parse(f"postgresql://builderos:of-the-nodes@{hosts}/builderos")

    async def write(session_id: str) -> int:
        with trio.fail_after(LIMIT_S):
            async with open_postgres_store(server, tmp_path, node="node1") as store:
                await store.catalog.create(new_session(session_id))
                return await store.catalog.count()

    script = str(place.folder / "bin" / "{}.sh")
    make = (
        "initdb -U postgres -E UTF8 --locale C.UTF-8 --auth-local trust --auth-host scram-sha-256 --no-sync"
    )
    place.run("primary", *make.split())
    with place.running("primary", "postgres", *place.options("primary", "-c", "listen_addresses=")):
        place.run("primary", "bash", script.format("primary"))
    with (place.folder / "primary" / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all scram-sha-256\n")  # as the image does

    with ExitStack() as standby:
        with place.running("primary", "postgres", *place.options("primary")):
            command = ("bash", script.format("standby"), *place.options("standby"))
            standby.enter_context(place.running("standby", *command))
            assert trio.run(write, "before") == 1
            with place.administer("primary") as connection:
                told = connection.execute("SELECT sync_state, usename FROM pg_stat_replication").fetchall()
                assert told == [("quorum", "replicator")]
                assert connection.execute(RIGHTS).fetchone() == (False, False, False, False)
        with place.administer("standby") as connection:
            connection.execute("SELECT pg_promote()")
        assert trio.run(write, "after") == 2
    with place.running("standby", *command):
        assert trio.run(write, "later") == 3, "promoted is promoted: it is not copied again"
