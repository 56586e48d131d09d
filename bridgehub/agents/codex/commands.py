"""The commands that one program runs: which ones an interrupt ends, and how to stop a background command."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable

import attrs
import trio

from bridgehub.agents.base import Tell
from bridgehub.agents.codex.background import CodexBackground
from bridgehub.agents.errors import ProgramError
from bridgehub.agents.json_rpc.program import Program

__all__ = ["CodexCommands"]

_log = logging.getLogger("builderos.bridgehub")

CLEAN_S = 1.0
"""How long the commands of an interrupted turn may take to end, seconds. Then the program is closed with them."""

MAX_SPARED = 10_000
"""Newest tool calls whose commands an interrupt leaves alone. A session has hundreds."""


@attrs.frozen
class _AllBut(Container[str]):
    """A container of all ids except one."""

    item_id: str

    def __contains__(self, other: object) -> bool:
        return other != self.item_id


@attrs.define(eq=False)
class CodexCommands:
    """The commands of one program and its thread."""

    program: Program
    thread_id: str
    background: CodexBackground = attrs.field(factory=CodexBackground)
    _spared: dict[str, None] = attrs.field(factory=dict)
    """Tool calls that are done, or that earlier turns left in the background. An interrupt ends none of them."""

    def spare(self, items: Iterable[str]) -> None:
        """Make interrupts leave alone what these calls started."""
        self._spared |= dict.fromkeys(items)
        while len(self._spared) > MAX_SPARED:
            del self._spared[next(iter(self._spared))]

    async def end_new(self, threads: Iterable[str]) -> bool:
        """End what an interrupted turn leaves in the background, also in its agents' `threads`. Return whether it ended.

        Commands of earlier turns stay.
        """
        done = False
        with trio.move_on_after(CLEAN_S):  # noqa: ASYNC912 - a call waits, or fails at once
            try:
                for thread_id in (self.thread_id, *threads):
                    await self._terminate(thread_id)
                await self.program.kill_commands(self._spared)
                done = True
            except ProgramError as error:
                _log.info("commands were not ended: %s", type(error).__name__)
        return done

    async def stop(self, item_id: str, tell: Tell) -> None:
        """End a background command and what it started. Raises ProgramExited.

        Does not wait for Codex's answer, because a stop has little time.
        """
        await trio.lowlevel.checkpoint()
        found = self.background.running.get(item_id)
        if found is None:
            return
        ended = self.background.stop(item_id)  # first, because Codex reports the command as failed
        which = {"threadId": found[0], "processId": found[1]}
        await self.program.tell("thread/backgroundTerminals/terminate", which)
        await self.program.kill_commands(_AllBut(item_id))
        await tell(ended)

    async def wait(self, tell: Tell) -> None:
        """Report what ends in the background between two turns. Return once the program has ended."""
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def tell_ended() -> None:
                while True:
                    await self.background.wait()
                    await self.background.tell_ended(tell)

            await self.program.gone.wait()
            nursery.cancel_scope.cancel(reason="the program is over")

    async def _terminate(self, thread_id: str) -> None:
        listed = await self.program.call("thread/backgroundTerminals/list", {"threadId": thread_id})
        for terminal in listed.objects("data"):
            if terminal.text("itemId") not in self._spared:
                which = {"threadId": thread_id, "processId": terminal.text("processId")}
                await self.program.call("thread/backgroundTerminals/terminate", which)
