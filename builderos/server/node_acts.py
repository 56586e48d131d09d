"""What a node does for the others beside its commands and its routes. Loaded only with `--node`."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import trio

from actors.errors import NodeCallRefused
from actors.events.codec import decode_settings
from actors.nodes.node_answers import NodeQuestion
from actors.supervisor import Supervisor
from bridgehub.workspace.prune import forget_session
from builderos.server.nodes import ServerNodes
from storage.records import SessionRecord
from transport.access.auth import authorize
from transport.config import TransportConfig
from transport.ports import Deps, Device
from transport.sessions import SessionRefused
from transport.v3.creating import Creating, look_at_worktree

__all__ = ["serve_nodes"]


def serve_nodes(nodes: ServerNodes, supervisor: Supervisor, config: TransportConfig, deps: Deps) -> None:
    """Answer the calls of other nodes from now on."""
    acts, moving = _NodeActs(nodes, supervisor, config, deps), nodes.moving
    nodes.machines.serve("create", acts.create)
    nodes.machines.serve("worktree", acts.worktree)
    moving.check, moving.forget, moving.may_move = acts.check, acts.forget, acts.may_move
    moving.serve()


@attrs.frozen
class _NodeActs:
    """Does what needs more of this server than its sessions."""

    nodes: ServerNodes
    supervisor: Supervisor
    config: TransportConfig
    deps: Deps

    async def create(self, question: NodeQuestion) -> dict[str, Any]:
        """Make a session that a device of another node asks for. Raises NodeCallRefused, StorageError."""
        device = await self._device(question.fields.get("device"))
        session_id = str(question.fields.get("session_id"))
        try:
            made = await Creating(self.config, self.deps).create_for(device, session_id, question.fields)
        except SessionRefused as refused:
            raise NodeCallRefused(refused.code, str(refused)) from refused
        if not made:
            raise NodeCallRefused("exists", session_id)
        self.supervisor.note_change(session_id)
        return {}

    async def check(self, record: SessionRecord) -> None:
        """Raise NodeCallRefused if a session cannot work here."""
        if record.agent_type not in self.config.agents:
            raise NodeCallRefused(
                "unknown_agent", f"{self.nodes.machines.own} has no agent {record.agent_type}."
            )
        workspace = decode_settings(record.settings).workspace
        try:
            await Creating(self.config, self.deps).check_workspace(workspace)
        except SessionRefused as refused:
            content = f"{refused} Make that folder on {self.nodes.machines.own} first, or use force."
            raise NodeCallRefused(refused.code, content) from refused

    async def forget(self, session_id: str) -> None:
        """Remove the checkpoints of a session that was here before."""
        services = self.deps.services
        if services is not None and services.work.checkpoints is not None:
            forget = partial(forget_session, services.work.checkpoints, session_id)
            await trio.to_thread.run_sync(forget, limiter=services.work.threads)

    async def may_move(self, device_id: str) -> bool:
        """Return whether a device may move sessions. Raises StorageError."""
        try:
            device = await self._device(device_id)
        except NodeCallRefused:
            return False
        return authorize(device.scope, "POST /api/sessions/{id}/move")

    async def worktree(self, question: NodeQuestion) -> dict[str, Any]:
        """Return what a device of another node sees of a session's worktree. Raises NodeCallRefused, StorageError."""
        device, catalog = await self._device(question.fields.get("device")), self.nodes.store.catalog
        if not authorize(device.scope, "attach"):
            raise NodeCallRefused("forbidden", "This key may not do that.")
        record = await catalog.get(str(question.fields.get("session_id")))
        if record is None or record.owner != catalog.owner:
            return {"worktree": None}
        root, workspace = self.config.worktrees, decode_settings(record.settings).workspace
        return {"worktree": await look_at_worktree(root, workspace)}

    async def _device(self, device_id: object) -> Device:
        found = await self.nodes.find_device(str(device_id))
        if found is None:
            raise NodeCallRefused("forbidden", "This key was revoked.")
        return found
