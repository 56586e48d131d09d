"""What a node does for the others beside its commands and its routes. Loaded only with `--node`."""

from __future__ import annotations

from typing import Any

import attrs

from actors.errors import NodeCallRefused
from actors.nodes.node_answers import NodeQuestion
from actors.supervisor import Supervisor
from builderos.server.nodes import ServerNodes
from transport.config import TransportConfig
from transport.ports import Deps, Device
from transport.sessions import SessionRefused
from transport.v3.creating import Creating

__all__ = ["serve_nodes"]


def serve_nodes(nodes: ServerNodes, supervisor: Supervisor, config: TransportConfig, deps: Deps) -> None:
    """Answer the calls of other nodes from now on."""
    acts = _NodeActs(nodes, supervisor, Creating(config, deps))
    nodes.machines.serve("create", acts.create)


@attrs.frozen
class _NodeActs:
    """Does what needs more of this server than its sessions."""

    nodes: ServerNodes
    supervisor: Supervisor
    creating: Creating

    async def create(self, question: NodeQuestion) -> dict[str, Any]:
        """Make a session that a device of another node asks for. Raises NodeCallRefused, StorageError."""
        device = await self._device(question.fields.get("device"))
        session_id = str(question.fields.get("session_id"))
        try:
            made = await self.creating.create_for(device, session_id, question.fields)
        except SessionRefused as refused:
            raise NodeCallRefused(refused.code, str(refused)) from refused
        if not made:
            raise NodeCallRefused("exists", session_id)
        self.supervisor.note_change(session_id)
        return {}

    async def _device(self, device_id: object) -> Device:
        found = await self.nodes.find_device(str(device_id))
        if found is None:
            raise NodeCallRefused("forbidden", "This key was revoked.")
        return found
