"""Removing and forking a session at its home, wherever it is asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

import attrs

from actors.errors import ActorError, RefusedAtHome, SessionBusy, ShuttingDown
from actors.fork import TurnRuns, UnknownTurn
from actors.nodes.home import ActRefused
from actors.nodes.router import Router
from actors.supervisor import Supervisor
from storage.errors import SessionExists, SessionMissing, StorageUnavailable

__all__ = ["ForksAnywhere", "acts_at_home", "remove_elsewhere"]

Act = Callable[[str, dict[str, Any]], Awaitable[None]]
Remove = Callable[[str, bool], Awaitable[None]]

_CODES: Final[dict[type[Exception], str]] = {
    SessionMissing: "missing",
    SessionExists: "exists",
    SessionBusy: "busy",
    UnknownTurn: "unknown_turn",
    TurnRuns: "turn_runs",
    ShuttingDown: "shutting_down",
}
_ERRORS: Final[dict[str, Callable[[str], Exception]]] = {
    "missing": SessionMissing,
    "exists": SessionExists,
    "busy": SessionBusy,
    "unknown_turn": UnknownTurn,
    "turn_runs": TurnRuns,
    "shutting_down": ShuttingDown,
    "storage": StorageUnavailable,
}


def acts_at_home(supervisor: Supervisor, remove: Remove) -> Mapping[str, Act]:
    """Return what a home does for other nodes. `remove`: removes a session with or without force; its refusals have a
    `code`."""

    async def forking(session_id: str, fields: dict[str, Any]) -> None:
        after, title = fields["after_turn"], fields["title"]
        await supervisor.fork(
            session_id, after, new_id=fields["new_id"], device_id=fields["device_id"], title=title
        )

    async def removing(session_id: str, fields: dict[str, Any]) -> None:
        await remove(session_id, bool(fields["force"]))

    return {"fork": partial(_telling, forking), "remove": partial(_telling, removing)}


async def _telling(act: Act, session_id: str, fields: dict[str, Any]) -> None:
    """Raise the errors of an act as ActRefused."""
    try:
        await act(session_id, fields)
    except tuple(_CODES) as error:
        raise ActRefused(_CODES[type(error)], str(error)) from error
    except ActorError as error:
        raise ActRefused(getattr(error, "code", "refused"), str(error)) from error
    except KeyError as error:
        raise ActRefused("unknown", "The session's machine has another version.") from error


async def remove_elsewhere(router: Router, session_id: str, force: bool) -> None:
    """Have another node remove a session. Raises as its own removal, MachineAway and RefusedAtHome."""
    await _asked(router, "remove", session_id, {"force": force})


@attrs.frozen
class ForksAnywhere:
    """Forks a session at its home; implements `transport.http.services.Forks`."""

    router: Router
    own: Supervisor

    async def fork(
        self, session_id: str, after_turn: str | None, *, new_id: str, device_id: str, title: str | None
    ) -> None:
        """See `actors.supervisor.Supervisor.fork`; raises MachineAway too."""
        if await self.router.home_of(session_id) == self.router.post.node:
            await self.own.fork(session_id, after_turn, new_id=new_id, device_id=device_id, title=title)
            return
        fields = {"after_turn": after_turn, "new_id": new_id, "device_id": device_id, "title": title}
        await _asked(self.router, "fork", session_id, fields)


async def _asked(router: Router, what: str, session_id: str, fields: dict[str, Any]) -> None:
    try:
        await router.ask(what, session_id, fields)
    except RefusedAtHome as refused:
        made = _ERRORS.get(refused.code)
        if made is None:
            raise
        raise made(session_id if refused.code in ("missing", "exists", "busy") else str(refused)) from refused
