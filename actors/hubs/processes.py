"""Starts, finds and ends the hub processes of one data folder (`actors.ports.Hubs`).

Everything that blocks runs on threads: starting (one at a time, through the fork server), and looking for
and killing processes. What is known of a hub lies in its folder, not in memory, so a server that comes later
knows the same.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import IO

import attrs
import trio

from actors.errors import HubKillFailed, HubLost, HubStartFailed
from actors.hubs.fork_server import ForkServer
from actors.hubs.link import SocketHubLink, open_link
from actors.ports import FoundHub
from bridgehub.protocol.codec import MAX_LINE_BYTES, decode_from_hub
from bridgehub.protocol.errors import LinkError
from bridgehub.protocol.folder import (
    LEFT_NAME,
    MAX_SOCKET_PATH_BYTES,
    SOCKET_NAME,
    SPOOL_NAME,
    codex_socket_of,
    is_hub_id,
    read_pid_file,
)
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import VERSION, Hello, Reported
from bridgehub.protocol.process_tree import TreeKillFailed, is_alive, kill_tree, marked_hubs, terminate

__all__ = ["LeftoverReader", "Leftovers", "ProcessHubs"]

_log = logging.getLogger("builderos.actors")

STOP_S = 2.0
"""How long a hub has to stop politely before its tree is killed."""

KILLS_AT_ONCE = 4
"""Threads that may look through all processes at the same time: each look costs some milliseconds of CPU."""

LOOKS_AT_ONCE = 4
"""Threads that may read or remove hubs' files: apart from the kills, which may take seconds each."""

LEFT_BYTES = 2 * 1024 * 1024
"""Bytes of lines that one `reap` returns, and one line more: a hub may leave 64 MiB, and many may be reaped at once."""

_LEFT_FILES = (LEFT_NAME, SPOOL_NAME)
_FORK_SERVER_LOG = "mother.log"


@attrs.define(eq=False)
class ProcessHubs:
    """The hub processes of one data folder. `aclose` ends the fork server; hubs keep running.

    Attributes:
        folder: `DIR/hubs`, made with mode 0700 if it is not there.
        short_folder: where sockets lie whose path under `folder` would be over 100 bytes: a folder of this
            data folder alone under the temp folder, whose name the wiring notes. Made when needed.
        name_of: from the session id that a hub was started with to today's: hubs of an earlier version have the iOS
            app's own ids.
        on_start: called with the session's id when a hub is about to start.
        by_exec: hubs are programs of their own instead of forks; right if fork is not safe (macOS).
    """

    folder: Path
    short_folder: Path
    by_exec: bool = sys.platform == "darwin"
    name_of: Callable[[str], str] = str
    on_start: Callable[[str], None] = lambda session_id: None
    _fork_server: ForkServer = attrs.field(init=False)
    _places: dict[str, Leftovers] = attrs.field(factory=dict)
    _starts: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))
    _kills: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(KILLS_AT_ONCE))
    _looks: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(LOOKS_AT_ONCE))

    def __attrs_post_init__(self) -> None:
        self._fork_server = ForkServer(self.folder / _FORK_SERVER_LOG, self.by_exec)

    @property
    def fork_server_pid(self) -> int | None:
        """The fork server's process id; None while there is none."""
        return self._fork_server.pid

    def socket_of(self, hub_id: str) -> Path:
        """Return the path of a hub's socket."""
        near = self.folder / hub_id / SOCKET_NAME
        if len(os.fsencode(near)) <= MAX_SOCKET_PATH_BYTES:
            return near
        return self.short_folder / hub_id

    async def start(self, spec: HubSpec) -> None:
        """Start the hub `spec.hub_id`; return when its socket takes connections.

        `folder` and `socket` of the spec are set here, whatever they say. A cancelled start may have started
        the hub: it is found by its id like any other. Starting one that lives does nothing.

        Raises:
            HubStartFailed: no process was left behind, and no prompt was taken.
        """
        if not is_hub_id(spec.hub_id):
            raise HubStartFailed("the hub's id is none")
        self.on_start(spec.session_id)
        await trio.to_thread.run_sync(self._start, spec, limiter=self._starts)

    async def connect(self, hub_id: str, *, owner_epoch: int, last_seq: int) -> SocketHubLink:
        """Connect to a running hub; it sends what it has after `last_seq`. Within 5 s.

        Raises:
            HubLost: there is no such hub, or it died.
            HubFenced: a later owner holds it.
            HubProtocolError: what answers is not a hub.
        """
        record = await trio.to_thread.run_sync(read_pid_file, self.folder / hub_id)
        if record is None:
            raise HubLost("there is no such hub")
        hello = Hello(VERSION, record.session_id, owner_epoch, last_seq)
        return await open_link(os.fspath(self.socket_of(hub_id)), hello, hub_id=hub_id)

    async def reap(self, hub_id: str, *, last_seq: int) -> Sequence[Reported]:
        """Kill what is left of a hub and its whole tree; return the first of the events it left in its files.

        Only events that follow `last_seq` without a gap, of about `LEFT_BYTES`; called again with the last one's
        number it gives more, and none at the end. Idempotent: its files stay until `forget`. Not cancelled while
        it kills.

        Raises:
            HubKillFailed: a process could not be killed; nothing may be sent again.
        """
        return await trio.to_thread.run_sync(self._reap, hub_id, last_seq, limiter=self._kills)

    async def forget(self, hub_id: str) -> None:
        """Remove a reaped hub's files, once its last events are journalled. Idempotent.

        One that lives is killed first: its start may have been under way, for an earlier server, while it was
        looked for. One that cannot be killed keeps its files, so that `living` names it.
        """
        await trio.to_thread.run_sync(self._forget, hub_id, limiter=self._looks)

    async def find(self, hub_id: str) -> FoundHub | None:
        """Look a hub up; None if it has no files, so was never started or is forgotten."""
        return await trio.to_thread.run_sync(self._find_one, hub_id, limiter=self._looks)

    async def living(self) -> Sequence[FoundHub]:
        """Return every hub whose folder is there, alive or not."""
        return await trio.to_thread.run_sync(self._find, limiter=self._looks)

    async def stop(self, hub_ids: Collection[str]) -> Collection[str]:
        """End hubs together: politely, so that each writes down what is not acknowledged; by force after 2 s.

        Their files stay for the next server, which journals what they left. Not cancelled while it waits.

        Returns:
            Those that could not be killed: they live on, and nothing of theirs may be sent again.
        """
        if not hub_ids:
            await trio.lowlevel.checkpoint()
            return frozenset()
        return await trio.to_thread.run_sync(self._stop, frozenset(hub_ids), limiter=self._kills)

    async def aclose(self) -> None:
        """Let the fork server end. Idempotent; not cancelled while it waits (2 s at most)."""
        await trio.to_thread.run_sync(self._fork_server.close, limiter=self._starts)

    # ---- on threads ----

    def _start(self, spec: HubSpec) -> None:
        hub_folder, path = self.folder / spec.hub_id, self.socket_of(spec.hub_id)
        there = read_pid_file(hub_folder)
        if there is not None and is_alive(there.pid, there.started):
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.parent != hub_folder:
                _make_private(self.short_folder)
        except OSError as exc:
            raise HubStartFailed(f"no folder for the hub: {exc.strerror}") from exc
        placed = attrs.evolve(spec, folder=os.fspath(hub_folder), socket=os.fspath(path))
        try:
            self._fork_server.start_hub(placed)
        except HubStartFailed:
            self._kill(spec.hub_id)
            raise

    def _kill(self, hub_id: str) -> None:
        record = read_pid_file(self.folder / hub_id)
        try:
            if record is None:
                kill_tree(hub_id)
            else:
                kill_tree(hub_id, record.pid, record.started)
        except TreeKillFailed as exc:
            raise HubKillFailed(str(exc)) from exc

    def _reap(self, hub_id: str, last_seq: int) -> list[Reported]:
        self._kill(hub_id)
        place = self._places.pop(hub_id, None)
        if place is None or place.seq != last_seq:
            place = Leftovers(last_seq)
        reader = LeftoverReader(place)
        reader.read(self.folder / hub_id)
        if reader.events:
            self._places[hub_id] = reader.place
        return reader.events

    def _forget(self, hub_id: str) -> None:
        if not is_hub_id(hub_id):
            return
        self._places.pop(hub_id, None)
        there = read_pid_file(self.folder / hub_id)
        if there is not None and is_alive(there.pid, there.started):
            try:
                self._kill(hub_id)
            except HubKillFailed as exc:
                _log.warning("hub %s keeps its files: %s", hub_id, exc)
                return
        shutil.rmtree(self.folder / hub_id, ignore_errors=True)
        path = self.socket_of(hub_id)
        for left in (path, codex_socket_of(path)):
            if left is not None:
                left.unlink(missing_ok=True)

    def _find(self) -> list[FoundHub]:
        found: list[FoundHub] = []
        for folder in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            one = self._find_one(folder.name)
            if one is not None:
                found.append(one)
        return found

    def _find_one(self, hub_id: str) -> FoundHub | None:
        record = read_pid_file(self.folder / hub_id)
        if record is None or record.hub_id != hub_id:
            return None
        alive, socket = is_alive(record.pid, record.started), os.fspath(self.socket_of(hub_id))
        return FoundHub(hub_id, self.name_of(record.session_id), alive, socket)

    def _stop(self, hub_ids: frozenset[str]) -> frozenset[str]:
        records = {hub_id: read_pid_file(self.folder / hub_id) for hub_id in hub_ids}
        living = [(record.pid, record.started) for record in records.values() if record is not None]
        for pid, started in living:
            terminate(pid, started)
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline and any(is_alive(*hub) for hub in living):
            time.sleep(0.02)
        marked, survived = marked_hubs(), set[str]()
        for hub_id, record in records.items():
            lives = record is not None and is_alive(record.pid, record.started)
            if hub_id not in marked and not lives:
                continue
            try:
                self._kill(hub_id)
            except HubKillFailed as exc:
                _log.warning("hub %s: %s", hub_id, exc)
                survived.add(hub_id)
        return frozenset(survived)


def _make_private(folder: Path) -> None:
    """Make a folder that is ours alone, or make sure that it is: others may write where it lies."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(0, "the folder for sockets belongs to somebody else")


@attrs.define
class Leftovers:
    """Where a hub's leftovers were read to: behind its event `seq`, in this file of them and at this offset."""

    seq: int
    file: int = 0
    offset: int = 0


@attrs.define
class LeftoverReader:
    """Takes the events that follow `place` without a gap, up to a bound. A torn or broken line ends a file."""

    place: Leftovers
    events: list[Reported] = attrs.field(factory=list)
    _size: int = 0

    def read(self, folder: Path) -> None:
        while self.place.file < len(_LEFT_FILES) and self._size < LEFT_BYTES:
            try:
                ended = self._read_file(folder / _LEFT_FILES[self.place.file])
            except (OSError, LinkError):
                ended = True
            if ended:
                self.place.file, self.place.offset = self.place.file + 1, 0

    def _read_file(self, path: Path) -> bool:
        with path.open("rb") as file:
            return self.read_lines(file)

    def read_lines(self, file: IO[bytes]) -> bool:
        """Read one file from its place on; tell whether that was all of it. Raises OSError, LinkError."""
        file.seek(self.place.offset)
        while self._size < LEFT_BYTES:
            line = file.readline(MAX_LINE_BYTES + 1)
            if not line.endswith(b"\n") or not self._take(line):
                return True
            self.place.offset += len(line)
        return False

    def _take(self, line: bytes) -> bool:
        message = decode_from_hub(line[:-1])
        if not isinstance(message, Reported) or message.first_seq > self.place.seq + 1:
            return False
        if message.seq > self.place.seq:
            self.events.append(message)
            self.place.seq = message.seq
            self._size += len(line)
        return True
