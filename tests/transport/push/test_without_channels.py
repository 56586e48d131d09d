"""A server without a channel pays nothing for notifications, unless somebody hears `alert` frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import cast

import attrs
import trio
import trio.testing

import transport.push.engine  # noqa: F401 -- loaded on a thread, and a virtual clock would jump meanwhile
from actors.events.conversation import Notice
from builderos.ids import new_id, new_key, wall_clock_ms
from storage.errors import StorageUnavailable
from storage.tables.notifications.channels import NewChannel
from tests.fakes.bus import FakeServer
from tests.storage.stores import until
from tests.transport.push.rig import Rig, asked, open_rig
from transport.push.attention import Attention
from transport.push.notifier import Notifier, run_notifier
from transport.push.settings import PushSettings


@attrs.define(eq=False)
class Steps(trio.abc.Instrument):
    """Counts how often the tasks below a nursery are run."""

    nursery: trio.Nursery
    count: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Implements `trio.abc.Instrument`."""
        nursery = task.parent_nursery
        while nursery is not None and nursery is not self.nursery:
            nursery = nursery.parent_task.parent_nursery
        self.count += nursery is not None


def notifier_of(rig: Rig, attention: Attention) -> Notifier:
    """Return the notifier of a database, without a config."""
    store = rig.store
    return Notifier(
        store.notifications,
        store.devices,
        PushSettings(),
        attention,
        lambda: rig.now_ms,
        new_id,
        store.settle,
        new_key,
    )


async def test_nothing_wakes_before_the_first_channel(tmp_path: Path) -> None:
    watchers: list[object] = []

    @contextmanager
    def watch(changed: Callable[[str], None]) -> Iterator[None]:
        watchers.append(changed)
        yield

    async with open_rig(tmp_path) as rig, trio.open_nursery() as nursery:
        notifier = notifier_of(rig, Attention(wall_clock_ms))
        deps = attrs.evolve(FakeServer().deps(), watch=watch)
        nursery.start_soon(run_notifier, notifier, deps)
        await until(lambda: notifier._registered.statistics().tasks_waiting == 1)
        steps = Steps(nursery)
        trio.lowlevel.add_instrument(steps)
        for number in range(20):
            await rig.journal(Notice(f"n{number}", "x"))
        assert (steps.count, watchers, notifier.engine) == (0, [], None)
        app = NewChannel(channel_id="c", kind="apns", owner="first", label="phone", address="token")
        await notifier.register(app)
        await until(lambda: steps.count > 0)
        await until(lambda: notifier._registered.statistics().tasks_waiting == 1)
        assert notifier.engine is None, "this server cannot send to the iOS app"
        trio.lowlevel.remove_instrument(steps)
        nursery.cancel_scope.cancel()


async def test_who_hears_alerts_needs_no_channel(tmp_path: Path) -> None:
    attention, heard = Attention(wall_clock_ms), list[dict[str, object]]()
    changed = list[Callable[[str], None]]()

    @contextmanager
    def watch(call: Callable[[str], None]) -> Iterator[None]:
        changed.append(call)
        yield

    async with open_rig(tmp_path) as rig, trio.open_nursery() as nursery:
        notifier = notifier_of(rig, attention)
        deps = attrs.evolve(
            FakeServer().deps(),
            watch=watch,
            catalog=rig.store.catalog,
            journal=rig.store.journal,
            attention=attention,
        )
        nursery.start_soon(run_notifier, notifier, deps)
        await until(lambda: notifier._registered.statistics().tasks_waiting == 1)
        with attention.listen(heard.append):
            await until(lambda: changed != [])
            await until(lambda: notifier._registered.statistics().tasks_waiting == 1)
            while await rig.store.notifications.alerts.position() is None:
                await trio.lowlevel.checkpoint()
            await rig.journal(asked("r1"))
            rig.now_ms += 3_000
            changed[0]("trip")
            await until(lambda: [one["state"] for one in heard] == ["open"])
            assert (heard[0]["kind"], heard[0]["request_id"]) == ("decision", "r1")
            assert notifier.engine is None, "nothing that sends is loaded"
            await rig.add("phone")
            notifier.look_again()
            await until(lambda: notifier.engine is not None)
        nursery.cancel_scope.cancel()


async def test_after_a_fault_it_starts_again_soon_and_then_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A node that takes over notifications may find a database that fails for a moment."""
    starts: list[float] = []

    class Failing:
        async def wait_needed(self) -> bool:
            starts.append(trio.current_time())
            await trio.sleep(100.0 if len(starts) == 8 else 0.0)
            raise StorageUnavailable("gone")

    with trio.move_on_after(300.0):
        await run_notifier(cast("Notifier", Failing()), FakeServer().deps())
    waits = [after - before for before, after in pairwise(starts)]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 101, 2, 4, 8, 16, 30, 30]
