"""Opens everything that makes sessions live: the desk, hubs, their specs, the supervisor."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from actors.config import ActorConfig
from actors.desk.questions import DeskAnswers
from actors.hubs.processes import ProcessHubs
from actors.session.ack_pacer import Lateness
from actors.session.effect_runner import SessionDeps
from actors.supervisor import Supervisor, open_supervisor
from actors.tail import QuietTails
from actors.warming import WarmPlaces
from actors.workspaces import WorkspaceUndo
from bridgehub.desk.programs import Desk, DeskAgent
from bridgehub.desk.records import DESK
from bridgehub.protocol.hub_spec import HubSpec
from builderos.config import AcpAgent, Config, bypass_agents
from builderos.ids import new_id, wall_clock_ms
from builderos.server.hub_specs import TRUST_NAME, HubSpecs, agent_environment, agent_options
from builderos.server.process.resources import can_spare, give_back_memory
from builderos.server.process.socket_folder import find_socket_folder, tidy_socket_folder
from storage.data_folder import CHECKPOINTS, DataFolder
from storage.store import Store
from transport.access.audit_trail import AuditTrail
from transport.metrics import Metrics
from transport.uploads import OwnUploads

__all__ = ["make_desk", "open_sessions"]


def make_desk(config: Config, data: Path, environment: Mapping[str, str]) -> Desk:
    """Return the reader of what the agents' programs keep in this data folder's view. Starts and reads nothing."""
    agents = {
        name: DeskAgent(name, agent.kind, {**environment, **agent.env})
        for name, agent in config.agents.items()
        if agent.kind in ("claude", "codex")
    }
    asked = {name: agent for name, agent in config.agents.items() if isinstance(agent, AcpAgent)}
    if not asked:
        return Desk(agents, wall_clock_ms)
    from bridgehub.desk.acp_conversations import AcpConversations  # loads the drivers of such agents

    acp = {
        name: AcpConversations(_desk_spec(name, agent, config, data, environment), new_id, str(data))
        for name, agent in asked.items()
    }
    return Desk(agents, wall_clock_ms, acp)


def _desk_spec(
    name: str, agent: AcpAgent, config: Config, data: Path, environment: Mapping[str, str]
) -> HubSpec:
    """Return what starts an agent that is asked for its conversations: no hub, no session."""
    return HubSpec(
        hub_id=DESK,
        session_id=DESK,
        agent=name,
        kind=agent.kind,
        folder="",
        socket="",
        workspace="",
        env={**environment, **agent.env},
        options=agent_options(agent),
        agent_session_id=DESK,
        start_s=agent.start_s,
        trust_store=str(data / TRUST_NAME),
        trusted_folders=config.trusted_folders,
    )


@asynccontextmanager
async def open_sessions(
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
    actor_config = ActorConfig(hub_idle_s=config.hub_idle_s)
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
        config=actor_config,
        warming=WarmPlaces(config.warm_limit, can_spare),
        quiet=QuietTails(actor_config.tail_rest_s, give_back_memory),
        lateness=Lateness(_forced_gather_ms()),
        path_for=uploads.path_for,
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


def _forced_gather_ms() -> int | None:
    """Return what tests want instead of the machine's own lateness."""
    given = os.environ.get("BUILDEROS_TEST_GATHER_MS", "")
    return int(given) if given.isdecimal() else None
