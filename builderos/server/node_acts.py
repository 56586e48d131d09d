"""What a node does for the others beside the commands of its sessions. Loaded only with `--node`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from actors.nodes.acts import Act, acts_at_home
from actors.nodes.home import ActRefused
from builderos.server.nodes import ServerNodes
from transport.config import TransportConfig
from transport.ports import Deps, Device
from transport.sessions import SessionRefused
from transport.v3.creating import Creating
from transport.workspace.removal import SessionRemoval

__all__ = ["acts_of"]


def acts_of(
    nodes: ServerNodes, config: TransportConfig, deps: Deps, removal: SessionRemoval
) -> Mapping[str, Act]:
    """Return what this node does for others, by its name."""
    acts = NodeActs(nodes, Creating(config, deps))

    async def remove(session_id: str, force: bool) -> None:
        await removal.remove(session_id, force=force)

    return {**acts_at_home(nodes.supervisor, remove), "create": acts.create}


@attrs.frozen
class NodeActs:
    """Does what needs more of this server than its sessions."""

    nodes: ServerNodes
    creating: Creating

    async def create(self, session_id: str, fields: dict[str, Any]) -> None:
        """Make a session that a device of another node asks for. Raises ActRefused, StorageError."""
        device = await self._device(fields.get("device"))
        try:
            made = await self.creating.create_for(device, session_id, fields)
        except SessionRefused as refused:
            raise ActRefused(refused.code, str(refused)) from refused
        if not made:
            raise ActRefused("exists", session_id)
        self.nodes.supervisor.note_change(session_id)

    async def _device(self, device_id: object) -> Device:
        """Return a device by its id. It may be younger than what this node has read. Raises ActRefused."""
        devices = self.nodes.store.devices
        known = devices.get(str(device_id))
        if known is None:
            await self.nodes.refresh_keys()
            known = devices.get(str(device_id))
        if known is None:
            raise ActRefused("forbidden", "This key was revoked.")
        return known
