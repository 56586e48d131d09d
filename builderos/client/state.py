"""A device's side of one session: position, outbox, own turns. Frames in, frames to send out. Pure.

Exactly-once sending: a message keeps its id until the server has accepted or refused it, and is sent again after each
attach until then; the server recognises a known id. No gaps: an event must follow the position. If it does not, the
device reconnects with the position that it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import attrs

from builderos.client.machines import is_away
from builderos.client.wire.frames import Frame, SeenPosition, encode
from storage.aliases import is_app_session

__all__ = ["Follow", "Outcome", "ReconnectError", "RefusedError"]

T = TypeVar("T", bound=str)

MAX_OUTBOX = 100
"""Messages that wait for `accepted`: as many as a session's queue accepts."""

PASSING = frozenset({"storage", "session_failed", "shutting_down"})
"""Reasons of a failed attach that are worth a retry."""

WAITED = frozenset({"machine_away", "storage"})
"""Reasons of a refused message that pass, and that its device may wait for."""

KEPT = 1000
"""Our messages' turns and outcomes that are kept; a terminal may be attached for weeks."""

Outcome = Literal["complete", "error", "interrupted", "cancelled", "unknown"]
"""How the turn of one of our messages ended."""


class ReconnectError(Exception):
    """This connection is useless, the next may work: an event does not follow, or the server has a temporary problem."""


class RefusedError(Exception):
    """The server refuses this session permanently; `code` is its reason."""

    def __init__(self, code: str, content: str) -> None:
        super().__init__(content or code)
        self.code = code


@attrs.define(eq=False)
class Follow:
    """One device's state of one session, without I/O.

    Attributes:
        agent: creates the session if it does not exist.
        device_id: our label; None for the key's own.
        history: how many turns to load if there is no position yet.
        position: the last event received.
        attached: whether the server has answered our attach on this connection.
        outcomes: how the turns of our messages ended, by message id.
        pace_ms: the least time between two rounds of pieces, for a device that draws and does not print.
        settings: of a session that this attach creates.
        waits: a message that is refused for a reason that passes stays in the outbox, and is sent again.
        machine: where the session runs, as the server said last; None if it has all sessions for itself.
    """

    session_id: str
    agent: str | None = None
    device_id: str | None = None
    observe: bool = False
    history: int = 50
    position: SeenPosition | None = None
    attached: bool = False
    outcomes: dict[str, Outcome] = attrs.field(factory=dict)
    pace_ms: int | None = None
    settings: Mapping[str, Any] | None = None
    waits: bool = False
    machine: Mapping[str, Any] | None = None
    _is_refused: bool = False
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
            pace_ms=self.pace_ms,
            settings=self.settings if self.position is None else None,
        )

    @property
    def outbox(self) -> Mapping[str, str]:
        """The messages that are neither accepted nor refused yet: their frames by id, oldest first."""
        return self._outbox

    def send_frame(
        self,
        message_id: str,
        content: str,
        not_before: str | None = None,
        mode: str | None = None,
        files: Sequence[str] = (),
    ) -> str | None:
        """Keep a message until it is accepted; return its frame if it can be sent now.

        One for later, `not_before` a moment of the protocol, counts as done once it is accepted. `mode` is `queue`, the
        default, or `steer`. `files` are addresses of uploads.

        Raises:
            OverflowError: too many messages wait already.
        """
        if len(self._outbox) >= MAX_OUTBOX:
            raise OverflowError(f"{MAX_OUTBOX} messages wait for the server already; try again later")
        fields = {"message_id": message_id, "content": content, "not_before": not_before, "mode": mode}
        attachments = [{"url": url} for url in files] or None
        frame = encode("send", session_id=self.session_id, attachments=attachments, **fields)
        self._outbox[message_id] = frame
        if not_before is None:
            self._running[message_id] = None
        return frame if self.attached else None

    def take(self, frame: Frame) -> list[str]:
        """Take a frame of the server; return the frames to send now.

        Raises:
            ReconnectError: an event does not follow the position, or the problem is temporary.
            RefusedError: the session is not allowed, or the server rejects a message of ours as a bad frame.
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
        elif frame.kind in {"session_changed", "heartbeat"}:
            return self._look(frame)
        elif frame.kind == "accepted":
            self._accept(frame)
        elif frame.kind == "rejected":
            self._reject(frame)
        elif frame.kind == "error" and not self.attached:
            self._fail(frame)
        elif self._outbox and frame.kind == "error" and frame.text("code") == "bad_frame":
            # It names no message. The server cannot read one of our frames, and a retry would not change
            # that.
            raise RefusedError("bad_frame", frame.content)
        return []

    def is_ours(self, frame: Frame) -> bool:
        """Return whether the event belongs to the turn of one of our messages, its end included."""
        return frame.turn_id in self._turns

    def forget(self, message_id: str) -> None:
        """Drop a message of the outbox: it is not sent again. One that has gone out already may still run."""
        self._outbox.pop(message_id, None)
        self._running.pop(message_id, None)

    def _fail(self, frame: Frame) -> None:
        code = frame.text("code")
        if code in PASSING:
            raise ReconnectError(f"{code}: {frame.content}")
        raise RefusedError(code, frame.content)

    def _attach(self, frame: Frame) -> list[str]:
        epoch = frame.epoch or 0
        if frame.text("replay") != "ok" or self.position is None or self.position.epoch != epoch:
            self.position = SeenPosition(epoch, frame.number("from_seq") - 1)
        self.attached, self.agent = True, None  # one that is deleted meanwhile is not made again
        self._is_refused = False
        self._note_machine(frame)
        return list(self._outbox.values())

    def _look(self, frame: Frame) -> list[str]:
        """Return what was refused, once its reason may have passed."""
        self._note_machine(frame)
        if not self._is_refused or not self.attached or is_away(self.machine):
            return []
        self._is_refused = False
        return list(self._outbox.values())

    def _note_machine(self, frame: Frame) -> None:
        machine = frame.body.get("machine")
        if isinstance(machine, dict):
            self.machine = machine

    def _advance(self, frame: Frame) -> None:
        here = self.position
        if here is None or frame.seq is None or frame.first_seq is None:
            raise ReconnectError("an event arrived before the answer to the attach")
        if frame.first_seq > here.seq + 1 or frame.seq <= here.seq:
            raise ReconnectError(f"event {frame.first_seq}-{frame.seq} does not follow {here.seq}")
        self.position = SeenPosition(here.epoch, frame.seq)

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
            return  # the connection ends next; waiting messages go out on the following one
        if message_id in self._outbox and self.waits and frame.text("code") in WAITED:
            self._is_refused = True
        elif message_id in self._outbox:
            self._end(message_id, "error")
        elif not self.attached:
            self._fail(frame)


def _keep(table: dict[str, T], key: str, value: T) -> None:
    """Store a value; drop the oldest if there are too many."""
    table[key] = value
    if len(table) > KEPT:
        del table[next(iter(table))]
