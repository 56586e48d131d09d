"""An in-memory stand-in for `actors.ports.Hubs`: no process, no socket, fit for `autojump_clock`.

What an agent does is a script: a function from the prompt to the steps of its turn. A step is an event to
report, or one of `Pause`, `WaitInterrupt`, `Ask`, `Die`, `LoseLink`, `Garble`, `Gate`.

    hubs = FakeHubs(answer_with=lambda prompt: [
        Consumed(prompt.turn_id),
        TextPiece(prompt.turn_id, "text", "b", "hello "),
        Pause(0.5),
        TurnDone(prompt.turn_id),
    ])

It keeps the promises of a real hub: events are numbered, kept until acknowledged and sent again to the next
link; a prompt is taken once for each turn id; an interrupt ends the turn with `TurnStopped`; an older owner
is fenced; a newer link displaces the older one. What was asked of it is in `record`, in order, as `(what,
hub_id, detail)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs
import trio

from actors.errors import HubFenced, HubGarbage, HubLost, HubStartFailed
from bridgehub.protocol.messages import (
    VERSION,
    Ack,
    Consumed,
    Decided,
    Detach,
    HubEvent,
    HubSpec,
    InterruptTurn,
    PermissionAsked,
    Prompt,
    Reported,
    Stop,
    TextPiece,
    ToHub,
    TurnDone,
    TurnStopped,
    Welcome,
)

__all__ = [
    "Ask",
    "Die",
    "FakeHub",
    "FakeHubs",
    "FakeLink",
    "Garble",
    "Gate",
    "LoseLink",
    "Pause",
    "Step",
    "WaitInterrupt",
    "echo_script",
]


@attrs.frozen
class Pause:
    """Do nothing for that long, in the clock of the test."""

    seconds: float


@attrs.frozen
class Gate:
    """Wait until the test sets the event."""

    event: trio.Event


@attrs.frozen
class WaitInterrupt:
    """Wait until the turn is interrupted."""


@attrs.frozen
class Ask:
    """Report a `PermissionAsked` and wait; then go on with the steps that `then` makes of the answer."""

    request_id: str
    tool: str
    input: object
    then: Callable[[Decided], Iterable[Step]]


@attrs.frozen
class Die:
    """The hub dies. With `leave_events` `bury` finds what is unacknowledged, as after an orderly end."""

    leave_events: bool = False


@attrs.frozen
class LoseLink:
    """The link breaks; the hub goes on."""


@attrs.frozen
class Garble:
    """The hub writes what is no protocol."""


Step = HubEvent | Pause | Gate | WaitInterrupt | Ask | Die | LoseLink | Garble
Script = Callable[[Prompt], Iterable[Step]]


def echo_script(prompt: Prompt) -> list[Step]:
    """Answer like the `echo` agent: a first piece, and one for each word."""
    turn = prompt.turn_id
    words = [TextPiece(turn, "text", f"{turn}-1", f"{word} ") for word in prompt.content.split()]
    return [Consumed(turn), TextPiece(turn, "text", f"{turn}-1", "echo: "), *words, TurnDone(turn)]


@attrs.define(eq=False)
class FakeLink:
    """One link to a fake hub (`actors.ports.HubLink`)."""

    hub: FakeHub
    welcome: Welcome
    position: int
    slow_s: float = 0.0
    open: bool = True

    async def send(self, message: ToHub) -> None:
        """Give the hub a message. Raises HubLost."""
        await trio.lowlevel.checkpoint()
        if not self.open:
            raise HubLost("the link is closed")
        self.hub.take(message)

    async def receive(self) -> Sequence[Reported]:
        """Wait for events. Raises HubLost, HubGarbage."""
        if self.slow_s:
            await trio.sleep(self.slow_s)
        while True:
            new = [item for item in self.hub.kept if item.seq > self.position]
            if new:
                self.position = new[-1].seq
                await trio.lowlevel.checkpoint()
                return new
            if self.hub.garbled:
                self.open = False
                raise HubGarbage("not_json at line")
            if not self.open:
                raise HubLost("the link is closed")
            await self.hub.news.park()

    async def aclose(self) -> None:
        """Close the link. Idempotent."""
        self.cut()
        await trio.lowlevel.checkpoint()

    def cut(self) -> None:
        """Break the link as a network would."""
        self.open = False
        self.hub.news.unpark_all()


@attrs.define(eq=False)
class FakeHub:
    """One fake hub; tests may look at it and move it."""

    spec: HubSpec
    script: Script
    alive: bool = True
    owner_epoch: int = 0
    seq: int = 0
    kept: list[Reported] = attrs.field(factory=list)
    left: list[Reported] = attrs.field(factory=list)
    prompts: list[Prompt] = attrs.field(factory=list)
    acked: int = 0
    garbled: bool = False
    waiting: dict[str, trio.Event] = attrs.field(factory=dict)
    answers: dict[str, Decided] = attrs.field(factory=dict)
    link: FakeLink | None = None
    running: str | None = None
    stop: trio.CancelScope | None = None
    news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    work: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    record: Callable[[str, object], None] = attrs.field(default=lambda what, detail: None)

    def take(self, message: ToHub) -> None:
        """Do what a hub does with a message."""
        self.record(type(message).__name__, message)
        match message:
            case Prompt() if all(old.turn_id != message.turn_id for old in self.prompts):
                self.prompts.append(message)
                self.running = message.turn_id
                self.work.unpark_all()
            case Ack():
                self.acked = max(self.acked, message.seq)
                self.kept = [item for item in self.kept if item.seq > self.acked]
            case Decided() if message.request_id in self.waiting:
                self.answers[message.request_id] = message
                self.waiting.pop(message.request_id).set()
            case InterruptTurn() if message.turn_id == self.running and self.stop is not None:
                self.stop.cancel(reason="interrupted")
            case Detach():
                self.lose_link()
            case Stop():
                self.die()
            case _:
                pass

    def report(self, event: HubEvent) -> None:
        """Number an event and keep it for the link."""
        self.seq += 1
        self.kept.append(Reported(self.seq, self.seq, event))
        self.news.unpark_all()

    def lose_link(self) -> None:
        """Break the link, if there is one."""
        if self.link is not None:
            self.link.cut()
            self.link = None

    def die(self, *, leave_events: bool = False) -> None:
        """End the hub, in mid-turn or not."""
        self.alive = False
        self.left = list(self.kept) if leave_events else []
        if self.stop is not None:
            self.stop.cancel(reason="the hub died")
        self.lose_link()
        self.work.unpark_all()

    async def run(self) -> None:
        """Run the script of each prompt, one after the other, while the hub lives."""
        done = 0
        while self.alive:
            if done == len(self.prompts):
                await self.work.park()
                continue
            prompt = self.prompts[done]
            done += 1
            with trio.CancelScope() as self.stop:
                await self._play(self.script(prompt))
            if self.stop.cancelled_caught and self.alive:
                self.report(TurnStopped(prompt.turn_id))
            self.stop = None
            if self.running == prompt.turn_id:
                self.running = None

    async def _play(self, steps: Iterable[Step]) -> None:
        for step in steps:
            match step:
                case Pause():
                    await trio.sleep(step.seconds)
                case Gate():
                    await step.event.wait()
                case WaitInterrupt():
                    await trio.sleep_forever()
                case Ask():
                    await self._play(step.then(await self._ask(step)))
                case Die():
                    self.die(leave_events=step.leave_events)
                    await trio.lowlevel.checkpoint()
                case LoseLink():
                    self.lose_link()
                case Garble():
                    self.garbled = True
                    self.news.unpark_all()
                    await trio.sleep_forever()
                case _:
                    await trio.lowlevel.checkpoint()
                    self.report(step)

    async def _ask(self, step: Ask) -> Decided:
        asked = self.waiting[step.request_id] = trio.Event()
        turn_id = self.running or ""
        options = ("allow", "deny", "allow_session")
        self.report(PermissionAsked(turn_id, step.request_id, step.tool, step.input, options))
        try:
            await asked.wait()
        finally:
            self.waiting.pop(step.request_id, None)
        return self.answers[step.request_id]


@attrs.define(eq=False)
class FakeHubs:
    """See the module. Start its `run` in the test's nursery before anything else: `await
    nursery.start(hubs.run)`.

    Attributes:
        answer_with: the script of every hub's turns; may be changed at any time, counts for later prompts.
        start_fails: while it holds a text, `start` raises HubStartFailed with it.
        start_s: how long a start takes.
        slow_s: how long each receive takes at least.
        hubs: the hubs that were started and not forgotten, dead ones too, by id.
    """

    answer_with: Script = echo_script
    start_fails: str | None = None
    start_s: float = 0.0
    slow_s: float = 0.0
    hubs: dict[str, FakeHub] = attrs.field(factory=dict)
    record: list[tuple[str, str, object]] = attrs.field(factory=list)
    _births: list[FakeHub] = attrs.field(factory=list)
    _born: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Let the hubs live until cancelled. They outlive whoever started them."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                while self._births:
                    nursery.start_soon(self._births.pop(0).run)
                await self._born.park()

    async def start(self, spec: HubSpec) -> None:
        """See `actors.ports.Hubs`."""
        self.record.append(("start", spec.hub_id, spec))
        await trio.sleep(self.start_s)
        if self.start_fails is not None:
            raise HubStartFailed(self.start_fails)
        hub = FakeHub(spec, lambda prompt: self.answer_with(prompt))
        hub.record = lambda what, detail: self.record.append((what, spec.hub_id, detail))
        self.hubs[spec.hub_id] = hub
        self._births.append(hub)
        self._born.unpark_all()

    async def connect(self, hub_id: str, *, owner_epoch: int, last_seq: int) -> FakeLink:
        """See `actors.ports.Hubs`."""
        self.record.append(("connect", hub_id, last_seq))
        await trio.lowlevel.checkpoint()
        hub = self.hubs.get(hub_id)
        if hub is None or not hub.alive:
            raise HubLost("there is no such hub")
        if owner_epoch < hub.owner_epoch:
            raise HubFenced(f"owner epoch {hub.owner_epoch} holds this hub")
        hub.owner_epoch = owner_epoch
        hub.lose_link()
        hub.kept = [item for item in hub.kept if item.seq > last_seq]
        last = hub.prompts[-1].turn_id if hub.prompts else None
        running = hub.running is not None
        welcome = Welcome(VERSION, hub_id, 1, last, running, tuple(hub.waiting))
        hub.link = FakeLink(hub, welcome, last_seq, self.slow_s)
        return hub.link

    async def bury(self, hub_id: str, *, last_seq: int) -> Sequence[Reported]:
        """See `actors.ports.Hubs`."""
        self.record.append(("bury", hub_id, last_seq))
        await trio.lowlevel.checkpoint()
        hub = self.hubs.get(hub_id)
        if hub is None:
            return []
        if hub.alive:
            hub.die()
        return [item for item in hub.left if item.seq > last_seq]

    async def forget(self, hub_id: str) -> None:
        """See `actors.ports.Hubs`."""
        self.record.append(("forget", hub_id, None))
        await trio.lowlevel.checkpoint()
        self.hubs.pop(hub_id, None)

    def only(self) -> FakeHub:
        """Return the one living hub."""
        (hub,) = [hub for hub in self.hubs.values() if hub.alive]
        return hub
