"""The mail of the nodes of a history: it is slow, lost and doubled by chance, and never reordered between two nodes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import attrs
import trio

from storage.node_records import Mail, NodeState
from tests.simulation.chaos import Chaos
from tests.simulation.store import Life

__all__ = ["LEASE_S", "PostRoom", "SimPost"]

LEASE_S = 3.0
BEAT_S = 0.4
SLOW_S = 0.03
"""How long mail is under way at most, once its node looks."""

DOUBLED = 0.08
"""How likely a mail comes twice. Nothing is lost or doubled once all is healed."""


@attrs.define(eq=False)
class PostRoom:
    """What the nodes share: leases, and mail by its receiver.

    Attributes:
        cuts: from when until when a node does not reach the database, by its name.
    """

    chaos: Chaos
    leases: dict[str, float] = attrs.field(factory=dict)
    incarnations: dict[str, int] = attrs.field(factory=dict)
    cuts: dict[str, tuple[float, float]] = attrs.field(factory=dict)
    mail: dict[str, deque[tuple[float, bytes]]] = attrs.field(factory=dict)
    news: dict[str, trio.Event] = attrs.field(factory=dict)

    def is_cut(self, node: str) -> bool:
        """Whether a node does not reach the database now."""
        return self.cut_s(node) > 0

    def cut_s(self, node: str) -> float:
        """Return how long a node is cut off by now."""
        since, until = self.cuts.get(node, (0.0, 0.0))
        now = trio.current_time()
        return now - since + 1e-9 if now < until and not self.chaos.healed else 0.0

    def join(self, node: str) -> int:
        """Begin a lease; return the incarnation."""
        self.incarnations[node] = self.incarnations.get(node, 0) + 1
        self.leases[node] = trio.current_time() + LEASE_S
        self.mail[node] = deque()
        self.news[node] = trio.Event()
        return self.incarnations[node]

    def states(self) -> dict[str, NodeState]:
        """Return all nodes as they are now."""
        now = trio.current_time()
        return {
            name: NodeState(name, number, "1.0", self.leases[name] > now)
            for name, number in self.incarnations.items()
        }

    def put(self, node: str, body: bytes) -> None:
        """Post a mail, which chance may lose or double."""
        dice, lost = self.chaos.chance.random(), self.chaos.plan.knobs.mail_lost
        copies = 1 if self.chaos.healed or dice > lost + DOUBLED else 0 if dice < lost else 2
        if node in self.mail:
            self.mail[node].extend([(trio.current_time(), body)] * copies)
            self.news[node].set()

    def fetch(self, node: str) -> list[Mail]:
        """Take all mail of a node."""
        now, found = trio.current_time(), self.mail[node]
        taken = [Mail(now - posted, body) for posted, body in found]
        found.clear()
        return taken


@attrs.define(eq=False)
class SimPost:
    """The post of one process of a node; implements `actors.nodes.ports.Post`."""

    room: PostRoom
    node: str
    life: Life
    incarnation: int
    nodes: Mapping[str, NodeState] = attrs.field(factory=dict)
    beat_at: float = -math.inf
    _out: deque[tuple[str, bytes, float, trio.Event]] = attrs.field(factory=deque)
    _beaten: trio.Event = attrs.field(factory=trio.Event)

    @property
    def silent_s(self) -> float:
        return trio.current_time() - self.beat_at

    async def is_fresh(self, within_s: float, wait_s: float) -> bool:
        with trio.move_on_after(wait_s):  # noqa: ASYNC912 - a good beat may be there
            while self.silent_s > within_s:
                await self._beaten.wait()
        return self.silent_s <= within_s

    def post(self, node: str, body: bytes, *, within_s: float = math.inf, bulk: bool = False) -> trio.Event:
        posted = trio.Event()
        self._out.append((node, body, trio.current_time() + within_s, posted))
        self.room.news[self.node].set()
        return posted

    async def run(self, take: Callable[[Sequence[Mail]], None], changed: Callable[[], None]) -> None:
        """Beat, post and fetch, as the real office does."""
        next_beat = 0.0
        while True:
            self.room.news[self.node] = trio.Event()
            if self.life.dead:
                await trio.sleep_forever()
            if not self.room.is_cut(self.node):
                self._send()
                mail = self.room.fetch(self.node)
                if trio.current_time() >= next_beat:
                    next_beat = trio.current_time() + BEAT_S
                    self._beat(changed)
                if mail:
                    take(mail)
                await trio.sleep(self.room.chaos.delay(SLOW_S))
                with trio.move_on_at(next_beat):
                    await self.room.news[self.node].wait()
            else:
                await trio.sleep(BEAT_S / 4)

    def leave(self) -> None:
        """End the lease."""
        self.room.leases[self.node] = trio.current_time()

    def _send(self) -> None:
        while self._out:
            node, body, until, posted = self._out.popleft()
            if trio.current_time() <= until:
                self.room.put(node, body)
            posted.set()

    def _beat(self, changed: Callable[[], None]) -> None:
        now = trio.current_time()
        self.room.leases[self.node] = now + LEASE_S
        nodes = self.room.states()
        moved, self.nodes = nodes != self.nodes, nodes
        self.beat_at = now
        self._beaten.set()
        self._beaten = trio.Event()
        if moved:
            changed()
