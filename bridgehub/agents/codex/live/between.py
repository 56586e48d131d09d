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
from bridgehub.agents.codex.thread_settings import ThreadSettings
from bridgehub.agents.json_rpc.messages import HELD, Notification, ServerRequest
from bridgehub.agents.json_rpc.program import Program
from bridgehub.protocol.events import SettingsTold
from bridgehub.protocol.session_events import Joined, Titled

__all__ = ["BetweenCodexTurns"]

LOOK_AT_CLIENTS_S = 5.0
"""How often to look whether a terminal that joined is still there: its end sends no message."""


@attrs.define(eq=False)
class BetweenCodexTurns:
    """One a program. `socket`: where it listens. `settings`: what the thread works with."""

    program: Program
    thread_id: str
    commands: CodexCommands
    socket: str | None
    settings: ThreadSettings | None = None
    elsewhere: Elsewhere = attrs.field(init=False)
    is_joined: bool = False
    """Whether terminals share the program, as last reported."""

    def __attrs_post_init__(self) -> None:
        self.elsewhere = Elsewhere(self.thread_id)
        self.program.hear_idle_by(self._hear)

    async def is_shared(self) -> bool:
        """Return whether the program must not be restarted for us: others use it too."""
        if self.is_joined or not self.program.is_own:
            await trio.lowlevel.checkpoint()
            return True
        return await self._has_others()  # one may have joined since the last look

    async def _has_others(self) -> bool:
        """Look whether anybody but us is connected to the program."""
        if self.socket is None or not self.program.is_own:
            await trio.lowlevel.checkpoint()
            return False
        found = await trio.to_thread.run_sync(clients_of, self.socket)
        return found is not None and found > 1

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
                if self.elsewhere.title or self.elsewhere.settings is not None:
                    await self.tell_news(tell)
                else:
                    await self.elsewhere.wait()
            nursery.cancel_scope.cancel(reason="a terminal began a turn")
        return begun

    async def tell_news(self, tell: Tell) -> None:
        """Report the title that somebody gave the thread, and what a terminal changed in its settings."""
        title, self.elsewhere.title = self.elsewhere.title, ""
        settings, self.elsewhere.settings = self.elsewhere.settings, None
        if title:
            await tell(Titled(None, title))
        if settings is not None and self.settings is not None:
            changes = self.settings.note(settings)
            if changes:
                await tell(SettingsTold(None, changes, at_desk=True))

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
            is_told = False
            try:
                is_joined = await self._has_others()
                if is_joined != self.is_joined:
                    await tell(Joined(None, is_joined))
                    self.is_joined = is_joined
                is_told = True
            finally:
                self.elsewhere.was_heard |= not is_told  # a turn begins: the next look is after it
            if is_joined:
                self.elsewhere.was_heard = True
                await trio.sleep(LOOK_AT_CLIENTS_S)
