"""Hubs in memory, for tests of what stands above them, under a virtual clock (`docs/internals/testing.md`, "The harness").

A hub plays the script of each prompt that it takes; links can be cut, hubs killed, starts made to fail. Like a real
hub it keeps each event until it is acknowledged and sends it again on the next link, ignores a turn that it has had,
and outlives the server that talks to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from actors.errors import HubFenced, HubLost, HubProtocolError, HubStartFailed
from actors.ports import FoundHub
from bridgehub.protocol import events as hub
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import Ack, Decided, InterruptTurn, Prompt, Reported, Stop, ToHub, Welcome

__all__ = [
    "Ask",
    "Deaf",
    "Die",
    "Done",
    "Fail",
    "Garbage",
    "Hang",
    "Say",
    "ScriptedHub",
    "ScriptedHubs",
    "Slow",
    "open_scripted_hubs",
]


@attrs.frozen
class Say:
    """A piece of the answer."""

    text: str
    block: str = "b"


@attrs.frozen
class Ask:
    """Ask a person and wait; then say the decision."""

    request_id: str


@attrs.frozen
class Done:
    """The good end."""


@attrs.frozen
class Fail:
    """A bad end."""

    content: str = "no"


@attrs.frozen
class Hang:
    """Nothing more until interrupted."""


@attrs.frozen
class Deaf:
    """Nothing more, interrupted or not."""


@attrs.frozen
class Die:
    """The hub's process ends."""


@attrs.frozen
class Garbage:
    """The hub breaks the protocol."""


@attrs.frozen
class Slow:
    """Nothing for so many seconds."""

    seconds: float


Action = Say | Ask | Done | Fail | Hang | Deaf | Die | Garbage | Slow
SILENT = "silent"
"""A prompt with this content is never taken: no `Consumed`, nothing."""


@attrs.define(eq=False)
class ScriptedHub:
    """One hub. `told` is all that any server said to it; a `stubborn` one ignores `Stop`, a `shy` one takes no link."""

    spec: HubSpec
    alive: bool = True
    spools: bool = False
    told: list[ToHub] = attrs.field(factory=list)
    had: list[str] = attrs.field(factory=list)
    log: list[Reported] = attrs.field(factory=list)
    acked: int = 0
    running: str | None = None
    waiting: dict[str, trio.Event] = attrs.field(factory=dict)
    decisions: dict[str, str] = attrs.field(factory=dict)
    owner_epoch: int = 0
    link: _Link | None = None
    garbage: bool = False
    deaf: bool = False
    stubborn: bool = False
    shy: bool = False
    turn_scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    @property
    def prompts(self) -> list[str]:
        """The contents of the prompts that it got, repeats too."""
        return [one.content for one in self.told if isinstance(one, Prompt)]

    def report(self, event: hub.HubEvent) -> None:
        seq = len(self.log) + 1
        self.log.append(Reported(seq, seq, event))
        self.wake()

    def wake(self) -> None:
        if self.link is not None:
            self.link.news.set()

    def kill(self) -> None:
        """End the process, as `kill -9` would."""
        self.alive = False
        self.turn_scope.cancel()
        if self.link is not None:
            self.link.ended = True  # what it wrote before is still read
            self.wake()
            self.link = None

    def cut_link(self) -> None:
        """Break the link; the hub keeps running."""
        if self.link is not None:
            self.link.broken = True
            self.wake()
            self.link = None


@attrs.define(eq=False)
class _Link:
    owner: ScriptedHubs
    peer: ScriptedHub
    welcome: Welcome
    position: int
    broken: bool = False
    ended: bool = False
    closed: bool = False
    news: trio.Event = attrs.field(factory=trio.Event)

    async def send(self, message: ToHub) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken or self.ended:
            raise HubLost("the link broke")
        self.owner._take(self.peer, message)

    async def receive(self) -> Sequence[Reported]:
        while True:
            self.news = trio.Event()
            if self.broken:
                raise HubLost("the link broke")
            batch = [one for one in self.peer.log if one.seq > self.position]
            if batch:
                await trio.lowlevel.checkpoint()
                self.position = batch[-1].seq
                return batch
            if self.peer.garbage:
                raise HubProtocolError("no JSON")
            if self.ended:
                raise HubLost("the hub ended")
            await self.news.wait()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self.owner.open_links -= not self.closed
        self.broken = self.closed = True


@attrs.define(eq=False)
class ScriptedHubs:
    """`actors.ports.Hubs`. Prompts without a script are answered `ok`.

    Attributes:
        scripts: what a hub does after `Consumed`, by the prompt's content.
        start_s, bury_s: how long a start and a reap take.
        fail_starts: how many of the next starts fail.
    """

    nursery: trio.Nursery
    scripts: dict[str, Sequence[Action]] = attrs.field(factory=dict)
    start_s: float = 0.0
    bury_s: float = 0.0
    fail_starts: int = 0
    open_links: int = 0
    hubs: dict[str, ScriptedHub] = attrs.field(factory=dict)
    buried: list[str] = attrs.field(factory=list)
    left_after: dict[str, set[int]] = attrs.field(factory=dict)
    forgotten: list[str] = attrs.field(factory=list)

    @property
    def newest(self) -> ScriptedHub:
        """The hub that was started last."""
        return self.hubs[next(reversed(self.hubs))]

    @property
    def prompts(self) -> list[str]:
        """The contents of all prompts that hubs took, each turn once."""
        found = []
        for one in self.hubs.values():
            turns = {m.turn_id: m.content for m in one.told if isinstance(m, Prompt)}
            found += [turns[turn] for turn in one.had]
        return found

    # ---- the port ----

    async def start(self, spec: HubSpec) -> None:
        await trio.sleep(self.start_s)
        if self.fail_starts:
            self.fail_starts -= 1
            raise HubStartFailed("no such program")
        self.hubs[spec.hub_id] = ScriptedHub(spec)

    async def connect(self, hub_id: str, *, owner_epoch: int, last_seq: int) -> _Link:
        await trio.lowlevel.checkpoint()
        found = self.hubs.get(hub_id)
        if found is None or not found.alive or found.shy:
            raise HubLost(f"nobody answers for hub {hub_id}")
        if owner_epoch < found.owner_epoch:
            raise HubFenced(f"{hub_id} has a later owner")
        found.cut_link()
        found.owner_epoch = owner_epoch
        found.acked = max(found.acked, last_seq)
        last = found.had[-1] if found.had else None
        welcome = Welcome(
            1, hub_id, 7, last, found.running is not None, tuple(found.waiting), takes_setup=True
        )
        self.open_links += 1
        found.link = _Link(self, found, welcome, last_seq)
        return found.link

    async def reap(self, hub_id: str, *, last_seq: int) -> Sequence[Reported]:
        await trio.sleep(self.bury_s)
        found = self.hubs.get(hub_id)
        if last_seq not in self.left_after.get(hub_id, ()):  # else it is asked for the rest of what was left
            self.buried.append(hub_id)
        if found is None:
            return []
        found.kill()
        if found.spools:
            self.left_after[hub_id] = {one.seq for one in found.log}
        return [one for one in found.log if one.seq > last_seq] if found.spools else []

    async def stop(self, hub_ids: Collection[str]) -> Collection[str]:
        await trio.sleep(self.bury_s)
        for hub_id in hub_ids:
            found = self.hubs.get(hub_id)
            if found is not None:
                found.spools = True  # asked politely, it writes down what it has
                found.kill()
        return ()

    async def forget(self, hub_id: str) -> None:
        await trio.lowlevel.checkpoint()
        self.forgotten.append(hub_id)

    async def find(self, hub_id: str) -> FoundHub | None:
        found = [one for one in await self.living() if one.hub_id == hub_id]
        return found[0] if found else None

    async def living(self) -> Sequence[FoundHub]:
        await trio.lowlevel.checkpoint()
        kept = [(key, one) for key, one in self.hubs.items() if key not in self.forgotten]
        return [FoundHub(key, one.spec.session_id, one.alive, one.spec.socket) for key, one in kept]

    # ---- what a hub does ----

    def _take(self, found: ScriptedHub, message: ToHub) -> None:
        found.told.append(message)
        match message:
            case Prompt() if message.turn_id not in found.had and message.content != SILENT:
                found.had.append(message.turn_id)
                found.running = message.turn_id
                self.nursery.start_soon(self._play, found, message)
            case InterruptTurn(turn_id) if turn_id == found.running and not found.deaf:
                found.turn_scope.cancel()
            case Decided(request_id, decision) if request_id in found.waiting:
                found.decisions[request_id] = decision
                found.waiting.pop(request_id).set()
            case Ack(seq):
                assert seq <= len(found.log), "acknowledged what was never said"
                found.acked = max(found.acked, seq)
            case Stop() if not found.stubborn:
                found.kill()
            case _:
                pass

    async def _play(self, found: ScriptedHub, prompt: Prompt) -> None:
        turn_id = prompt.turn_id
        found.turn_scope = trio.CancelScope()
        found.report(hub.Consumed(turn_id))
        with found.turn_scope:
            for action in self.scripts.get(prompt.content, (Say("ok"), Done())):
                await self._act(found, turn_id, action)
        if found.alive and found.running == turn_id:
            self._end(found, hub.TurnStopped(turn_id))

    async def _act(self, found: ScriptedHub, turn_id: str, action: Action) -> None:
        match action:
            case Say(text, block):
                found.report(hub.TextPiece(turn_id, "text", block, text))
            case Ask(request_id):
                answered = found.waiting[request_id] = trio.Event()
                found.report(hub.PermissionAsked(turn_id, request_id, "practice", {}, ("allow", "deny")))
                await answered.wait()
                found.report(hub.TextPiece(turn_id, "text", "b", found.decisions[request_id]))
            case Slow(seconds):
                await trio.sleep(seconds)
            case Hang() | Deaf():
                found.deaf = isinstance(action, Deaf)
                await trio.sleep_forever()
            case Die():
                found.kill()
            case Garbage():
                found.garbage = True
                found.wake()
                await trio.sleep_forever()
            case Fail(content):
                self._end(found, hub.TurnFailed(turn_id, "model_error", content, retryable=True))
            case Done():
                self._end(found, hub.TurnDone(turn_id))

    def _end(self, found: ScriptedHub, event: hub.HubEvent) -> None:
        found.running = None
        found.waiting.clear()
        found.report(event)


@asynccontextmanager
async def open_scripted_hubs() -> AsyncIterator[ScriptedHubs]:
    """Run hubs while inside the block; they outlive any supervisor that is opened and closed within it."""
    async with trio.open_nursery() as nursery:
        yield ScriptedHubs(nursery)
        nursery.cancel_scope.cancel()
