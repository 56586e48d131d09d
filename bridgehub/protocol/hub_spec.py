"""What a hub is started with, and a session's settings as it works with them."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["DelegateSpec", "HubSpec", "Setup", "Unsaved"]


@attrs.frozen
class DelegateSpec:
    """An agent that work may be handed to: its driver, its table of the config, its environment."""

    kind: str
    options: dict[str, Any]
    env: dict[str, str] = attrs.field(repr=False)
    own_env: tuple[str, ...] = ()


@attrs.frozen
class Unsaved:
    """A turn of an earlier hub that has a checkpoint before it and none after it."""

    turn_id: str
    checkpoint_id: str


@attrs.frozen
class HubSpec:
    """What a hub is started with; it comes over a pipe, never argv or disk (`env` may hold secrets).

    Attributes:
        hub_id: its identity, and the value of `BUILDEROS_HUB` in all its processes.
        session_id: the one session that it serves.
        agent: the agent's name in the config.
        kind: which driver of `bridgehub.agents` it runs.
        folder: the hub's own folder (0700): log, pid file, spool.
        socket: the path that it listens on, at most 100 bytes.
        workspace: where the agent works.
        env: the agent's whole environment.
        options: the agent's table of the config, less `kind` and `env`.
        agent_session_id: the agent-side conversation's id, the same for each hub of the session.
        agent_memory: what the driver last reported as `AgentMemory`; None if it never did.
        grants: what a person allowed for the whole session (`PermissionAsked.grant`).
        own_env: names in `env` that the agent's table of the config sets; no folder's settings override them.
        declined: whose settings the person said no to for this session (`protocol.trust.declined_name`).
        trust_store: the folder in which devices' trust is kept; empty: it is not kept.
        trusted_folders: folders that the operator trusts, with all that is below.
        counts_as: the folder whose trust counts for the workspace; empty: its own.
        blob_folder: where texts too long for an event go, one file each, named by sha256.
        delegates: agents that this one may hand work to, by name; empty if delegation is off.
        max_task_depth, max_tasks: bounds of delegation in one turn.
        idle_abandon_s: without a server, this long after its turn's end it writes its events down and ends.
        busy_abandon_s: the same, in the middle of a turn.
        checkpoint_folder: where the workspace's states are kept; empty: nowhere.
        unsaved: the turn whose second checkpoint is missing.
        silence_s: an agent that says nothing for so long, with nothing else to wait for, is stopped; None: never.
        start_s: how long the agent's program may take until it is ready.
    """

    hub_id: str
    session_id: str
    agent: str
    kind: str
    folder: str
    socket: str
    workspace: str
    env: dict[str, str] = attrs.field(repr=False)
    options: dict[str, Any]
    agent_session_id: str
    model: str | None = None
    permission_mode: str | None = None
    effort: str | None = None
    agent_memory: dict[str, Any] | None = None
    grants: tuple[str, ...] = ()
    own_env: tuple[str, ...] = ()
    declined: tuple[str, ...] = ()
    trust_store: str = ""
    trusted_folders: tuple[str, ...] = ()
    counts_as: str = ""
    blob_folder: str = ""
    delegates: dict[str, DelegateSpec] = attrs.field(factory=dict)
    max_task_depth: int = 2
    max_tasks: int = 20
    idle_abandon_s: float = 600.0
    busy_abandon_s: float = 86400.0
    silence_s: float | None = None
    start_s: float = 45.0
    checkpoint_folder: str = ""
    unsaved: Unsaved | None = None


@attrs.frozen
class Setup:
    """What the session's settings are: the agent works with them from its next turn on, or at once if it can.

    Attributes:
        model, permission_mode, effort: None is the agent's own default.
        grants: what is allowed for the whole session (`PermissionAsked.grant`); all that is not here any more is
            asked for again.
        title: what the session is called, for the program's own list; None: nothing.
    """

    model: str | None = None
    permission_mode: str | None = None
    effort: str | None = None
    grants: tuple[str, ...] = ()
    title: str | None = None

    @classmethod
    def of_spec(cls, spec: HubSpec) -> Setup:
        """Return the settings that a hub is started with."""
        return cls(spec.model, spec.permission_mode, spec.effort, spec.grants)
