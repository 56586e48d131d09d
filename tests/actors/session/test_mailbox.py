"""Two lanes, each bounded, hub first; a task that waits for room gets it or leaves no trace."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.commands import Attach, Command, Decide, Envelope, Send
from actors.replies import Rejected, Reply
from actors.session.inputs import HubGone
from actors.session.mailbox import COMMAND_LIMIT, HUB_LIMIT, HubBatch, Mailbox, refuse
from tests.actors.core import author


def envelope(replies: list[Reply], number: int = 0) -> Envelope:
    return Envelope(Send(f"m{number}", "x"), author("phone"), replies.append)


async def test_the_hub_s_lane_comes_first_and_each_keeps_its_order(autojump_clock: MockClock) -> None:
    box = Mailbox()
    one, two = envelope([], 1), envelope([], 2)
    await box.put(one)
    await box.put_from_hub(HubBatch("h", []))
    await box.put(two)
    await box.put_from_hub(HubGone("h", "died"))
    assert box.take_nowait() == [HubBatch("h", []), HubGone("h", "died"), one, two]
    assert box.is_empty


async def test_a_full_lane_makes_its_own_senders_wait_only(autojump_clock: MockClock) -> None:
    box = Mailbox()
    for number in range(COMMAND_LIMIT):
        await box.put(envelope([], number))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.put, envelope([], 999))
        await wait_all_tasks_blocked()
        for _ in range(HUB_LIMIT):
            await box.put_from_hub(HubBatch("h", []))
        assert len(box.take_nowait()) == COMMAND_LIMIT + HUB_LIMIT
        assert len(nursery.child_tasks) == 1
    assert len(box.take_nowait()) == 1


async def test_cancelled_while_it_waits_a_put_leaves_no_trace(autojump_clock: MockClock) -> None:
    box = Mailbox()
    for number in range(COMMAND_LIMIT):
        await box.put(envelope([], number))
    with trio.move_on_after(1):
        await box.put(envelope([], 999))
    assert len(box.take_nowait()) == COMMAND_LIMIT
    assert box.is_empty


async def test_whoever_waits_to_put_counts_as_mail(autojump_clock: MockClock) -> None:
    box = Mailbox()
    for _ in range(HUB_LIMIT):
        await box.put_from_hub(HubBatch("h", []))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.put_from_hub, HubBatch("h", []))
        await wait_all_tasks_blocked()
        box.drop_hub_mail()
        await wait_all_tasks_blocked()
        assert not box.is_empty
    assert len(box.take_nowait()) == 1


async def test_wait_returns_for_mail_and_for_a_poke(autojump_clock: MockClock) -> None:
    box = Mailbox()

    async def put() -> None:
        await box.put(envelope([]))

    async def wake() -> None:
        box.wake()

    for fill in (wake, put):
        with trio.move_on_after(1) as scope:
            await box.wait()
        assert scope.cancelled_caught
        await fill()
        with trio.fail_after(1):
            await box.wait()
        box.take_nowait()


def test_refusals_name_what_they_answer() -> None:
    replies: list[Reply] = []
    commands: list[Command] = [Send("m", "x"), Decide("p", "allow"), Attach()]
    refuse([*(Envelope(c, author("a"), replies.append) for c in commands), HubGone("h", "died")], "full")
    assert replies == [
        Rejected("storage", "full", message_id="m"),
        Rejected("storage", "full", request_id="p"),
        Rejected("storage", "full"),
    ]
