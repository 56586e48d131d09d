"""Where a session's actor finds what it is to do: commands from devices, and news from its hub.

Two bounds, so that neither can shut the other out: many small commands, and few batches of hub events, which may
be large each. A task that puts waits while its lane is full; so a hub that is faster than the disk waits in its own
socket, and a device that is faster than the session waits in its own reader.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio

from actors.commands import Cancel, Decide, Envelope, Resolve, Send
from actors.replies import RejectCode, Rejected
from actors.session.inputs import DeskSeen, FoundElsewhere, HubGone, HubReady, UndoCarried, UndoPlanned
from bridgehub.protocol.messages import Reported

__all__ = ["COMMAND_LIMIT", "HUB_LIMIT", "HubBatch", "Mail", "Mailbox", "refuse"]

COMMAND_LIMIT = 128
"""Commands that wait; each holds at most one frame of 1 MiB, nearly all some hundred bytes."""

HUB_LIMIT = 2
"""Items of the hub's lane that wait; a batch is a slice of what the link gave (`hub_owner.SLICE_EVENTS`)."""


@attrs.frozen
class HubBatch:
    """Some events of one hub, in its order."""

    hub_id: str
    events: Sequence[Reported]


SessionNews = HubBatch | HubReady | HubGone | UndoPlanned | UndoCarried | DeskSeen | FoundElsewhere
Mail = Envelope | SessionNews


def refuse(mail: Sequence[Mail], content: str, code: RejectCode = "storage") -> None:
    """Answer each command in `mail` that it was not done; it left no trace."""
    for one in mail:
        if isinstance(one, Envelope):
            command = one.command
            message_id = command.message_id if isinstance(command, Send | Cancel | Resolve) else None
            request_id = command.request_id if isinstance(command, Decide) else None
            one.reply(Rejected(code, content, message_id=message_id, request_id=request_id))


@attrs.define(eq=False)
class Mailbox:
    """The mailbox of one session. One actor takes, any number of tasks put."""

    _commands: list[Envelope] = attrs.field(factory=list)
    _hub: list[SessionNews] = attrs.field(factory=list)
    _room: trio.lowlevel.ParkingLot | None = None
    _reader: trio.lowlevel.Task | None = None
    _is_rung: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, and nobody waits to put."""
        return not (self._commands or self._hub or self._room)

    async def put(self, envelope: Envelope) -> None:
        """Put a command; waits while its lane is full. Cancelled, it was not put."""
        while len(self._commands) >= COMMAND_LIMIT:
            await self._wait_room()
        self._commands.append(envelope)
        self.wake()

    async def put_from_hub(self, item: SessionNews) -> None:
        """Put news of the hub, or of an undo; waits while its lane is full. Cancelled, it was not put."""
        while len(self._hub) >= HUB_LIMIT:
            await self._wait_room()
        self._hub.append(item)
        self.wake()

    async def _wait_room(self) -> None:
        self._room = self._room or trio.lowlevel.ParkingLot()  # most mailboxes are never full
        await self._room.park()

    def add_nowait(self, item: SessionNews) -> None:
        """Put news that the session found itself, at most a few at a time."""
        self._hub.append(item)
        self.wake()

    def wake(self) -> None:
        """Wake the reader, also if nothing was put."""
        self._is_rung = True
        reader, self._reader = self._reader, None
        if reader is not None:
            trio.lowlevel.reschedule(reader)

    async def wait(self) -> None:
        """Return once there may be something to take, or after a poke.

        For the one reader an event would do the same; made again for each piece, it costs time, and memory while idle.
        """
        if self._is_rung:
            await trio.lowlevel.checkpoint()
            return
        self._reader = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._forget_reader)

    def _forget_reader(self, _: object) -> trio.lowlevel.Abort:
        self._reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def take_nowait(self) -> list[Mail]:
        """Return all that waits, in the order of each lane, hub first."""
        self._is_rung = False
        taken: list[Mail] = [*self._hub, *self._commands]
        self._hub.clear()
        self._commands.clear()
        self._make_room()
        return taken

    def drop_hub_mail(self) -> None:
        """Forget the hub's news, for an actor that starts again: the hub repeats it."""
        self._hub.clear()
        self._make_room()

    def _make_room(self) -> None:
        if self._room is not None:
            self._room.unpark_all()
