"""A device's side of one session: position, outbox, own turns. Frames in, verdicts out. Pure.

Exactly-once sending: a message keeps its id until the server has accepted or refused it, and is sent again
after each attach until then; the server takes a known id for what it is. No gap: an event must follow the
position, otherwise the connection is of no use and the device comes back with the position that it has.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import attrs

from builderos.client.frames import Frame, Position, encode
from storage.aliases import is_app_session

__all__ = ["Follow", "Outcome", "ReconnectError", "RefusedError"]

T = TypeVar("T", bound=str)

MAX_OUTBOX = 100
"""Messages that wait for `accepted`: as many as a session's queue takes."""

PASSING = frozenset({"storage", "session_failed", "shutting_down"})
"""Why an attach may fail that is worth another try."""

KEPT = 1000
"""Turns and outcomes of our messages that are remembered; a terminal may be attached for weeks."""

Outcome = Literal["complete", "error", "interrupted", "cancelled", "unknown"]
"""How the turn of a message of ours came to its end."""


class ReconnectError(Exception):
    """This connection is of no use, the next may be: an event that does not follow, or trouble that
    passes.
    """


class RefusedError(Exception):
    """The server will not let us follow this session, however often we come; `code` is its word for why."""

    def __init__(self, code: str, content: str) -> None:
        super().__init__(content or code)
        self.code = code


@attrs.define(eq=False)
class Follow:
    """See the module.

    Attributes:
        agent: makes the session where it is not there.
        device_id: our label; None for the key's own.
        history: how many turns to see where there is no position yet.
        position: the last event that was taken.
        attached: whether the server has answered our attach on this connection.
        outcomes: how the turns of our messages ended, by message id.
    """

    session_id: str
    agent: str | None = None
    device_id: str | None = None
    observe: bool = False
    history: int = 50
    position: Position | None = None
    attached: bool = False
    outcomes: dict[str, Outcome] = attrs.field(factory=dict)
    _outbox: dict[str, str] = attrs.field(factory=dict)
    _running: dict[str, None] = attrs.field(factory=dict)
    _turns: dict[str, str] = attrs.field(factory=dict)
    _unknown: set[str] = attrs.field(factory=set)

    @property
    def is_settled(self) -> bool:
        """Whether every message of ours was accepted or refused."""
        return not self._outbox

    @property
    def is_done(self) -> bool:
        """Whether, beyond that, the turn of each has ended."""
        return not self._outbox and not self._running

    @property
    def newest_own(self) -> str | None:
        """The id of our newest message whose turn has not ended."""
        return next(reversed(self._running), None)

    def attach_frame(self) -> str:
        """Return the attach for a new connection."""
        self.attached = False
        after = {"epoch": self.position.epoch, "seq": self.position.seq} if self.position else None
        return encode(
            "attach",
            session_id=self.session_id,
            agent=self.agent,
            device_id=self.device_id,
            after=after,
            history=self.history,
            observe=self.observe,
        )

    def send_frame(self, message_id: str, content: str) -> str | None:
        """Keep a message until it is accepted; return its frame where it can go now.

        Raises:
            OverflowError: too many wait already.
        """
        if len(self._outbox) >= MAX_OUTBOX:
            raise OverflowError(f"{MAX_OUTBOX} messages wait for the server")
        frame = encode("send", session_id=self.session_id, message_id=message_id, content=content)
        self._outbox[message_id] = frame
        self._running[message_id] = None
        return frame if self.attached else None

    def take(self, frame: Frame) -> list[str]:
        """Take a frame of the server; return the frames to send now.

        Raises:
            ReconnectError: an event does not follow the position, or the trouble will pass.
            RefusedError: the session is not for us, or a message of ours is no frame to the server.
        """
        if not self.attached and frame.session_id and is_app_session(self.session_id):
            self.session_id = frame.session_id  # the server's alias for an id of the iOS app
        if frame.session_id not in (None, self.session_id):
            return []
        if frame.seq is not None:
            self._advance(frame)
            self._note(frame)
        elif frame.kind == "attached":
            return self._attach(frame)
        elif frame.kind == "accepted":
            self._accept(frame)
        elif frame.kind == "rejected":
            self._reject(frame)
        elif frame.kind == "error" and not self.attached:
            self._fail(frame)
        elif self._outbox and frame.kind == "error" and frame.text("code") == "bad_frame":
            # It names no message. The server does not understand ours, and would not the next time either.
            raise RefusedError("bad_frame", frame.content)
        return []

    def is_ours(self, frame: Frame) -> bool:
        """Tell whether the event belongs to the turn of a message of ours, its end included."""
        return frame.turn_id in self._turns

    def _fail(self, frame: Frame) -> None:
        code = frame.text("code")
        if code in PASSING:
            raise ReconnectError(f"{code}: {frame.content}")
        raise RefusedError(code, frame.content)

    def _attach(self, frame: Frame) -> list[str]:
        epoch = frame.epoch or 0
        if frame.text("replay") != "ok" or self.position is None or self.position.epoch != epoch:
            self.position = Position(epoch, frame.number("from_seq") - 1)
        self.attached = True
        return list(self._outbox.values())

    def _advance(self, frame: Frame) -> None:
        here = self.position
        if here is None or frame.seq is None or frame.first_seq is None:
            raise ReconnectError("an event came before the attach was answered")
        if frame.first_seq > here.seq + 1 or frame.seq <= here.seq:
            raise ReconnectError(f"event {frame.first_seq}-{frame.seq} does not follow {here.seq}")
        self.position = Position(here.epoch, frame.seq)

    def _note(self, frame: Frame) -> None:
        message_id = frame.text("message_id")
        if frame.kind in {"user_message", "turn_started"} and message_id in self._running and frame.turn_id:
            _keep(self._turns, frame.turn_id, message_id)
        elif frame.kind == "delivery" and message_id in self._running:
            if frame.text("state") == "cancelled":
                self._end(message_id, "cancelled")
            elif frame.text("state") == "unknown":
                self._unknown.add(message_id)
        elif frame.ends_turn and frame.turn_id in self._turns:
            self._end_turn(self._turns[frame.turn_id], frame.kind)

    def _end_turn(self, message_id: str, kind: str) -> None:
        if message_id in self._unknown:
            self._end(message_id, "unknown")
        elif kind == "complete":
            self._end(message_id, "complete")
        elif kind == "interrupted":
            self._end(message_id, "interrupted")
        else:
            self._end(message_id, "error")

    def _end(self, message_id: str, outcome: Outcome) -> None:
        self._outbox.pop(message_id, None)
        self._running.pop(message_id, None)
        self._unknown.discard(message_id)
        _keep(self.outcomes, message_id, outcome)

    def _accept(self, frame: Frame) -> None:
        self._outbox.pop(frame.text("message_id"), None)

    def _reject(self, frame: Frame) -> None:
        message_id = frame.text("message_id")
        if frame.text("code") == "shutting_down":
            return  # the connection ends next; what waits goes out on the following one
        if message_id in self._outbox:
            self._end(message_id, "error")
        elif not self.attached:
            self._fail(frame)


def _keep(table: dict[str, T], key: str, value: T) -> None:
    """Note a value; the oldest one goes where there are too many."""
    table[key] = value
    if len(table) > KEPT:
        del table[next(iter(table))]
