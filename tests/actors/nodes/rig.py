"""Two nodes in one process, and between them a post that loses, doubles or holds mail as a test says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

import attrs
import trio

from actors.commands import Author, Command, Envelope
from actors.nodes.mail import NodeMail, decode_mail
from actors.replies import Reply
from actors.tail import Listener, Tail
from storage.node_records import NodeState

__all__ = ["AUTHOR", "Line", "OneSession", "ids"]

AUTHOR = Author("key", "phone", "Phone")


def ids(prefix: str) -> Callable[[], str]:
    """Return a maker of ids."""
    numbers = count(1)
    return lambda: f"{prefix}{next(numbers)}"


@attrs.define(eq=False)
class Line:
    """The post of one node, to one other.

    Attributes:
        take: called with each mail that arrives, and its age.
        alter: decides how often a mail arrives: 0 is lost, 2 is doubled.
        age_s: of what arrives.
        silent_s, beaten: since the last beat, and set at the next one.
        sent: all that was posted.
    """

    node: str
    nodes: dict[str, NodeState] = attrs.field(factory=dict)
    take: Callable[[NodeMail, float], None] = lambda _, __: None
    alter: Callable[[NodeMail], int] = lambda _: 1
    age_s: float = 0.0
    silent_s: float = 0.0
    beaten: trio.Event = attrs.field(factory=trio.Event)
    sent: list[NodeMail] = attrs.field(factory=list)

    async def is_fresh(self, within_s: float, wait_s: float) -> bool:
        """Implements `actors.nodes.ports.Post`."""
        with trio.move_on_after(wait_s):
            await self.beaten.wait()
        return self.silent_s <= within_s

    def post(self, node: str, body: bytes, *, within_s: float = math.inf, bulk: bool = False) -> trio.Event:
        """Implements `actors.nodes.ports.Post`."""
        mail = decode_mail(body)
        self.sent.append(mail)
        for _ in range(self.alter(mail)):
            self.take(mail, self.age_s)
        posted = trio.Event()
        posted.set()
        return posted

    def see(self, node: str, *, alive: bool = True, incarnation: int = 1) -> None:
        """Let the beat see a node so."""
        self.nodes = {**self.nodes, node: NodeState(node, incarnation, "1.0", alive)}


@attrs.define(eq=False)
class OneSession:
    """The sessions of a home: one, `trip`.

    Attributes:
        taken: the commands that its owner has.
        answer: gives the owner's direct answer; None: it has none.
        refusal: raised instead of taking.
    """

    tail: Tail = attrs.field(factory=lambda: Tail("trip", 1, 0))
    taken: list[Command] = attrs.field(factory=list)
    answer: Callable[[Command], Reply | None] = lambda _: None
    refusal: Exception | None = None

    async def submit(self, session_id: str, envelope: Envelope) -> None:
        """Implements `actors.nodes.ports.OwnSessions`."""
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise self.refusal
        self.taken.append(envelope.command)
        reply = self.answer(envelope.command)
        if reply is not None:
            envelope.reply(reply)

    @contextmanager
    def listen(self, session_id: str, listener: Listener) -> Iterator[Tail]:
        """Implements `actors.nodes.ports.OwnSessions`."""
        with self.tail.listen(listener):
            yield self.tail

    def listeners_of(self, session_id: str) -> Sequence[Listener]:
        """Implements `actors.nodes.ports.OwnSessions`."""
        return self.tail.listeners
