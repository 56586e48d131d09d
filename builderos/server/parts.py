"""What a server is made of: its inputs, its parts once sessions are live, and what the transport gets of them."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from actors.desk.questions import DeskAnswers
from actors.desk.sessions import DeskList
from actors.supervisor import Supervisor
from builderos import VERSION
from builderos.agent_checks import examine_agent
from builderos.config import Config, bypass_agents
from builderos.ids import new_code, new_id, new_key, wall_clock_ms
from builderos.server.hub_specs import agent_environment
from builderos.server.process.sleep import SleepCommand
from builderos.server.tls import Tls
from storage.data_folder import CHECKPOINTS, WORKTREES, DataFolder
from storage.store import Store
from transport.access.attempts import SignInThrottle
from transport.access.audit_trail import AuditTrail
from transport.config import TransportConfig
from transport.http.services import AgentState, HttpServices, Readiness, Work
from transport.metrics import Figure, Metrics, lags_of
from transport.ports import AppPorts, Deps
from transport.push.attention import Attention
from transport.push.notifier import Notifier
from transport.rendering.renderer import Renderer
from transport.uploads import OwnUploads
from transport.workspace.listing import Roots

if TYPE_CHECKING:
    from actors.nodes.router import Router
    from builderos.server.nodes import ServerNodes

__all__ = ["ReadinessProbe", "ServeOptions", "ServerContext", "ServerParts", "transport_config"]

FEATURES = tuple(
    (name, True)
    for name in ("sessions", "uploads", "search", "capsules", "notifications", "devices", "metrics")
)
"""The features that `/api/status` lists."""


@attrs.frozen(kw_only=True)
class ServeOptions:
    """The options of `builderos serve`, checked as far as possible without starting anything."""

    host: str
    port: int
    data: Path
    workspace: Path
    config: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    log_level: str
    take_over: bool
    database: str | None
    move_here: bool
    node: str | None = None


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


@attrs.frozen
class ReadinessProbe:
    """Reports to devices whether the agents are installed and signed in, and how to fix what is not.

    It uses the doctor's checks: they look at files and variables, and start no process. Blocks for a few stats of files.

    Attributes:
        environment: the part of the server's that agents get.
    """

    config: Config
    environment: Mapping[str, str] = attrs.field(repr=False)
    home: Path
    workspace: Path

    def __call__(self) -> Readiness:
        """Return what is missing and how to fix it."""
        agents = tuple(self._agent(name) for name in self.config.agents)
        usable = self.workspace.is_dir() and os.access(self.workspace, os.R_OK | os.X_OK)
        return Readiness(agents, self.workspace, usable)

    def _agent(self, name: str) -> AgentState:
        agent = self.config.agents[name]
        for finding in examine_agent(name, agent, {**self.environment, **agent.env}, self.home):
            if finding.fix:  # without one it is only a remark
                return AgentState(name, agent.kind, finding.detail, finding.fix)
        return AgentState(name, agent.kind)


@attrs.frozen
class ServerParts:
    """The parts that exist once sessions are live. `nodes`: the other servers; None if there can be none."""

    setup: ServerContext
    store: Store
    supervisor: Supervisor
    uploads: OwnUploads
    metrics: Metrics
    trail: AuditTrail
    desk: DeskList
    answers: DeskAnswers
    nodes: ServerNodes | None = None
    renderer: Renderer = attrs.field(factory=Renderer)
    tries: SignInThrottle = attrs.field(factory=SignInThrottle)
    attention: Attention = attrs.field(factory=lambda: Attention(wall_clock_ms))
    work: Work = attrs.field(init=False)
    notifier: Notifier = attrs.field(init=False)

    @notifier.default
    def _make_notifier(self) -> Notifier:
        store = self.store
        return Notifier(
            store.notifications,
            store.devices,
            self.setup.config.push,
            self.attention,
            wall_clock_ms,
            new_id,
            store.settle,
            new_key,
            agent_environment(os.environ),
            place=store.database.place,
        )

    @work.default
    def _make_work(self) -> Work:
        roots = Roots(workspace_roots(self.setup.config, self.setup.options))
        data = self.setup.folder.path
        return Work(roots=roots, checkpoints=data / CHECKPOINTS, worktrees=data / WORKTREES)

    @property
    def front(self) -> Supervisor | Router:
        """What knows all sessions that devices see: those of this machine, or of all."""
        return self.supervisor if self.nodes is None else self.nodes.router

    def transport_deps(self) -> Deps:
        """Return the services that the transport uses."""
        store, front = self.store, self.front
        return Deps(
            bus=front,
            live=front,
            catalog=store.catalog,
            journal=store.journal,
            devices=store.devices,
            watch=front.watch,
            clock=wall_clock_ms,
            aliases=store.aliases,
            attention=self.attention,
            app=AppPorts(store.app_pairs, store.devices, new_id),
            uploads=self.uploads,
            renderer=self.renderer,
            services=self.services(),
            on_taken=self.metrics.taken,
            tries=self.tries,
            trail=self.trail,
            nodes=None if self.nodes is None else self.nodes.machines,
        )

    def services(self) -> HttpServices:
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
            moves=None if self.nodes is None else self.nodes.moving,
            desk=self.desk,
            metrics=self.metrics,
            work=self.work,
            new_id=new_id,
            new_key=new_key,
            new_code=new_code,
            sleep=None if sleep is None else sleep.run,
            readiness=self.readiness(),
            export=self._export,
            more_figures=partial(server_figures, store, self.supervisor),
            lags=lambda: lags_of(self.front.listeners()),
        )

    async def _export(
        self, session_id: str, form: Literal["md", "json"], write: Callable[[str], Awaitable[None]]
    ) -> None:
        """Write a session as text. Implements `transport.http.services.Exports`."""
        from builderos.export.write import StoreExports  # few export

        await StoreExports(self.store.journal, self.store.catalog)(session_id, form, write)

    def readiness(self) -> ReadinessProbe:
        """Return the probe of the agents' state."""
        config, workspace = self.setup.config, Path(self.setup.options.workspace)
        return ReadinessProbe(config, agent_environment(os.environ), Path.home(), workspace)


def workspace_roots(config: Config, options: ServeOptions) -> tuple[Path, ...]:
    """Return the folders that devices may name for new sessions, and all below."""
    if config.workspace_roots is not None:
        return tuple(Path(folder).expanduser() for folder in config.workspace_roots)
    return tuple(dict.fromkeys((Path.home(), Path(options.workspace))))


def transport_config(options: ServeOptions, config: Config) -> TransportConfig:
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


def server_figures(store: Store, supervisor: Supervisor) -> list[Figure]:
    """Return the figures of sessions and storage for `/metrics`, as they are now."""
    sessions, writer = supervisor.statistics(), store.statistics().writer
    lags = lags_of(supervisor.listeners())
    return [
        Figure("gauge", "builderos_sessions_live", "Sessions in memory.", sessions.live_count),
        Figure("gauge", "builderos_sessions_failed", "Sessions that were given up.", sessions.failed_count),
        Figure(
            "counter", "builderos_session_crashes_total", "Crashes of session actors.", sessions.crash_count
        ),
        Figure("gauge", "builderos_device_lag", "Positions that a device is behind.", lags, "device"),
        Figure("gauge", "builderos_writer_waiting", "Jobs that wait for the writer.", writer.waiting),
        Figure("counter", "builderos_writer_jobs_total", "Jobs that the writer has done.", writer.jobs),
        Figure("counter", "builderos_commits_total", "Transactions committed.", writer.commits),
        Figure("counter", "builderos_synced_commits_total", "Of these, with fsync.", writer.synced),
    ]
