"""One server: makes, nests and ends its parts in the right order.

    data folder and its lock ⊃ store ⊃ hubs' starter ⊃ supervisor ⊃ listener

An inner part uses the outer ones, so each part outlives those that need it. At the end the listener asks its devices to
reconnect, the actors write their last events, the hubs are stopped or left running, and the store closes last.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from actors.config import ActorConfig
from actors.desk.answers import DeskAnswers
from actors.desk.questions import DeskQuestions
from actors.desk.sessions import DeskList
from actors.events.conversation import Attachment
from actors.hubs.processes import ProcessHubs
from actors.session.effect_runner import SessionDeps
from actors.supervisor import Supervisor, open_supervisor
from actors.warming import Warming
from actors.workspaces import WorkspaceUndo
from bridgehub.desk.programs import Desk
from builderos import VERSION
from builderos.config import Config, bypass_agents
from builderos.export.write import StoreExports
from builderos.ids import new_code, new_id, new_key, wall_clock_ms
from builderos.server.checkpoints import CheckpointKeeper
from builderos.server.desk import make_desk
from builderos.server.hub_specs import HubSpecs, agent_environment
from builderos.server.metrics import server_figures
from builderos.server.notifications import make_notifier
from builderos.server.options import ServeOptions
from builderos.server.process.signals import Shutdown
from builderos.server.process.sleep import SleepCommand
from builderos.server.process.socket_folder import find_socket_folder, tidy_socket_folder
from builderos.server.process.spare import can_spare
from builderos.server.readiness import ReadinessProbe
from builderos.server.retention import Retention
from builderos.server.startup import ensure_admin_key, log_startup_warnings, warn_of_plain_text
from builderos.server.tls import Tls
from storage.data_folder import CHECKPOINTS, WORKTREES, DataFolder, read_boot_id
from storage.store import Store, open_store
from transport import listener
from transport.attempts import SignInThrottle
from transport.audit_trail import AuditTrail, known_addresses
from transport.config import TransportConfig
from transport.facilities import HttpServices
from transport.metrics import Metrics
from transport.permission_timeout import PermissionTimeouts
from transport.ports import AppPorts, Deps
from transport.push.attention import Attention
from transport.push.notifier import Notifier
from transport.push.start import run_notifier
from transport.rendering.renderer import Renderer
from transport.signed_urls import UrlSigner
from transport.uploads import OwnUploads
from transport.workspace.listing import Roots
from transport.workspace.parts import Work
from transport.workspace.removal import SessionRemoval

__all__ = ["ServeError", "ServerContext", "run_server"]

COLLECT_AFTER = 10_000
"""Objects allocated before Python collects the young generation (its own default is 700). Reference counts free nearly
all of ours. A collection of this many takes a few hundred microseconds of the event loop."""

FEATURES = tuple(
    (name, True)
    for name in ("sessions", "uploads", "search", "capsules", "notifications", "devices", "metrics")
)
"""The features that `/api/status` lists."""

log = logging.getLogger("builderos.server")


class ServeError(Exception):
    """The server cannot start; the text is one line for a person."""


@attrs.frozen
class ServerContext:
    """The inputs of a server.

    Attributes:
        options, config: from the command line and the config file.
        folder: held by this process.
        tls: how to speak TLS; None without.
        key: the value of `BUILDEROS_API_KEY`, if set.
    """

    options: ServeOptions
    config: Config
    folder: DataFolder
    tls: Tls | None
    key: str | None = attrs.field(repr=False)


async def run_server(setup: ServerContext) -> None:
    """Run a server until a signal, then end it in order.

    Raises:
        ServeError, StorageError: it cannot start, inside an ExceptionGroup.
    """
    shutdown = Shutdown()
    folder = setup.folder
    async with trio.open_nursery() as nursery:
        await nursery.start(shutdown.run, nursery.cancel_scope)
        async with open_store(folder.database_path, boot_id=read_boot_id(), now_ms=wall_clock_ms()) as store:
            made_key = await ensure_admin_key(store, folder, setup.key)
            await store.audit.check_head(now_ms=wall_clock_ms())
            link_key = await store.settle("link_key", new_key())
            uploads = OwnUploads(store.uploads, UrlSigner(link_key.encode()))
            metrics, trail, answers = Metrics(), AuditTrail(store.audit, wall_clock_ms), DeskAnswers()
            desk = make_desk(setup.config, agent_environment(os.environ))
            store.journal.on_append = metrics.appended
            async with _open_sessions(
                setup.config, folder, store, metrics, uploads, trail, desk, answers
            ) as supervisor:
                await supervisor.recover()
                sessions = DeskList(desk, supervisor)
                parts = _Parts(setup, store, supervisor, uploads, metrics, trail, sessions, answers)
                parts.tries.remember(await known_addresses(store.audit, wall_clock_ms()))
                await _serve(parts, made_key=made_key, shutdown=shutdown)
                await supervisor.close(stop_hubs=shutdown.stop_hubs)
        nursery.cancel_scope.cancel(reason="the server has ended")


def _path_of(uploads: OwnUploads, attachment: Attachment) -> str | None:
    path = uploads.path_of(attachment)
    return None if path is None else str(path)


@asynccontextmanager
async def _open_sessions(
    config: Config,
    folder: DataFolder,
    store: Store,
    metrics: Metrics,
    uploads: OwnUploads,
    trail: AuditTrail,
    desk: Desk,
    answers: DeskAnswers,
) -> AsyncIterator[Supervisor]:
    """Run everything that makes sessions live. At the end, remaining tasks are cancelled; hubs keep running."""
    sockets = find_socket_folder(folder)
    hubs = ProcessHubs(folder.hubs_path, sockets, name_of=store.aliases.session, on_start=metrics.hub_started)
    specs = HubSpecs(config, folder.path, agent_environment(os.environ))
    deps = SessionDeps(
        journal=store.journal,
        ownership=store.ownership,
        catalog=store.catalog,
        hubs=hubs,
        clock=wall_clock_ms,
        new_id=new_id,
        spec_for=specs.spec_for,
        allows_bypass=bypass_agents(config).__contains__,
        is_revoked=lambda key_id: store.devices.get(key_id) is None,
        config=ActorConfig(hub_idle_s=config.hub_idle_s),
        warming=Warming(config.warm_limit, can_spare),
        path_of=partial(_path_of, uploads),
        undoes=WorkspaceUndo(folder.path / CHECKPOINTS, os.environ.get("HOME", "")),
        audited=trail.note,
        desk=desk,
        desk_decided=answers.tell,
    )
    try:
        async with open_supervisor(deps) as supervisor:
            yield supervisor
    finally:
        # Not bounded: it waits for the fork server, which ends when its input does, and looks at a folder.
        with trio.CancelScope(shield=True):
            await hubs.aclose()
            living = {hub.hub_id for hub in await hubs.living() if hub.alive}
        tidy_socket_folder(folder, sockets, living)


@attrs.frozen
class _Parts:
    """The parts that exist once sessions are live."""

    setup: ServerContext
    store: Store
    supervisor: Supervisor
    uploads: OwnUploads
    metrics: Metrics
    trail: AuditTrail
    desk: DeskList
    answers: DeskAnswers
    renderer: Renderer = attrs.field(factory=Renderer)
    tries: SignInThrottle = attrs.field(factory=SignInThrottle)
    attention: Attention = attrs.field(factory=lambda: Attention(wall_clock_ms))
    work: Work = attrs.field(init=False)
    notifier: Notifier = attrs.field(init=False)

    @notifier.default
    def _make_notifier(self) -> Notifier:
        return make_notifier(self.store, self.setup.config, self.attention)

    @work.default
    def _make_work(self) -> Work:
        roots = Roots(workspace_roots(self.setup.config, self.setup.options))
        data = self.setup.folder.path
        return Work(roots=roots, checkpoints=data / CHECKPOINTS, worktrees=data / WORKTREES)

    def transport_deps(self) -> Deps:
        """Return the services that the transport uses."""
        store, supervisor = self.store, self.supervisor
        return Deps(
            bus=supervisor,
            live=supervisor,
            catalog=store.catalog,
            journal=store.journal,
            devices=store.devices,
            watch=supervisor.watch,
            clock=wall_clock_ms,
            aliases=store.aliases,
            attention=self.attention,
            app=AppPorts(store.app_pairs, store.devices, new_id),
            uploads=self.uploads,
            renderer=self.renderer,
            facilities=self.facilities(),
            on_taken=self.metrics.taken,
            tries=self.tries,
            trail=self.trail,
        )

    def facilities(self) -> HttpServices:
        """Return the services that the HTTP routes use."""
        store, command = self.store, self.setup.config.system.sleep_command
        sleep = None if command is None else SleepCommand(command, agent_environment(os.environ))
        return HttpServices(
            data=self.setup.folder.path,
            workspace=Path(self.setup.options.workspace),
            uploads=self.uploads,
            search=store.search,
            notifier=self.notifier,
            devices=store.devices,
            pairings=store.pairings,
            audit=store.audit,
            sessions=self.supervisor,
            forks=self.supervisor,
            desk=self.desk,
            metrics=self.metrics,
            work=self.work,
            new_id=new_id,
            new_key=new_key,
            new_code=new_code,
            sleep=None if sleep is None else sleep.run,
            readiness=self.readiness(),
            export=StoreExports(store.journal, store.catalog),
            more_figures=partial(server_figures, store, self.supervisor),
        )

    def readiness(self) -> ReadinessProbe:
        """Return the probe of the agents' state."""
        config, workspace = self.setup.config, Path(self.setup.options.workspace)
        return ReadinessProbe(config, agent_environment(os.environ), Path.home(), workspace)


async def _serve(parts: _Parts, *, made_key: str | None, shutdown: Shutdown) -> None:
    """Serve the port until a signal, then until all devices were notified."""
    setup, store = parts.setup, parts.store
    options, deps = setup.options, parts.transport_deps()
    tls = None if setup.tls is None else setup.tls.context
    made = attrs.evolve(_transport_config(options, setup.config), worktrees=parts.work.worktrees)
    serve = partial(listener.serve, made, deps, tls=tls)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(parts.renderer.run, name="renderer")
        nursery.start_soon(parts.work.search.run, name="file search")
        try:
            listening: listener.Listening = await nursery.start(serve)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ServeError(f"cannot listen on {options.host}:{options.port}: {reason}") from error
        address = _Address("http" if setup.tls is None else "https", options.host, listening.port)
        setup.folder.note_address(address.local)
        log_startup_warnings(setup.folder, setup.key)
        if setup.tls is None:
            warn_of_plain_text(host for host, _ in listening.addresses)
        else:
            await nursery.start(setup.tls.run)
        if deps.trail is not None:
            nursery.start_soon(deps.trail.run, name="audit")
        nursery.start_soon(store.pairings.run, wall_clock_ms, name="pairings")
        if (days := setup.config.retention_days) is not None:
            removal = SessionRemoval(parts.supervisor, store.catalog, parts.work)
            is_live = parts.supervisor.is_live
            retention = Retention(store.catalog, days, wall_clock_ms, is_live, removal.remove)
            nursery.start_soon(retention.run, name="retention")
        keeper = CheckpointKeeper(
            setup.folder.path / CHECKPOINTS, store.catalog, setup.config.checkpoint_days, wall_clock_ms
        )
        nursery.start_soon(keeper.run, name="checkpoints")
        nursery.start_soon(run_notifier, parts.notifier, deps, name="notifications")
        nursery.start_soon(parts.desk.look_again, name="desk")
        sockets = await trio.to_thread.run_sync(find_socket_folder, setup.folder)
        questions = DeskQuestions(parts.desk, parts.answers, new_id)
        nursery.start_soon(questions.run, setup.folder.path, sockets, name="questions of terminals")
        if setup.config.permission_timeout_s is not None:
            nursery.start_soon(PermissionTimeouts(deps, setup.config.permission_timeout_s).run)
        _print_banner(address, store.path, await store.catalog.count(), made_key)
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


def workspace_roots(config: Config, options: ServeOptions) -> tuple[Path, ...]:
    """Return the folders that devices may name for new sessions, and all below."""
    if config.workspace_roots is not None:
        return tuple(Path(folder).expanduser() for folder in config.workspace_roots)
    return tuple(dict.fromkeys((Path.home(), Path(options.workspace))))


def _transport_config(options: ServeOptions, config: Config) -> TransportConfig:
    return TransportConfig(
        host=options.host,
        port=options.port,
        version=VERSION,
        agents=tuple(config.agents),
        bypass_agents=bypass_agents(config),
        workspace=str(options.workspace),
        workspace_roots=workspace_roots(config, options),
        features=(*FEATURES, ("sleep", config.system.sleep_command is not None)),
        max_connections=config.max_connections,
        max_sessions=config.max_sessions,
        max_uploads_bytes=config.max_uploads_bytes,
        trusted_proxies=config.trusted_proxies,
        heartbeat_s=config.heartbeat_s,
        app_resume_without_key=config.app.resume_without_key,
    )


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


def _print_banner(address: _Address, database: Path, session_count: int, made_key: str | None) -> None:
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
