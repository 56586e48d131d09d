"""Kills a process between any two states of a delivery, and looks at what the next one makes of it.

    python -m tests.transport.push.kills 300 [--seed N] [--plant position|sending|recall]

A child process leads a history of requests, answers and time through consumer and courier on a real database, and kills
itself (SIGKILL) at a random point: before or after a commit, before or after a request to a service. A second one ends
the history. Then, by the service's own log and the database:

1. Each event has exactly one alert.
2. Each card makes at most one sound.
3. No card of an alert is sent after the alert was settled.
4. Each card that was sent is withdrawn after its alert was settled.
5. What nobody settled was notified to somebody.

`--plant` builds a mistake in, which must be found.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from actors.events.conversation import Complete
from actors.events.permissions import PermissionResolved
from storage.sqlite.writer import Writer
from storage.tables.notifications import alerts as alert_tables
from storage.tables.notifications.alerts import Alerts
from storage.tables.notifications.deliveries import Deliveries
from tests.storage.stores import NOW_MS
from tests.transport.push.rig import Rig, asked, open_rig
from transport.push.senders.sending import Card, ServiceAnswer
from transport.push.settings import PushSettings

__all__ = ["run"]

NEVER = 10**9
SETTINGS = PushSettings(escalate_s=20, fallback_s=20)

Step = tuple[str, int, int]
"""`ask`, `done`, `allow` or `read`, the number of a session, and the second at which it happens."""


def history(chance: random.Random) -> list[Step]:
    """Return what happens, in order: two requests and a turn's end, most of them settled at some time."""
    steps: list[Step] = []
    for number in range(3):
        at = chance.randrange(5)
        begins = "done" if number == 2 else "ask"
        steps.append((begins, number, at))
        if chance.random() < 0.8:
            steps.append(("read" if begins == "done" else "allow", number, at + chance.randrange(1, 40)))
    return sorted(steps, key=lambda step: step[2])


class Points:
    """Counts the points where a server may die, and dies at one of them."""

    def __init__(self, die_at: int) -> None:
        self.count = 0
        self.die_at = die_at

    def __call__(self) -> None:
        self.count += 1
        if self.count == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def watch_commits(point: Points) -> None:
    """Make each commit two of the points."""
    inner = Writer.submit

    async def submit(self: Writer, work: Callable[..., Any], **how: Any) -> Any:
        point()
        result = await inner(self, work, **how)
        point()
        return result

    Writer.submit = submit  # type: ignore[assignment, method-assign]


def plant(mistake: str) -> None:
    """Build a mistake in."""
    if mistake == "position":  # the position is stored before the alerts
        inner = Alerts.plan

        async def plan(self: Alerts, expected: str, position: str, changes: Any) -> Any:
            await inner(self, expected, position, [])
            return await inner(self, position, position, changes)

        Alerts.plan = plan  # type: ignore[method-assign]
    elif mistake == "sending":  # nothing says that a card is on its way

        async def begin(self: Deliveries, due: Any) -> bool:
            await trio.lowlevel.checkpoint()
            return True

        Deliveries.begin = begin  # type: ignore[method-assign]
    elif mistake == "recall":  # what was on its way at a kill is forgotten

        async def recall(self: Deliveries, now_ms: int) -> None:
            await trio.lowlevel.checkpoint()

        Deliveries.recall = recall  # type: ignore[method-assign]
        alert_tables._WITHDRAW = alert_tables._WITHDRAW.replace("'sending', ", "")


async def lead(folder: Path, steps: list[Step], point: Points) -> None:
    """Lead the history on from where an earlier process left it, to its end."""
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(**fields: object) -> None:
        os.write(log, json.dumps(fields).encode() + b"\n")

    class Logging:
        async def send(self, channel: Any, card: Card) -> ServiceAnswer:
            point()
            write(post=channel.channel_id, alert=card.alert_id, settled=card.settled, repeat=card.repeat)
            point()
            await trio.lowlevel.checkpoint()
            return ServiceAnswer(201)

    async with open_rig(folder, SETTINGS) as rig:
        rig.ids = lambda: os.urandom(16).hex()
        rig.service = Logging()  # type: ignore[assignment]
        rig.restart()
        hearing = rig.attention.listen(lambda told: write(told=told["alert_id"], state=told["state"]))
        hearing.__enter__()
        await prepare(rig)
        await rig.consumer.begin()
        await rig.store.notifications.deliveries.recall(rig.now_ms)
        begun = json.loads((folder / "second").read_text()) if (folder / "second").exists() else 0
        for second in range(begun, 70):
            (folder / "second").write_text(str(second))
            rig.now_ms = NOW_MS + second * 1000
            for what, number, at in steps:
                if at == second:
                    await act(rig, what, f"s{number}")
            await rig.pass_time()


async def prepare(rig: Rig) -> None:
    """Have two devices, unless there are some."""
    if not await rig.store.notifications.channels.listing():
        for name in ("phone", "mac"):
            if rig.store.devices.get(name) is None:
                await rig.add(name)
    elif rig.store.devices.get("mac") is None:
        await rig.add("mac")
    rig.attention.use("phone")


async def act(rig: Rig, what: str, session_id: str) -> None:
    """Do one step of the history, unless it is done."""
    record = await rig.store.catalog.get(session_id)
    head = 0 if record is None else record.head_seq
    if what == "ask" and head == 0:
        await rig.journal(asked(), session_id=session_id)
    elif what == "done" and head == 0:
        await rig.journal(Complete(1, 0, ""), session_id=session_id)
    elif what == "allow" and head == 1:
        await rig.journal(PermissionResolved("r1", "allow", "ipad"), session_id=session_id)
    elif what == "read":
        await rig.store.catalog.note(session_id, read_seq=1)
        rig.consumer.changed(session_id)


async def faults(folder: Path, steps: list[Step]) -> list[str]:
    """Return what does not hold at the end."""
    found: list[str] = []
    lines = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    posts: dict[tuple[str, str], list[Any]] = defaultdict(list)
    ended: set[str] = set()
    for line in lines:
        if "told" in line:
            if line["state"] == "settled":
                ended.add(line["told"])
            continue
        posts[line["alert"], line["post"]].append(line)
        if not line["settled"] and line["alert"] in ended:
            found.append("a card of a settled alert was sent")
    async with open_rig(folder, SETTINGS) as rig:
        why = await rig.why()
    wanted = sorted(f"s{number}" for what, number, _ in steps if what in ("ask", "done"))
    if sorted(alert.session_id for alert, _ in why) != wanted:
        found.append(f"alerts: {sorted(alert.session_id for alert, _ in why)}, wanted {wanted}")
    settled = {f"s{number}" for what, number, _ in steps if what in ("allow", "read")}
    for alert, deliveries in why:
        if (alert.settled_at_ms is not None) != (alert.session_id in settled):
            found.append(f"{alert.session_id}: settled is {alert.settled_at_ms}")
        sent = {name: posts[alert.alert_id, name] for name in deliveries}
        if alert.session_id not in settled and not any(sent.values()):
            found.append(f"{alert.session_id}: nobody was notified")
        for name, cards in sent.items():
            if sum(not (one["settled"] or one["repeat"]) for one in cards) > 1:
                found.append(f"{alert.session_id} on {name}: two sounds")
            if cards and alert.session_id in settled and not cards[-1]["settled"]:
                found.append(f"{alert.session_id} on {name}: not withdrawn ({deliveries[name].state})")
    return found


def child(act: Callable[[], object]) -> int:
    """Run something in a process of its own; return its wait status."""
    process = os.fork()
    if process == 0:
        try:
            act()
            os._exit(0)
        except BaseException as error:
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
    return os.waitpid(process, 0)[1]


def one_round(seed: int, mistake: str, points: int) -> list[str]:
    """Kill one process; return what does not hold after the next."""
    chance = random.Random(seed)
    steps, die_at = history(chance), chance.randrange(1, points)

    def work(folder: Path, at: int) -> None:
        point = Points(at)
        plant(mistake)
        watch_commits(point)
        trio.run(lead, folder, steps, point)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        status = child(lambda: work(folder, die_at))
        if os.WIFSIGNALED(status):
            status = child(lambda: work(folder, NEVER))
        if status != 0:
            return ["a process failed"]
        return trio.run(faults, folder, steps)


def run(rounds: int, seed: int, mistake: str = "", *, points: int = 120) -> int:
    """Kill so many processes; return the exit status. With a mistake, stop once it is found."""
    for number in range(rounds):
        found = one_round(seed + number, mistake, points)
        if found:
            sys.stdout.write(f"round {number} (seed {seed + number}): {'; '.join(found)}\n")
            return 1
    sys.stdout.write(f"{rounds} rounds: all holds\n")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("rounds", type=int, nargs="?", default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plant", default="")
    given = parser.parse_args()
    sys.exit(run(given.rounds, given.seed, given.plant))
