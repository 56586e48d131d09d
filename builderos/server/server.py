"""One server: makes, nests and ends its parts in the right order.

    data folder and its lock ⊃ store ⊃ hubs' starter ⊃ supervisor ⊃ listener

An inner part uses the outer ones, so each part outlives those that need it. At a signal the listener asks its devices to
reconnect, the actors write their last events, the hubs are stopped or left running, and the store closes last.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from actors.desk.questions import DeskAnswers, DeskQuestions
from actors.desk.sessions import DeskList
from builderos import VERSION
from builderos.ids import new_id, new_key, wall_clock_ms
from builderos.server.database import OpenDatabase, open_database
from builderos.server.hub_specs import agent_environment
from builderos.server.parts import ServerContext, ServerParts, transport_config
from builderos.server.process.socket_folder import find_socket_folder
from builderos.server.retention import CheckpointKeeper, Retention
from builderos.server.sessions import make_desk, open_sessions
from builderos.server.startup import (
    ensure_admin_key,
    ensure_shared_key,
    log_startup_warnings,
    warn_of_plain_text,
)
from storage.data_folder import CHECKPOINTS
from transport import listener
from transport.access.audit_trail import AuditTrail, known_addresses
from transport.access.signed_urls import UrlSigner
from transport.metrics import Metrics
from transport.permission_timeout import PermissionTimeouts
from transport.push.notifier import run_notifier
from transport.uploads import OwnUploads
from transport.workspace.removal import SessionRemoval

if TYPE_CHECKING:
    from actors.supervisor import Supervisor
    from builderos.server.nodes import ServerNodes

__all__ = ["SHUTDOWN_S", "ServeError", "Shutdown", "run_server"]

COLLECT_AFTER = 10_000
"""Objects allocated before Python collects the young generation (its own default is 700). Reference counts free nearly
all of ours. A collection of this many takes a few hundred microseconds of the event loop."""

SHUTDOWN_S = 30.0
"""How long an orderly shutdown may take before everything is cancelled. Promised writes are on disk in any case."""

log = logging.getLogger("builderos.server")


class ServeError(Exception):
    """The server cannot start; the text is one line for a person."""


@attrs.define(eq=False)
class Shutdown:
    """The first signal starts an orderly shutdown, the second one ends the server at once.

    Attributes:
        asked: set by the first signal.
        stop_hubs: whether that was SIGINT: every hub of the data folder is to end too.
    """

    asked: trio.Event = attrs.field(factory=trio.Event)
    stop_hubs: bool = False

    async def run(
        self, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Watch for signals until cancelled. The second one, or the time limit, cancels `scope`."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                name = signal.Signals(number).name
                if self.asked.is_set():
                    log.warning("%s again: ending at once", name)
                    scope.cancel(reason=f"{name} again")
                    return
                log.info("%s: shutting down", name)
                self.stop_hubs = number == signal.SIGINT
                scope.deadline = trio.current_time() + SHUTDOWN_S
                self.asked.set()


async def run_server(setup: ServerContext) -> None:
    """Run a server until a signal, then end it in order.

    Raises:
        ServeError, StorageError: it cannot start, inside an ExceptionGroup.
    """
    shutdown = Shutdown()
    folder = setup.folder
    async with trio.open_nursery() as nursery:
        await nursery.start(shutdown.run, nursery.cancel_scope)
        move_here = setup.options.move_here
        async with open_database(folder, setup.config.database, move_here=move_here) as database:
            store = database.store
            ensure_key = ensure_admin_key if database.node is None else ensure_shared_key
            made_key = await ensure_key(store, folder, setup.key)
            joins = database.node is not None and database.node.office.incarnation == 1
            await store.audit.check_head(now_ms=wall_clock_ms(), joins=joins)
            link_key = await store.settle("link_key", new_key())
            uploads = OwnUploads(store.uploads, UrlSigner(link_key.encode()))
            metrics, trail, answers = Metrics(), AuditTrail(store.audit, wall_clock_ms), DeskAnswers()
            desk = make_desk(setup.config, folder.path, agent_environment(os.environ))
            store.journal.on_append = metrics.appended
            async with open_sessions(
                setup.config, folder, store, metrics, uploads, trail, desk, answers
            ) as supervisor:
                await supervisor.recover()
                sessions = DeskList(desk, supervisor)
                async with _nodes_of(database, supervisor) as nodes:
                    parts = ServerParts(
                        setup, store, supervisor, uploads, metrics, trail, sessions, answers, nodes
                    )
                    parts.tries.remember(await known_addresses(store.audit, wall_clock_ms()))
                    await _serve(parts, made_key=made_key, shutdown=shutdown)
                await supervisor.close(stop_hubs=shutdown.stop_hubs)
        nursery.cancel_scope.cancel(reason="the server has ended")


@asynccontextmanager
async def _nodes_of(database: OpenDatabase, supervisor: Supervisor) -> AsyncIterator[ServerNodes | None]:
    if database.node is None:
        yield None
        return
    from builderos.server.nodes import open_nodes

    async with open_nodes(database.node, supervisor) as nodes:
        yield nodes


async def _serve(parts: ServerParts, *, made_key: str | None, shutdown: Shutdown) -> None:
    """Serve the port until a signal, then until all devices were notified."""
    setup, store = parts.setup, parts.store
    options, deps = setup.options, parts.transport_deps()
    tls = None if setup.tls is None else setup.tls.context
    made = attrs.evolve(transport_config(options, setup.config), worktrees=parts.work.worktrees)
    serve = partial(listener.serve, made, deps, tls=tls)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(parts.renderer.run, name="renderer")
        nursery.start_soon(parts.work.search.run, name="file search")
        removal = SessionRemoval(parts.supervisor, store.catalog, parts.work)
        if parts.nodes is not None:
            from builderos.server.node_acts import serve_nodes

            serve_nodes(parts.nodes, parts.supervisor, made, deps)
            await parts.nodes.start()
        try:
            listening: listener.Listening = await nursery.start(serve)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ServeError(f"cannot listen on {options.host}:{options.port}: {reason}") from error
        if parts.nodes is not None:
            parts.nodes.key_ended = listening.close_device
            parts.nodes.office.connections = lambda: listening.connections
        address = _Address("http" if setup.tls is None else "https", options.host, listening.port)
        setup.folder.note_address(address.local)
        log_startup_warnings(setup.folder, setup.key)
        if setup.tls is None:
            warn_of_plain_text(host for host, _ in listening.addresses)
        else:
            await nursery.start(setup.tls.run)
        nursery.start_soon(deps.trail.run, name="audit")
        nursery.start_soon(store.pairings.run, wall_clock_ms, name="pairings")
        if (days := setup.config.retention_days) is not None:
            is_live = parts.supervisor.is_live
            retention = Retention(store.catalog, days, wall_clock_ms, is_live, removal.remove)
            nursery.start_soon(retention.run, name="retention")
        keeper = CheckpointKeeper(
            setup.folder.path / CHECKPOINTS, store.catalog, setup.config.checkpoint_days, wall_clock_ms
        )
        nursery.start_soon(keeper.run, name="checkpoints")
        notify = partial(run_notifier, parts.notifier, deps)
        if parts.nodes is not None:
            notify = partial(parts.nodes.run_notifier, parts.notifier, notify)
            nursery.start_soon(parts.nodes.share_attention, parts.attention, name="who looks at what")
        nursery.start_soon(notify, name="notifications")
        nursery.start_soon(parts.desk.look_again, name="desk")
        nursery.start_soon(parts.desk.desk.changes.run, name="changes at the desk")
        sockets = await trio.to_thread.run_sync(find_socket_folder, setup.folder)
        questions = DeskQuestions(parts.desk, parts.answers, new_id)
        nursery.start_soon(questions.run, setup.folder.path, sockets, name="questions of terminals")
        if setup.config.permission_timeout_s is not None:
            nursery.start_soon(PermissionTimeouts(deps, setup.config.permission_timeout_s).run)
        name = (
            store.name
            if not setup.config.database.node
            else f"{store.name}, node {setup.config.database.node}"
        )
        _print_banner(address, name, await store.catalog.count(), made_key)
        with _rare_collections():
            await shutdown.asked.wait()
        await listening.close_all()
        nursery.cancel_scope.cancel(reason="shutdown")


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let Python collect rarely, and never look again at objects that live as long as the server."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


@attrs.frozen
class _Address:
    """The server's address."""

    scheme: str
    host: str
    port: int

    @property
    def base(self) -> str:
        """The address as it was asked for."""
        return f"{self.scheme}://{_in_url(self.host)}:{self.port}"

    @property
    def websocket(self) -> str:
        """The same for WebSockets."""
        return self.base.replace("http", "ws", 1)

    @property
    def local(self) -> str:
        """An address that works on this machine, if `host` means all interfaces."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)
        return f"{self.scheme}://{_in_url(host)}:{self.port}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _print_banner(address: _Address, database: str, session_count: int, made_key: str | None) -> None:
    lines = [
        f"BuilderOS Mobile {VERSION}",
        f"Listening on {address.base}",
        f"  Claude   {address.websocket}/api/claude/ws",
        f"  Codex    {address.websocket}/api/codex/ws",
        f"  Database {database}",
        f"  Sessions {session_count}",
    ]
    if made_key is not None:
        lines.append(f"  Key      {made_key}   (printed only once; stored in the data folder)")
    try:
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
    except OSError:
        # The reader closed the pipe. The interpreter's own flush at exit must not hit it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
