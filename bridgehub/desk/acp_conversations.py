"""The conversations that an agent of the ACP keeps itself, as the server asks for them.

Only the agent knows them, so it must be started, in a process of its own (`acp_program`). A list is remembered for a
moment, since a start takes seconds.
"""

from __future__ import annotations

import logging
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import attrs
import orjson
import trio

from bridgehub.agents.acp.desk import DeskConversation, memory_of
from bridgehub.desk.records import (
    Began,
    DeskEvent,
    DeskHistory,
    DeskMark,
    DeskSession,
    Ended,
    NoSuchSession,
    Said,
    ToolCalled,
    ToolReturned,
    list_text,
)
from bridgehub.desk.turns import read_time
from bridgehub.protocol.codec import encode
from bridgehub.protocol.hub_spec import HubSpec

__all__ = ["AcpConversations", "sessions_of"]

log = logging.getLogger("builderos.bridgehub")

LIST_S: Final = 10.0
"""How long to wait for an agent's list if the lists of all are wanted."""

READ_S: Final = 90.0
"""How long to wait for a conversation, or for the list of one agent: a start, and what it may take to answer."""

KEPT_S: Final = 60.0
"""How long a list counts, also an empty one of an agent that did not answer."""

MAX_ANSWER: Final = 64 * 1024 * 1024

_KINDS: Final = {one.__name__: one for one in (Began, Said, ToolCalled, ToolReturned, Ended)}


class _NotTold(Exception):
    """The agent could not be asked."""


@attrs.define(eq=False)
class AcpConversations:
    """The conversations of one agent.

    Attributes:
        spec: what starts it; its hub and its workspace are not used.
        folder: where it starts for a list, in a folder of its own. Nobody else may write there or above: an agent reads
            settings of its folder and of those above, and runs what they name.
    """

    spec: HubSpec = attrs.field(repr=False)
    new_id: Callable[[], str]
    folder: str
    command: tuple[str, ...] = (sys.executable, "-m", "bridgehub.desk.acp_program")
    _listed: tuple[DeskConversation, ...] = ()
    _until: float = 0.0
    _waited_s: float = math.inf
    """How long the last list was waited for, if it did not come."""
    _lock: trio.Lock = attrs.field(factory=trio.Lock)
    _now: Callable[[], float] = trio.current_time

    async def sessions(self, limit_s: float = LIST_S) -> list[DeskSession]:
        """Return the list; empty if the agent cannot be asked within `limit_s`."""
        async with self._lock:
            if self._now() >= self._until or limit_s > self._waited_s:
                listed = await self._ask_list(limit_s)
                self._waited_s = math.inf if listed is not None else limit_s
                self._listed, self._until = listed or (), self._now() + KEPT_S
        return [_session(one) for one in self._listed]

    async def history(self, native_id: str) -> DeskHistory:
        """Return a conversation whole. Its texts are left out if its folder's settings are not trusted.

        Raises:
            NoSuchSession: the agent does not have it, or cannot be asked.
        """
        await self.sessions(READ_S)
        found = next((one for one in self._listed if one.native_id == native_id), None)
        if found is None:
            raise NoSuchSession(native_id)
        try:
            told = await self._ask(found, self.spec, READ_S)
        except _NotTold as error:
            log.warning("desk: a conversation of %s cannot be read: %s", self.spec.agent, error)
            raise NoSuchSession(native_id) from error
        events = await trio.to_thread.run_sync(_events, told["events"])
        mark = DeskMark(native_id)
        return DeskHistory(_session(found), events, mark, memory_of(native_id), bool(told["is_cut"]))

    async def _ask_list(self, limit_s: float) -> tuple[DeskConversation, ...] | None:
        with tempfile.TemporaryDirectory(prefix="desk-", dir=self.folder) as folder:
            try:
                told = await self._ask(None, attrs.evolve(self.spec, workspace=folder), limit_s)
            except _NotTold as error:
                log.info("desk: %s tells no conversations: %s", self.spec.agent, error)
                return None
        return tuple(DeskConversation(**one) for one in told["sessions"] if "/" not in one["native_id"])

    async def _ask(self, wanted: DeskConversation | None, spec: HubSpec, limit_s: float) -> dict[str, Any]:
        """Raises _NotTold."""
        line = orjson.dumps(None if wanted is None else attrs.asdict(wanted))
        given = encode(attrs.evolve(spec, hub_id=self.new_id())).rstrip(b"\n") + b"\n" + line + b"\n"
        output = b""
        try:
            with trio.move_on_after(limit_s):
                output = await _run(self.command, given)
        except* (OSError, trio.BrokenResourceError):
            output = b""  # it cannot be started, or ended before it had read anything
        try:
            told: dict[str, Any] = await trio.to_thread.run_sync(orjson.loads, output)
        except orjson.JSONDecodeError:
            raise _NotTold("no answer in time" if not output else "no answer") from None
        if "error" in told:
            raise _NotTold(told["error"])
        return told


async def sessions_of(
    agents: Mapping[str, AcpConversations], only: str | None
) -> list[tuple[str, DeskSession]]:
    """Return the lists of all these agents, asked at once, or of one of them, which may take longer."""
    found: list[tuple[str, DeskSession]] = []
    limit_s = LIST_S if only is None else READ_S

    async def ask(name: str, agent: AcpConversations) -> None:
        found.extend((name, one) for one in await agent.sessions(limit_s))

    async with trio.open_nursery() as nursery:
        for name, agent in agents.items():
            if only in (None, name):
                nursery.start_soon(ask, name, agent)
    return found


async def _run(command: tuple[str, ...], given: bytes) -> bytes:
    """Run the process; return what it says. Its stdin stays open until then: the end of it would stop it."""
    output = bytearray()
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process,
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        process: trio.Process = await nursery.start(start)
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdin.send_all(given)
        async for chunk in process.stdout:
            output += chunk
            if len(output) > MAX_ANSWER:
                nursery.cancel_scope.cancel(reason="the answer is too long")
    return bytes(output)


def _events(told: list[tuple[str, dict[str, Any]]]) -> list[DeskEvent]:
    """Return the events of an answer. There may be very many: use a thread."""
    return [_KINDS[kind](**fields) for kind, fields in told]


def _session(one: DeskConversation) -> DeskSession:
    title = list_text(one.title) or one.native_id
    return DeskSession(one.native_id, title, one.workspace, "", read_time(one.last_activity), 0, "")
