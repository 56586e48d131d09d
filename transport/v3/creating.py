"""Finds or makes the session that an `attach` names: on this machine, or on the one that the device asks for.

What a session is made of belongs to its machine: folders, worktrees, agents, what each agent offers. So another machine
is asked to make its sessions itself, and it judges the key's right again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, get_args

import attrs
import trio

from actors.errors import MachineAway, NodeCallRefused, UnknownNode
from actors.events.session import Settings
from actors.offer import NO_OFFER, decode_offer, refusal_of
from actors.replies import RejectCode
from bridgehub.workspace.paths import PathRefused
from bridgehub.workspace.worktrees import BadWorktree, find_worktree, make_worktree, name_for
from transport.access.auth import CREATE_SESSION, authorize
from transport.config import TransportConfig
from transport.ports import Deps, Device
from transport.sessions import SessionRefused, find_or_create
from transport.v3.client_frames import SettingsAsked
from transport.v3.decode import WireError, decode_settings_asked, is_id
from transport.workspace.listing import Roots

__all__ = ["REJECTED", "Creating", "NewAsked", "look_at_worktree"]

REJECTED: Final[Mapping[str, RejectCode]] = {code: code for code in get_args(RejectCode)}
"""The refusals that are answered with `rejected`; any other is answered with an `error`."""


@attrs.frozen
class NewAsked:
    """The session that an `attach` names.

    Attributes:
        agent: None if the session must exist.
        label: the device's name in the session.
    """

    session_id: str
    agent: str | None
    label: str
    settings: SettingsAsked


@attrs.frozen
class Creating:
    """Finds or makes sessions."""

    config: TransportConfig
    deps: Deps

    async def find_or_create(self, device: Device, asked: NewAsked) -> bool:
        """Make sure that a session exists. Return whether it was made now.

        Raises:
            SessionRefused: it does not exist, and this device may not make it so.
            StorageError: nothing was made, or nobody knows.
        """
        nodes, node = self.deps.nodes, asked.settings.node
        if node is None or (nodes is not None and node == nodes.own):
            return await find_or_create(
                self.deps,
                self.config,
                device,
                asked.session_id,
                agent=asked.agent,
                label=asked.label,
                settings=partial(self._new_settings, asked),
            )
        if await self.deps.catalog.get(asked.session_id) is not None:
            return False
        if asked.agent is None:
            raise SessionRefused("unknown_session", "There is no such session.")
        if not authorize(device.scope, CREATE_SESSION):
            raise SessionRefused("forbidden", "This key may not create sessions.")
        try:
            if nodes is None:
                raise UnknownNode(node)
            return await nodes.create(node, asked.session_id, self._fields(device, asked))
        except UnknownNode as unknown:
            raise SessionRefused("unknown_node", f"settings.node: {unknown}") from None
        except MachineAway as away:
            raise SessionRefused("machine_away", str(away)) from None
        except NodeCallRefused as refused:
            raise SessionRefused(refused.code, str(refused)) from None

    def _fields(self, device: Device, asked: NewAsked) -> dict[str, Any]:
        settings = attrs.asdict(attrs.evolve(asked.settings, node=None))
        return {
            "device": device.id,
            "agent": asked.agent,
            "label": asked.label,
            "settings": {name: value for name, value in settings.items() if value is not None},
        }

    async def create_for(self, device: Device, session_id: str, fields: Mapping[str, Any]) -> bool:
        """Make a session that another node was asked for; `fields` is what it passed on. Return whether it was made.

        Raises:
            SessionRefused, StorageError: as `find_or_create`.
        """
        agent, label = fields.get("agent"), fields.get("label")
        is_whole = isinstance(agent, str) and isinstance(label, str) and is_id(label) and is_id(session_id)
        try:
            settings = decode_settings_asked(fields.get("settings"))
        except WireError as error:
            raise SessionRefused("bad_setting", str(error)) from None
        if not is_whole:
            raise SessionRefused("bad_setting", "The other machine asked in a form that is not known here.")
        return await self.find_or_create(device, NewAsked(session_id, agent, label or "", settings))

    # ---- settings ----

    async def _new_settings(self, asked: NewAsked) -> Settings:
        """Return the settings of a new session. Raises SessionRefused."""
        settings = await self._settings(asked.settings)
        await self._check(asked.agent or "", settings)
        return await self._with_worktree(settings, asked)

    async def _with_worktree(self, settings: Settings, asked: NewAsked) -> Settings:
        """Make the worktree that is asked for, and have the session work there. Raises SessionRefused."""
        wanted: object = asked.settings.worktree
        if wanted is None or wanted is False:
            return settings
        name = wanted if isinstance(wanted, str) else name_for(asked.session_id)
        try:
            if self.config.worktrees is None:
                raise BadWorktree("There are no worktrees here.")
            make = partial(make_worktree, self.config.worktrees, name, settings.workspace)
            # Not cancelled in its middle: what git has begun is then whole, and found by its name.
            return attrs.evolve(settings, workspace=await trio.to_thread.run_sync(make))
        except BadWorktree as refused:
            raise SessionRefused("bad_worktree", str(refused)) from None

    async def _settings(self, asked: SettingsAsked) -> Settings:
        workspace = self.config.workspace
        if asked.workspace is not None:
            folder = Path(workspace, asked.workspace)
            await self.check_workspace(folder)
            workspace = str(folder)
        return Settings(workspace, asked.model, asked.permission_mode, asked.effort)

    async def _check(self, agent: str, settings: Settings) -> None:
        """Refuse settings that the agent does not offer, as far as its offer is known. Raises SessionRefused."""
        offer = await self.deps.catalog.offer_of(agent)
        asked = {
            "model": settings.model,
            "permission_mode": settings.permission_mode,
            "effort": settings.effort,
        }
        refusal = refusal_of(
            NO_OFFER if offer is None else decode_offer(offer),
            asked,
            None,
            allows_bypass=agent in self.config.bypass_agents,
        )
        if refusal is not None:
            raise SessionRefused(*refusal)

    async def check_workspace(self, folder: str | Path) -> None:
        """Refuse a folder that is not there, or that sessions may not work in. Raises SessionRefused."""
        if self.config.workspace_roots is None:
            return
        try:
            await trio.to_thread.run_sync(Roots(self.config.workspace_roots).check, Path(folder))
        except PathRefused as refused:
            raise SessionRefused("bad_workspace", f"The workspace cannot be used: {refused}") from None


async def look_at_worktree(root: Path | None, workspace: str) -> dict[str, object] | None:
    """Return what devices see of the worktree that a session of this machine works in; None if it has none of ours.

    `root`: the folder of worktrees.
    """
    if root is None or not workspace.startswith(str(root)):
        return None
    return await trio.to_thread.run_sync(_look, root, workspace)


def _look(root: Path, workspace: str) -> dict[str, object] | None:
    found = find_worktree(root, workspace)
    if found is None:
        return None
    told: dict[str, object] = {"branch": found.branch, "base": found.base, "path": str(found.path)}
    try:
        state = found.look()
    except BadWorktree:  # it was removed by hand, say
        return {**told, "ahead": None, "dirty": None}
    return {**told, "ahead": state.ahead, "dirty": state.dirty}
