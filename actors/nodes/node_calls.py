"""Node calls: what this node asks of another one beside commands. A name and JSON go there; JSON and bytes come back.

A call is done once at most. If the other node dies or the answer is late, the call fails, and what came so far is not
whole. If the asking side leaves the block, the work at the other node is cancelled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import trio

from actors.errors import MachineAway, NodeCallRefused
from actors.nodes.mail import AnswerMail, CallMail, MoreMail, NodeMail, PartMail, encode_mail
from actors.nodes.ports import SILENT_S, Post, has_ended, incarnation_of
from actors.ports import Ids
from storage.errors import StorageUnavailable

__all__ = ["MAX_FIELDS_BYTES", "MAX_OPEN", "WINDOW", "NodeAnswer", "NodeCalls"]

AGAIN_S: Final = 3.0
"""A call without an answer is posted again after so long, since a crash of the database loses mail."""

ANSWER_S: Final = 120.0
"""How long an answer may take to begin: changes of a large folder, or the end of an agent's program. One that is lost
is noticed within `AGAIN_S`."""

PART_S: Final = 30.0
"""How long each further part may take."""

WINDOW: Final = 4
"""Parts under way at most: the answering side waits for `MoreMail`."""

MAX_OPEN: Final = 64
"""Calls of this node at once; one more is refused."""

MAX_FIELDS_BYTES: Final = 256 * 1024
"""The most that goes with a call."""


@attrs.define(eq=False)
class _Call:
    """A call under way. `fault`: why nothing more comes. `next_number`: of the part that must come next."""

    key: str
    node: str
    incarnation: int
    heard: trio.Event = attrs.field(factory=trio.Event)
    answer: AnswerMail | None = None
    parts: deque[PartMail] = attrs.field(factory=deque)
    next_number: int = 0
    is_over: bool = False
    fault: Exception | None = None

    def take(self, mail: AnswerMail | PartMail) -> None:
        """Take what came. What comes twice is left out; what is missing ends the call."""
        if isinstance(mail, AnswerMail):
            self.answer = self.answer or mail
            self.is_over = self.is_over or mail.is_whole
        elif mail.number < self.next_number or self.is_over:
            return
        elif mail.number > self.next_number or self.answer is None or len(self.parts) >= 2 * WINDOW:
            self.fail(StorageUnavailable(f"the answer of node {self.node} came with a gap"))
        else:
            self.next_number += 1
            self.parts.append(mail)
            self.is_over = bool(mail.end)
        self.heard.set()

    def fail(self, fault: Exception) -> None:
        """Let the asking side hear that nothing more comes."""
        self.fault = self.fault or fault
        self.heard.set()

    async def wait(self, limit_s: float) -> None:
        """Return once something new is there, or after `limit_s`. Raises what ended the call."""
        with trio.move_on_after(limit_s):  # noqa: ASYNC912 - it may be there already
            await self.heard.wait()
        if self.fault is not None and not self.parts:
            raise self.fault
        self.heard = trio.Event()


@attrs.define(eq=False)
class NodeAnswer:
    """The beginning of an answer. `head`: its JSON."""

    head: dict[str, Any]
    _call: _Call
    _post: Post
    _number: int = 0
    _is_whole: bool = False

    async def part(self) -> bytes | None:
        """Return the next part of the body; None after the last one.

        Raises:
            MachineAway, StorageUnavailable: the rest does not come, so the body is not whole.
        """
        call = self._call
        if self._is_whole:
            return None
        until = trio.current_time() + PART_S
        while not call.parts:
            if trio.current_time() >= until:
                raise StorageUnavailable(f"node {call.node} sends nothing more of its answer")
            await call.wait(until - trio.current_time())
        part = call.parts.popleft()
        if part.end == "failed":
            raise StorageUnavailable(f"node {call.node} could not finish its answer")
        self._number, self._is_whole = part.number + 1, part.end == "last"
        if not call.is_over:
            more = encode_mail(MoreMail(call.key, self._number))
            self._post.post(call.node, more, within_s=PART_S)
        return part.data


@attrs.define(eq=False)
class NodeCalls:
    """The calls of this node to others. `look` must be called now and then, and after a node came or went."""

    post: Post
    new_id: Ids
    _open: dict[str, _Call] = attrs.field(factory=dict, init=False)

    @asynccontextmanager
    async def open(self, node: str, name: str, fields: dict[str, Any]) -> AsyncIterator[NodeAnswer]:
        """Ask another node for something; give its answer once that begins. The end of the block ends the call.

        Args:
            node: another one than this.
            name: what it has registered with `NodeAnswers.serve`.
            fields: JSON of `MAX_FIELDS_BYTES` at most.

        Raises:
            MachineAway: it is not there, or it died meanwhile; then nobody knows whether it was done.
            NodeCallRefused: it refused, or there are too many calls.
            StorageUnavailable: the database is away or the answer is late, so nobody knows whether it was done.
        """
        if len(self._open) >= MAX_OPEN:
            raise NodeCallRefused(
                "busy", "Too much is asked of other machines at once. Try again in a moment."
            )
        call = _Call(self.new_id(), node, incarnation_of(self.post, node))
        body = encode_mail(CallMail(call.key, self.post.node, name, fields))
        if len(body) > MAX_FIELDS_BYTES:
            raise NodeCallRefused("too_large", "That is too long to be sent to another machine.")
        self._open[call.key] = call
        try:
            answer = await self._begin(call, body)
            yield NodeAnswer(answer.head, call, self.post, is_whole=answer.is_whole)
        finally:
            del self._open[call.key]
            if not call.is_over:
                over = encode_mail(MoreMail(call.key, over=True))
                self.post.post(node, over, within_s=PART_S)

    async def ask(self, node: str, name: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Ask another node for JSON alone. Raises as `open`."""
        async with self.open(node, name, fields) as answer:
            return answer.head

    async def _begin(self, call: _Call, body: bytes) -> AnswerMail:
        until = trio.current_time() + ANSWER_S
        while call.answer is None:
            if trio.current_time() >= until:
                raise StorageUnavailable(f"node {call.node} did not answer: nobody knows whether it was done")
            self.post.post(call.node, body, within_s=AGAIN_S)
            await call.wait(AGAIN_S)
        answer = call.answer
        if answer.code == "storage":
            raise StorageUnavailable(answer.content)
        if answer.code:
            raise NodeCallRefused(answer.code, answer.content)
        return answer

    def take(self, mail: NodeMail) -> None:
        """Take an answer, or a part of one. Never blocks."""
        if isinstance(mail, AnswerMail | PartMail):
            call = self._open.get(mail.key)
            if call is not None:
                call.take(mail)

    def look(self) -> None:
        """End the calls that nobody will answer."""
        silent = self.post.silent_s > SILENT_S
        for call in self._open.values():
            if call.is_over:
                continue
            if silent:
                call.fail(StorageUnavailable("the database does not answer, so nobody knows what was done"))
            elif has_ended(self.post, call.node, call.incarnation):
                call.fail(MachineAway(call.node))
