"""The way of commands to another node. Each has exactly one answer.

A command is posted again if its home does not confirm it, and the home does it once. A home that starts again meanwhile
gets a message or an attach again: the journal knows a message's id. If the home is gone, the journal says whether a message
was taken; of other commands nobody knows, and the answer says so.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

import attrs
import trio

from actors.commands import Attach, Envelope, Send
from actors.errors import MachineAway, SessionFailed, ShuttingDown
from actors.nodes.mail import CommandMail, NodeMail, ReplyMail, TakenMail, encode_mail
from actors.nodes.ports import Post, has_ended, incarnation_of
from actors.ports import Ids, Journal
from actors.replies import Accepted, RejectCode
from actors.session.mailbox import refuse
from actors.tail import AttachedDevice
from storage.errors import SessionMissing, StorageError, StorageUnavailable

__all__ = ["HomeCalls"]

AGAIN_S: Final = 3.0
"""A command that its home has not confirmed is posted again after so long."""

GIVEN_UP_S: Final = 9.0
"""Then the answer is that nobody knows. Below `actors.nodes.home.STALE_S`: later the home does not do it."""

MAX_UNANSWERED: Final = 64
"""Commands of one session on their way; the next one waits, as at a full mailbox."""

REPLY_S: Final = 60.0
"""How long a reply is expected: most commands have one only if they are refused."""

LOST_S: Final = 3.0
"""A message without a reply for so long is looked up: the reply may be lost."""

_log = logging.getLogger("builderos.actors")


@attrs.define(eq=False)
class _Pending:
    """A command on its way, or without its reply. `taken`: what its home said. `is_looked_up`: in the journal, now."""

    home: str
    incarnation: int
    session_id: str
    envelope: Envelope
    since: float
    heard: trio.Event = attrs.field(factory=trio.Event)
    taken: TakenMail | None = None
    is_looked_up: bool = False


def _ignore(_: str, __: tuple[AttachedDevice, ...]) -> None:
    pass


@attrs.define(eq=False)
class HomeCalls:
    """Calls to the homes of sessions. `told_others`: called with the devices of other nodes, after an attach."""

    post: Post
    journal: Journal
    new_id: Ids
    nursery: trio.Nursery
    told_others: Callable[[str, tuple[AttachedDevice, ...]], None] = _ignore
    _pending: dict[str, _Pending] = attrs.field(factory=dict, init=False)
    _under_way: Counter[str] = attrs.field(factory=Counter, init=False)
    _room: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot, init=False)

    async def submit(self, home: str, session_id: str, envelope: Envelope) -> None:
        """Hand a command to a session's home; return once its owner has it. See `actors.ports.CommandBus`.

        Raises:
            MachineAway: the home was not reached, or died with a command that is not a message.
            SessionMissing, SessionFailed, ShuttingDown: as the home says.
            StorageError: it was not taken, or nobody knows.
        """
        while self._under_way[session_id] >= MAX_UNANSWERED:
            await self._room.park()
        incarnation = incarnation_of(self.post, home)
        key = self.new_id()
        pending = _Pending(home, incarnation, session_id, envelope, trio.current_time())
        self._pending[key] = pending
        self._under_way[session_id] += 1
        kept = False
        try:
            body = encode_mail(
                CommandMail(key, self.post.node, session_id, envelope.author, envelope.command)
            )
            with trio.move_on_after(GIVEN_UP_S):  # noqa: ASYNC912 - an answer may be there
                while pending.taken is None:
                    pending.heard = trio.Event()
                    self.post.post(home, body, within_s=AGAIN_S)
                    with trio.move_on_after(AGAIN_S):
                        await pending.heard.wait()
            _raise_failure(pending.taken, session_id, home)
            kept = True
        finally:
            self._under_way[session_id] -= 1
            if not self._under_way[session_id]:
                del self._under_way[session_id]
            self._room.unpark_all()
            if not kept:
                self._pending.pop(key, None)

    def take(self, mail: NodeMail) -> None:
        """Take an answer. Never blocks."""
        if not isinstance(mail, TakenMail | ReplyMail):
            return
        pending = self._pending.get(mail.key)
        if pending is None:
            return
        if isinstance(mail, TakenMail):
            pending.taken = mail
            pending.heard.set()
        else:
            pending.taken = pending.taken or TakenMail(mail.key)
            pending.heard.set()
            del self._pending[mail.key]
            pending.envelope.reply(mail.reply)
            if mail.others:
                self.told_others(pending.session_id, mail.others)

    def look(self) -> None:
        """Settle what cannot be answered any more. Call it now and then, and after a node came or went."""
        now = trio.current_time()
        for key, one in tuple(self._pending.items()):
            ended = has_ended(self.post, one.home, one.incarnation)
            if one.taken is None:
                if ended:
                    self._retry(key, one)
            elif isinstance(one.envelope.command, Send) and (ended or now - one.since > LOST_S):
                if not one.is_looked_up:
                    one.is_looked_up = True
                    self.nursery.start_soon(self._look_up, key, one)
            elif ended or now - one.since > REPLY_S:
                del self._pending[key]
                if ended and now - one.since < LOST_S:
                    _refuse_unknown(one)

    def _retry(self, key: str, one: _Pending) -> None:
        """Settle a command that a home did not confirm before it ended: it may have been taken all the same."""
        state, command = self.post.nodes.get(one.home), one.envelope.command
        if state is not None and state.is_alive and isinstance(command, Send | Attach):
            one.incarnation = state.incarnation  # to be posted again: done twice it is done once
        elif isinstance(command, Send):
            one.taken = TakenMail(key)  # the journal knows it
        else:
            one.taken = TakenMail(key, "away" if isinstance(command, Attach) else "unknown")
        one.heard.set()

    async def answered(self, session_id: str, envelope: Envelope) -> bool:
        """Answer a message that the journal has, from an earlier attempt; return whether it did. Raises StorageError."""
        command = envelope.command
        if not isinstance(command, Send):
            await trio.lowlevel.checkpoint()
            return False
        found = (await self.journal.find_commands(session_id, [command.message_id])).get(command.message_id)
        if found is not None:
            envelope.reply(_found(command.message_id, found.seq))
        return found is not None

    def waits(self, session_id: str) -> bool:
        """Return whether a message of this session has no answer yet."""
        return bool(self._waiting(session_id))

    def _waiting(self, session_id: str) -> list[tuple[str, _Pending, str]]:
        return [
            (key, one, one.envelope.command.message_id)
            for key, one in self._pending.items()
            if one.session_id == session_id and isinstance(one.envelope.command, Send)
        ]

    async def settle(self, session_id: str, after: int, head: int) -> None:
        """Answer the messages that are in the journal behind `after` and up to `head`: their events are shown next.

        The reply of their home came before its word of the events, unless it was lost. Raises StorageError.
        """
        waiting = self._waiting(session_id)
        if not waiting:
            return
        found = await self.journal.find_commands(session_id, [message_id for _, _, message_id in waiting])
        for key, one, message_id in waiting:
            record = found.get(message_id)
            if record is not None and after < record.seq <= head and self._pending.pop(key, None) is not None:
                one.taken = one.taken or TakenMail(key)
                one.heard.set()
                one.envelope.reply(_found(message_id, record.seq))

    async def _look_up(self, key: str, one: _Pending) -> None:
        """Answer a message whose reply does not come: what the journal has is true."""
        command = one.envelope.command
        assert isinstance(command, Send)
        try:
            found = (await self.journal.find_commands(one.session_id, [command.message_id])).get(
                command.message_id
            )
        except StorageError as error:
            _log.info("session %s: a message cannot be looked up yet: %s", one.session_id, error)
            found = None
        if self._pending.get(key) is not one:
            return  # the reply came after all
        one.is_looked_up = False
        if found is not None:
            del self._pending[key]
            one.envelope.reply(_found(command.message_id, found.seq))
        elif has_ended(self.post, one.home, one.incarnation) or trio.current_time() - one.since > REPLY_S:
            del self._pending[key]
            _refuse_unknown(one)


def _found(message_id: str, seq: int) -> Accepted:
    """Return the answer to a message that is in the journal. Nobody knows whether it was there before it was sent."""
    return Accepted(message_id, seq, duplicate=True)


def _refuse_unknown(one: _Pending) -> None:
    if isinstance(one.envelope.command, Attach):
        refuse([one.envelope], f"Try again: its machine ({one.home}) went away.")
        return
    # A message that is refused as `machine_away` has left no trace for certain; of this one nobody knows.
    code: RejectCode = "storage" if isinstance(one.envelope.command, Send) else "machine_away"
    refuse([one.envelope], str(MachineAway(one.home, was_asked=True)), code)


def _raise_failure(taken: TakenMail | None, session_id: str, home: str) -> None:
    if taken is None:
        raise StorageUnavailable(
            f"node {home} did not confirm the command: nobody knows whether it was taken"
        )
    raisers: dict[str, Callable[[], Exception]] = {
        "missing": partial(SessionMissing, session_id),
        "failed": partial(SessionFailed, session_id, taken.retry_in_s),
        "shutting_down": partial(ShuttingDown, taken.content),
        "storage": partial(StorageUnavailable, taken.content),
        "away": partial(MachineAway, home),
        "unknown": partial(MachineAway, home, was_asked=True),
    }
    failure = raisers.get(taken.failure)
    if failure is not None:
        raise failure()
