"""The mail of the nodes of a history: it is slow, lost and doubled by chance, and never reordered between two nodes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count

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

    Mail is in a table that is empty after a fail-over. Its numbers are in a sequence of its own, which continues.

    Attributes:
        cuts: from when until when a node does not reach the database, by its name, or by the number of one process.
    """

    chaos: Chaos
    leases: dict[str, float] = attrs.field(factory=dict)
    incarnations: dict[str, int] = attrs.field(factory=dict)
    cuts: dict[str | int, tuple[float, float]] = attrs.field(factory=dict)
    mail: dict[str, deque[tuple[int, float, bytes]]] = attrs.field(factory=dict)
    news: dict[str, trio.Event] = attrs.field(factory=dict)
    fail_overs: int = 0
    _numbers: Iterator[int] = attrs.field(factory=lambda: count(1))

    def is_cut(self, node: str, life: Life) -> bool:
        """Whether a process of a node does not reach the database now."""
        return self.cut_s(node, life) > 0

    def cut_s(self, node: str, life: Life) -> float:
        """Return how long it is cut off by now."""
        return max(self._cut_s(node), self._cut_s(life.number))

    def _cut_s(self, name: str | int) -> float:
        since, until = self.cuts.get(name, (0.0, 0.0))
        now = trio.current_time()
        return now - since + 1e-9 if now < until and not self.chaos.healed else 0.0

    def cut(self, name: str | int, seconds: float) -> None:
        """Cut a node or one process off from the database, unless it is."""
        if not self._cut_s(name):
            now = trio.current_time()
            self.cuts[name] = (now, now + seconds)

    def fail_over(self) -> None:
        """Lose all mail, as a promoted standby does."""
        self.fail_overs += 1
        for mail in self.mail.values():
            mail.clear()

    def next_number(self) -> int | None:
        """Return the number of the next mail; None: the database fails."""
        return next(self._numbers)

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
        for _ in range(copies):
            number = self.next_number()
            if node in self.mail and number is not None:
                self.mail[node].append((number, trio.current_time(), body))
                self.news[node].set()

    def fetch(self, node: str) -> list[Mail]:
        """Take all mail of a node."""
        now, found = trio.current_time(), self.mail[node]
        taken = [Mail(now - posted, body) for _, posted, body in sorted(found)]
        found.clear()
        return taken


@attrs.define(eq=False)
class SimPost:
    """The post of one process of a node; implements `actors.nodes.ports.Post`.

    Attributes:
        replaced: called if another process has this node's name now; this one has to end.
    """

    room: PostRoom
    node: str
    life: Life
    incarnation: int
    replaced: Callable[[], None]
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
            if self.life.dead:
                await trio.sleep_forever()
            if not self.room.is_cut(self.node, self.life):
                self.room.news[self.node] = trio.Event()
                if trio.current_time() >= next_beat:
                    if self._is_replaced():
                        self.replaced()
                        continue
                    next_beat = trio.current_time() + BEAT_S
                    self._beat(changed)
                self._send()
                mail = self.room.fetch(self.node)
                if mail:
                    take(mail)
                await trio.sleep(self.room.chaos.delay(SLOW_S))
                with trio.move_on_at(next_beat):
                    await self.room.news[self.node].wait()
            else:
                next_beat = 0.0
                await trio.sleep(BEAT_S / 4)

    def leave(self) -> None:
        """End the lease."""
        if not self._is_replaced():
            self.room.leases[self.node] = trio.current_time()

    def _is_replaced(self) -> bool:
        return self.room.incarnations[self.node] != self.incarnation

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
