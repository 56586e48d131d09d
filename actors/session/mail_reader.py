"""Turns an actor's mail into the inputs of a step: looks up what was stored before, and what others did at the desk."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio

from actors.commands import AskAtDesk, Configure, Envelope, Resolve, Send, SendNow, TakeOver, Warm
from actors.session.effect_runner import EffectRunner, SessionDeps
from actors.session.inputs import DeskSeen, FromDevice, FromHub, Input
from actors.session.mailbox import HubBatch, Mail
from actors.session.state import SessionState
from actors.session.timers import Timers
from actors.tail import Tail

__all__ = ["MailReader"]

BRINGS_PROMPT = (Send, SendNow, Resolve, TakeOver, AskAtDesk, Warm, Configure)
"""Commands before which the conversation is looked at.

They may begin a turn or start a program, or clear the way for it. What somebody chose in a terminal before a device chooses
must not undo that later.
"""


@attrs.frozen(eq=False)
class MailReader:
    """The reader of one session's mail, for as long as its state is good."""

    session_id: str
    deps: SessionDeps
    state: SessionState
    effects: EffectRunner
    tail: Tail
    timers: Timers

    async def read(self, mail: Sequence[Mail]) -> list[Input]:
        """Return the inputs of `mail`, in its order. Raises StorageError."""
        ids = [
            one.command.message_id
            for one in mail
            if isinstance(one, Envelope) and isinstance(one.command, Send)
        ]
        known = await self.deps.journal.find_commands(self.session_id, ids) if ids else {}
        given: list[Input] = []
        looks = await self._looks(mail)
        for one in mail:
            match one:
                case HubBatch():
                    given += [FromHub(one.hub_id, reported) for reported in one.events]
                case Envelope():
                    command = one.command
                    if isinstance(command, Warm) and not await self._may_warm(command):
                        continue
                    if looks and isinstance(command, BRINGS_PROMPT):
                        given += looks
                        looks = []
                    record = known.get(command.message_id) if isinstance(command, Send) else None
                    others = any(device.device_id != one.author.device_id for device in self.tail.devices)
                    given.append(FromDevice(one, record, others))
                case _:
                    given.append(one)
        return given

    def revoked_keys(self) -> frozenset[str]:
        """Return the keys of messages for later that are not good any more."""
        keys = {one.key_id for one in self.state.queue.values() if one.key_id}
        return frozenset(key for key in keys if self.deps.is_revoked(key))

    async def _looks(self, mail: Sequence[Mail]) -> list[DeskSeen]:
        """Look at what others did to the conversation, before a message goes to the agent."""
        desk, turn = self.effects.desk, self.state.turn
        brings = any(isinstance(one, Envelope) and isinstance(one.command, BRINGS_PROMPT) for one in mail)
        if desk is None or not brings or (turn is not None and not self.state.is_at_desk):
            return []
        return await desk.look()

    async def _may_warm(self, wanted: Warm) -> bool:
        if not wanted.joins:
            starts = self.state.hub_id is None
            if self.state.turn is not None or not await self.deps.warming.may(self.session_id, starts=starts):
                return False
        self.timers.idle_since = trio.current_time()
        return True
