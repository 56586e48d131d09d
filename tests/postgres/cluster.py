"""A PostgreSQL server of the tests' own: in a temporary folder, on a port of 127.0.0.1 and a socket of that folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import psutil
import psycopg

__all__ = [
    "Cluster",
    "find_program",
    "free_port",
    "owner",
    "run_cluster",
    "temporary_cluster",
    "temporary_folder",
]

START_S = 30.0
ROLE = "plain"

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",  # no test here cuts the power
    "shared_buffers": "32MB",
    "max_connections": "60",
    "autovacuum": "off",
    "log_min_messages": "fatal",
}


def find_program(name: str) -> str | None:
    """Return a program of PostgreSQL's: beside `postgres` of the PATH, or of the newest version that Debian installed.

    Debian's own programs in the PATH are a script that goes by the name that it was called with.
    """
    versions = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    found = shutil.which("postgres") or next((str(one) for one in sorted(versions, reverse=True)), None)
    program = None if found is None else Path(os.path.realpath(found)).with_name(name)
    return None if program is None or not program.is_file() else str(program)


def _program(name: str) -> str:
    found = find_program(name)
    assert found is not None, f"{name} is missing: on Debian and Ubuntu, apt install postgresql"
    return found


@attrs.define(eq=False)
class Cluster:
    """A server and its data. `settings`: those that it has beside the tests' own."""

    folder: Path
    port: int
    settings: Mapping[str, str] = attrs.field(factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _made: int = 0

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://bos@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database of a role without further rights, and return its URL."""
        self._made += 1
        name = f"test{self._made}"
        with self.connected() as connection:
            connection.execute(f"CREATE DATABASE {name} OWNER {ROLE}")
        return f"postgresql://{ROLE}@127.0.0.1:{self.port}/{name}"

    @contextmanager
    def connected(self, url: str | None = None) -> Iterator[psycopg.Connection]:
        """Return a connection in autocommit mode."""
        with psycopg.connect(url or self.url(), autocommit=True) as connection:
            yield connection

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        given = {
            **_SETTINGS,
            **self.settings,
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
        }
        settings = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            command = [_program("postgres"), "-D", str(self.folder / "data"), *settings]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **owner())
        for _ in range(int(START_S / 0.05)):
            try:
                with self.connected():
                    return
            except psycopg.OperationalError:
                time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text()[-2000:])

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT is its fast shutdown, SIGQUIT its crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(20)
            self._process = None

    def kill(self) -> None:
        """Kill all of its processes, as a machine that fails would."""
        assert self._process is not None
        main = psutil.Process(self._process.pid)
        main.suspend()  # so that it starts no process meanwhile
        killed = [*main.children(), main]
        for process in killed:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(killed, timeout=START_S)
        self._process.wait(START_S)
        self._process = None


def owner() -> dict[str, Any]:
    """Return whom PostgreSQL's programs run as, for `subprocess`: it refuses root."""
    if os.getuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def run_cluster(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """Make and run a server in an empty folder; it takes about a second. `settings`: beside the tests' own."""
    if os.getuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
    command = [_program("initdb"), "-D", str(folder / "data"), "-U", "bos", "-A", "trust", "-E", "UTF8"]
    options: dict[str, Any] = {**owner(), "cwd": folder, "check": True, "stdout": subprocess.DEVNULL}
    subprocess.run([*command, "--locale=C.UTF-8", "--no-sync"], **options)
    cluster = Cluster(folder, free_port(), settings or {})
    cluster.start()
    with cluster.connected() as connection:
        connection.execute(f"CREATE ROLE {ROLE} LOGIN")
    try:
        yield cluster
    finally:
        cluster.stop(signal.SIGQUIT)  # nothing of it is needed again


@contextmanager
def temporary_cluster() -> Iterator[Cluster]:
    """Make and run a server in a temporary folder."""
    with temporary_folder() as folder, run_cluster(folder) as running:
        yield running


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder for a server; in memory if that is there, for each database is 300 files."""
    # Not pytest's own folder: only its owner may enter that, and PostgreSQL runs as another user than root.
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="bos-pg-", dir=memory if memory.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
