"""Between two turns of a Codex thread: what its background commands and other clients of the program do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import trio

from bridgehub.agents.base import BeganAtDesk, Tell
from bridgehub.agents.codex.commands import CodexCommands
from bridgehub.agents.codex.live.elsewhere import Elsewhere
from bridgehub.agents.codex.live.sockets import clients_of
from bridgehub.agents.codex.program import HELD, Program
from bridgehub.agents.codex.protocol import Notification, ServerRequest
from bridgehub.protocol.desk_events import Joined, Titled

__all__ = ["BetweenCodexTurns"]

LOOK_AT_CLIENTS_S = 5.0
"""How often to look whether a terminal that joined is still there: its end sends no message."""


@attrs.define(eq=False)
class BetweenCodexTurns:
    """One a program. `socket`: where it listens."""

    program: Program
    thread_id: str
    commands: CodexCommands
    socket: str | None
    elsewhere: Elsewhere = attrs.field(init=False)
    is_joined: bool = False
    """Whether terminals share the program, as last reported."""

    def __attrs_post_init__(self) -> None:
        self.elsewhere = Elsewhere(self.thread_id)
        self.program.hear_idle_by(self._hear)

    @property
    def is_shared(self) -> bool:
        """Whether the program must not be restarted for us: others use it too."""
        return self.is_joined or not self.program.is_own

    async def wait(self, tell: Tell) -> BeganAtDesk | None:
        """Report what happens. Return the turn that a terminal began; None once the program has ended."""
        begun: BeganAtDesk | None = None
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def wait_commands() -> None:
                await self.commands.wait(tell)
                nursery.cancel_scope.cancel(reason="the program is over")

            nursery.start_soon(self._watch_clients, tell)
            while (begun := self.elsewhere.begun()) is None:
                if self.elsewhere.title:
                    await self.tell_title(tell)
                else:
                    await self.elsewhere.wait()
            nursery.cancel_scope.cancel(reason="a terminal began a turn")
        return begun

    async def tell_title(self, tell: Tell) -> None:
        """Report the title that somebody gave the thread."""
        title, self.elsewhere.title = self.elsewhere.title, ""
        if title:
            await tell(Titled(None, title))

    def _hear(self, told: Notification | ServerRequest) -> Mapping[str, Any] | None:
        """Take what the program sends (`Speech.idle`)."""
        if not self.commands.background.hear(told) and self.elsewhere.keep(told):
            return HELD
        # A question that is not kept is not of a turn of this thread. Its own client answers it.
        return None if self.program.is_own and not self.elsewhere.was_heard else HELD

    async def _watch_clients(self, tell: Tell) -> None:
        """Report whether terminals have joined. Nothing is looked at before another client did something."""
        while True:  # noqa: ASYNC913 - waits for a client, or between two looks
            while not self.elsewhere.was_heard:
                await self.elsewhere.wait()
            self.elsewhere.was_heard = False  # who acts from now on is looked for again
            found = None
            if self.socket is not None and self.program.is_own:
                found = await trio.to_thread.run_sync(clients_of, self.socket)
            is_joined = found is not None and found > 1
            if is_joined != self.is_joined:
                await tell(Joined(None, is_joined))
                self.is_joined = is_joined
            if is_joined:
                self.elsewhere.was_heard = True
                await trio.sleep(LOOK_AT_CLIENTS_S)
