"""The other end of node calls: does what other nodes ask for, once, and sends the answer in parts that have room."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
import orjson
import trio

from actors.errors import NodeCallRefused
from actors.nodes.home import KEPT_KEYS, STALE_S
from actors.nodes.mail import AnswerMail, CallMail, MoreMail, NodeMail, PartMail, encode_mail
from actors.nodes.node_calls import WINDOW
from actors.nodes.ports import Post
from storage.errors import StorageError

__all__ = ["MAX_BODY_BYTES", "Answers", "NodeAnswers", "NodeQuestion"]

PART_BYTES: Final = 256 * 1024

MAX_BODY_BYTES: Final = 100_000_000
"""The most bytes of one answer: mail goes through the database."""

MAX_HEAD_BYTES: Final = 256 * 1024

ROOM_S: Final = 120.0
"""How long an answer waits for room: the device at the other node may be slow."""

MAX_ANSWERED: Final = 64
"""Calls of one node that are answered at once; one more is refused."""

_log = logging.getLogger("builderos.actors")


@attrs.define(eq=False)
class NodeQuestion:
    """A call of another node, while it is answered.

    Attributes:
        node: which asks.
        fields: what came with the call; it comes from outside.
    """

    node: str
    fields: dict[str, Any]
    _key: str
    _post: Post
    _incarnation: int | None
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _gathered: bytearray = attrs.field(factory=bytearray)
    _sent: int = 0
    _taken: int = 0
    _size: int = 0
    _room: trio.Event = attrs.field(factory=trio.Event)
    has_begun: bool = False

    @property
    def most_bytes(self) -> int:
        """The most bytes that a body may have."""
        return MAX_BODY_BYTES

    def begin(self, head: dict[str, Any]) -> None:
        """Send the JSON of an answer that has a body. Raises NodeCallRefused: `head` is too long."""
        self._answer(AnswerMail(self._key, head=_checked(head), is_whole=False))
        self.has_begun = True

    async def write(self, data: bytes) -> None:
        """Send bytes of the body; waits while the other side has no room.

        Raises:
            NodeCallRefused: it is over `MAX_BODY_BYTES`.
            trio.TooSlowError: the other side took nothing for `ROOM_S`.
        """
        self._size += len(data)
        if self._size > MAX_BODY_BYTES:
            raise NodeCallRefused("too_large", "That is too large to be sent to another machine.")
        self._gathered += data
        while len(self._gathered) >= PART_BYTES:
            part = bytes(self._gathered[:PART_BYTES])
            del self._gathered[:PART_BYTES]
            await self._send(part)

    async def finish(self) -> None:
        """Send the rest of the body, and that it is whole. Raises trio.TooSlowError."""
        await self._send(bytes(self._gathered), "last")

    def end(self, head: dict[str, Any]) -> None:
        """Send an answer without a body. Raises NodeCallRefused: `head` is too long."""
        self._answer(AnswerMail(self._key, head=_checked(head)))

    def refuse(self, code: str, content: str) -> None:
        """Send that there is no answer, or not the whole of it."""
        if self.has_begun:
            self._tell(PartMail(self._key, self._sent, "failed"), bulk=True)
        else:
            self._answer(AnswerMail(self._key, code, content))

    def _answer(self, mail: AnswerMail) -> None:
        self._tell(mail, bulk=True)  # with the parts, so that it comes before them

    async def _send(self, data: bytes, end: str = "") -> None:
        with trio.fail_after(ROOM_S):  # noqa: ASYNC912 - there may be room
            while self._sent - self._taken >= WINDOW:
                await self._room.wait()
        self._tell(PartMail(self._key, self._sent, end, data), bulk=True)
        self._sent += 1

    def _tell(self, mail: NodeMail, *, bulk: bool) -> None:
        self._post.post(self.node, encode_mail(mail), within_s=ROOM_S, bulk=bulk)

    def take(self, mail: MoreMail) -> None:
        """Take word of the asking side."""
        if mail.over:
            self._scope.cancel(reason="the other node wants no answer any more")
        self._taken = max(self._taken, min(mail.taken, self._sent))
        self._room.set()
        self._room = trio.Event()

    def look(self) -> None:
        """Stop if the asking node is gone."""
        state = self._post.nodes.get(self.node)
        if state is None:
            return  # it has just started
        self._incarnation = state.incarnation if self._incarnation is None else self._incarnation
        if not state.is_alive or state.incarnation != self._incarnation:
            self._scope.cancel(reason="the other node is gone")

    async def run(self, answer: Answers) -> None:
        """Answer it. An error of `answer` is the answer, and is logged if nobody expects it."""
        with self._scope:  # noqa: ASYNC912 - `answer` may have nothing to wait for
            try:
                head = await answer(self)
                if self.has_begun:
                    await self.finish()
                else:
                    self.end(head or {})
            except NodeCallRefused as refused:
                self.refuse(refused.code, str(refused))
            except StorageError as error:
                self.refuse("storage", str(error))
            except trio.TooSlowError:
                _log.info("node %s: it did not take the rest of an answer", self.node)
                self.refuse("storage", "the answer was not taken")
            except Exception:
                _log.exception("node %s: what it asked for failed", self.node)
                self.refuse("internal", "Internal server error; see the log of the session's machine.")


Answers = Callable[[NodeQuestion], Awaitable[dict[str, Any] | None]]
"""Answers a call: returns JSON, or sends a body by `begin` and `write`. Raises NodeCallRefused or StorageError."""


@attrs.define(eq=False)
class NodeAnswers:
    """Answers the calls of other nodes. What serves a name judges by itself what a call may do."""

    post: Post
    nursery: trio.Nursery
    _served: dict[str, Answers] = attrs.field(factory=dict, init=False)
    _running: dict[str, NodeQuestion] = attrs.field(factory=dict, init=False)
    _known: OrderedDict[str, None] = attrs.field(factory=OrderedDict, init=False)

    def serve(self, name: str, answers: Answers) -> None:
        """Answer calls of this name from now on."""
        self._served[name] = answers

    def take(self, mail: NodeMail, age_s: float) -> None:
        """Take a call, or word of who asked. Never blocks."""
        if isinstance(mail, MoreMail):
            if mail.key in self._running:
                self._running[mail.key].take(mail)
        elif isinstance(mail, CallMail) and age_s <= STALE_S and mail.key not in self._running:
            self._begin(mail)

    def _begin(self, mail: CallMail) -> None:
        question = NodeQuestion(mail.node, mail.fields, mail.key, self.post, None)
        question.look()
        answers = self._served.get(mail.name)
        if mail.key in self._known:  # the answer is before this in the mail, unless it was lost
            question.refuse("storage", "the answer was lost: nobody knows whether it was done")
        elif answers is None:
            question.refuse("unavailable", "The other machine starts, or has another version. Try again.")
        elif sum(one.node == mail.node for one in self._running.values()) >= MAX_ANSWERED:
            question.refuse("busy", "The other machine has too much to do. Try again in a moment.")
        else:
            self._known[mail.key] = None
            if len(self._known) > KEPT_KEYS:
                self._known.popitem(last=False)
            self._running[mail.key] = question
            self.nursery.start_soon(self._answer, mail.key, question, answers)

    async def _answer(self, key: str, question: NodeQuestion, answers: Answers) -> None:
        try:
            await question.run(answers)
        finally:
            del self._running[key]

    def look(self) -> None:
        """Stop what nodes asked for that are gone."""
        for question in tuple(self._running.values()):
            question.look()


def _checked(head: dict[str, Any]) -> dict[str, Any]:
    if len(orjson.dumps(head)) > MAX_HEAD_BYTES:
        raise NodeCallRefused("too_large", "That is too large to be sent to another machine.")
    return head
