"""When a hub learns what is committed: pieces together, anything else at once, and text in bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import trio
import trio.testing

from actors.session.ack_pacer import ACK_EVENTS, ACK_LENGTH, ACK_S
from actors.session.hub_owner import HubOwner
from actors.session.mailbox import HubBatch, Mailbox
from bridgehub.protocol.events import Consumed, HubEvent, TextPiece, TurnDone
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import Ack
from tests.fakes.scripted_hubs import ScriptedHub, ScriptedHubs, open_scripted_hubs

SPEC = HubSpec("h1", "trip", "echo", "echo", "/w/h1", "/w/h1/hub.sock", "/w", {}, {}, "agent-1")


@attrs.define(eq=False)
class Acting:
    """An owner with a linked hub, and a stand-in for the actor that commits what the hub reports."""

    owner: HubOwner
    hubs: ScriptedHubs
    committed: int = 0

    @property
    def hub(self) -> ScriptedHub:
        return self.hubs.newest

    @property
    def acks(self) -> list[int]:
        return [message.seq for message in self.hub.told if isinstance(message, Ack)]

    async def commit(self, *events: HubEvent) -> None:
        """Have the hub report events, each on its own, and acknowledge all at once."""
        for event in events:
            self.hub.report(event)
        await trio.testing.wait_all_tasks_blocked()
        for mail in self.owner.mailbox.take_nowait():
            if isinstance(mail, HubBatch):
                self.committed = mail.events[-1].seq
        self.owner.acknowledge(self.committed)
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def acting() -> AsyncIterator[Acting]:
    async with open_scripted_hubs() as hubs, trio.open_nursery() as nursery:
        made = Acting(HubOwner("trip", hubs, Mailbox(), 1, lambda hub_id: made.committed), hubs)
        made.owner.serve_in(nursery)
        made.owner.start(SPEC)
        await trio.testing.wait_all_tasks_blocked()
        made.owner.mailbox.take_nowait()
        yield made
        nursery.cancel_scope.cancel(reason="test done")


def pieces(count: int, length: int = 5) -> Sequence[TextPiece]:
    return [TextPiece("t1", "text", "b", "x" * length)] * count


async def test_pieces_are_acknowledged_together(autojump_clock: trio.testing.MockClock) -> None:
    async with acting() as made:
        for _ in range(3):
            await made.commit(*pieces(1))
        assert made.acks == []
        await trio.sleep(ACK_S)
        await trio.testing.wait_all_tasks_blocked()
        assert made.acks == [3]
        assert made.hub.acked == 3
        await trio.sleep(10 * ACK_S)
        assert made.acks == [3]


async def test_many_pieces_are_acknowledged_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with acting() as made:
        await made.commit(*pieces(ACK_EVENTS - 1))
        assert made.acks == []
        await made.commit(*pieces(1))
        assert made.acks == [ACK_EVENTS]


async def test_much_text_is_acknowledged_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with acting() as made:
        await made.commit(*pieces(1, ACK_LENGTH - 1))
        assert made.acks == []
        await made.commit(*pieces(1))
        assert made.acks == [2]
        await made.commit(*pieces(1))
        assert made.acks == [2]


async def test_anything_but_a_piece_is_acknowledged_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with acting() as made:
        await made.commit(Consumed("t1"))
        await made.commit(*pieces(1))
        assert made.acks == [1]
        await made.commit(*pieces(1), TurnDone("t1"), *pieces(1))
        assert made.acks == [1, 5]


async def test_a_new_link_counts_anew(autojump_clock: trio.testing.MockClock) -> None:
    async with acting() as made:
        await made.commit(*pieces(2))
        made.hub.cut_link()
        await trio.sleep(1)
        made.owner.mailbox.take_nowait()
        assert made.acks == []
        assert made.hub.acked == 2  # the greeting said it
        await made.commit(TurnDone("t1"))
        assert made.acks == [3]
