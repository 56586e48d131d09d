"""The services behind the HTTP routes: files, search, devices, workspaces, the machine itself, and requests in progress."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

import attrs
import trio

from actors.commands import Author
from actors.desk.sessions import GivenBack
from actors.ports import Ids
from bridgehub.desk.programs import Listed
from storage.tables.audit import Audit
from storage.tables.devices import DeviceTable
from storage.tables.pairings import Pairings
from storage.tables.search import Search
from transport.metrics import Figure, Metrics
from transport.push.notifier import Notifier
from transport.uploads import OwnUploads
from transport.workspace.listing import Roots
from transport.workspace.search import FileSearch

__all__ = [
    "AgentState",
    "DeskSessions",
    "Exports",
    "Forks",
    "HttpServices",
    "Moves",
    "Port",
    "Readiness",
    "Removes",
    "Underway",
    "Work",
]


@attrs.frozen
class AgentState:
    """Whether an agent of the config could answer now.

    Attributes:
        problem: what it lacks, for a person; empty if nothing is known to be missing.
        fix: the command that fixes it.
    """

    name: str
    kind: str
    problem: str = ""
    fix: str = ""


@attrs.frozen
class Readiness:
    """What a first message needs. `workspace`: the folder for new sessions, and whether it is a folder."""

    agents: tuple[AgentState, ...]
    workspace: Path
    workspace_ok: bool


class Exports(Protocol):
    """Writes whole sessions as text."""

    async def __call__(
        self,
        session_id: str,
        form: Literal["md", "json"],
        write: Callable[[str], Awaitable[None]],
    ) -> None:
        """Call `write` with the parts of a session, one after the other.

        Raises:
            SessionMissing, StorageError: the text written so far is incomplete.
        """
        ...


class Removes(Protocol):
    """Removes sessions; implemented by the supervisor."""

    async def remove(self, session_id: str) -> None:
        """Remove a session forever, with its files.

        Raises:
            SessionMissing, SessionBusy, ShuttingDown, StorageUnavailable: nothing was removed, except after the
            last, which may leave a remainder that is removed later.
        """
        ...


class Forks(Protocol):
    """Makes a session out of another one; implemented by the supervisor."""

    async def fork(
        self, session_id: str, after_turn: str | None, *, new_id: str, device_id: str, title: str | None
    ) -> None:
        """Make a session `new_id` out of another one's turns up to and including `after_turn`; None: out of none.

        Raises:
            SessionMissing, SessionExists, UnknownTurn, TurnRuns, StorageError: nothing was made.
        """
        ...


class Moves(Protocol):
    """Moves sessions between machines; implemented by `actors.nodes.moving`."""

    async def move(self, session_id: str, to: str, *, force: bool, by: str) -> bool:
        """Move a session to a machine; return False if it is at home there already.

        `force`: also while it works, and from a machine that is away. `by`: the device that wants it.

        Raises:
            SessionMissing, UnknownNode, MachineAway, NodeCallRefused: nothing was moved.
            StorageError: nothing was moved, or nobody knows.
        """
        ...


class DeskSessions(Protocol):
    """The person's own sessions on this computer; implemented by `actors.desk.sessions.DeskList`."""

    async def listed(self, agent: str | None, workspace: str | None, query: str | None) -> Listed:
        """Return what matches, newest first. `query`: letters that title or first message have."""
        ...

    async def ours(self, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Return the conversations of these that are sessions here, with the ids of the sessions."""
        ...

    async def open(self, agent: str, native_id: str, device_id: str) -> tuple[str, bool]:
        """Return the session of a conversation, and whether it was made now. Raises NoSuchSession, StorageError."""
        ...

    async def give_back(self, session_id: str, author: Author, *, joins: bool = False) -> GivenBack:
        """End a session's hub, and return what a terminal needs to continue its conversation.

        If `joins`, a hub whose program a terminal can share stays, or is started.

        Raises:
            SessionMissing, SessionBusy, ActorError, StorageError: it stays here.
            NoSuchSession: its agent has no program for a terminal, or no conversation yet.
        """
        ...


@attrs.define(eq=False)
class Underway:
    """The requests in progress by device, each with a cancel scope: they end if its key is revoked."""

    _scopes: dict[str, set[trio.CancelScope]] = attrs.field(factory=dict)

    @contextmanager
    def of(self, device_id: str) -> Iterator[trio.CancelScope]:
        """Run a request inside the block; `end` cancels it."""
        with trio.CancelScope() as scope:
            self._scopes.setdefault(device_id, set()).add(scope)
            try:
                yield scope
            finally:
                self.spare(device_id, scope)

    def spare(self, device_id: str, scope: trio.CancelScope) -> None:
        """Let one request finish: the one that revokes its own key. Idempotent."""
        scopes = self._scopes.get(device_id, set())
        scopes.discard(scope)
        if not scopes:
            self._scopes.pop(device_id, None)

    def end(self, device_id: str) -> None:
        """Cancel all requests of a device whose key was revoked. Never blocks."""
        for scope in tuple(self._scopes.get(device_id, ())):
            scope.cancel(reason="the key was revoked")


@attrs.frozen(kw_only=True)
class Work:
    """What the routes about a session's work share: its folder, and the work in it. The caller must run `search`.

    Attributes:
        checkpoints: the folder of workspaces' checkpoints; None: no checkpoints.
        worktrees: the folder of sessions' worktrees; None: no worktrees.
        comparing: workspaces whose comparison is running.
    """

    roots: Roots
    checkpoints: Path | None = None
    worktrees: Path | None = None
    comparing: set[str] = attrs.field(factory=set)
    search: FileSearch = attrs.field(factory=FileSearch)
    threads: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(4))
    """Concurrent file work: a slow disk must not take all threads of the server."""


@attrs.frozen(kw_only=True)
class HttpServices:
    """The services that the HTTP routes use.

    Attributes:
        data: the data folder, for blobs.
        notifier: sends notifications.
        work: the folders that sessions work in.
        sleep: puts the machine to sleep, and returns whether that worked; None if no command is configured.
        readiness: looks at what agents need; starts no process. Blocks, so it is called on a thread.
        more_figures: figures of other parts, for `/metrics`.
        lags: positions that each device is behind, by its label.
    """

    data: Path
    workspace: Path
    uploads: OwnUploads
    search: Search
    notifier: Notifier
    devices: DeviceTable
    pairings: Pairings
    audit: Audit
    sessions: Removes
    metrics: Metrics
    work: Work
    new_id: Ids
    new_key: Callable[[], str] = attrs.field(repr=False)
    new_code: Callable[[], str] = attrs.field(repr=False)
    readiness: Callable[[], Readiness]
    export: Exports
    forks: Forks
    desk: DeskSessions
    sleep: Callable[[], Awaitable[bool]] | None = None
    moves: Moves | None = None
    more_figures: Callable[[], list[Figure]] = list
    lags: Callable[[], Mapping[str, int]] = dict


@attrs.frozen(kw_only=True)
class Port:
    """The port, as its routes see it.

    Attributes:
        counts: open WebSockets by agent.
        gauges: how full the port is, by name.
        close_device: closes the connections of a device whose key was revoked, and ends its requests. Never blocks.
        underway: the requests that are being answered.
    """

    counts: Callable[[], dict[str, int]]
    gauges: Callable[[], dict[str, int]] = dict
    close_device: Callable[[str], None] = lambda _: None
    underway: Underway = attrs.field(factory=Underway)
