"""What a session's step takes besides a device's command: the hub's news and the supervisor's."""

from __future__ import annotations

from typing import Literal

import attrs

from actors.commands import Envelope
from actors.replies import Rejected
from bridgehub.desk.records import DeskLook, DeskMark, Where
from bridgehub.protocol.messages import Reported, Welcome
from storage.records import CommandRecord

__all__ = [
    "DeskSeen",
    "FoundElsewhere",
    "FromDevice",
    "FromHub",
    "HubGone",
    "HubReady",
    "IdleTooLong",
    "Input",
    "MarkFailed",
    "Resume",
    "TimeCame",
    "UndoCarried",
    "UndoPlanned",
]


@attrs.frozen
class FromDevice:
    """A command. `known`: what is recorded of its message id; `watched`: whether any device is attached."""

    envelope: Envelope
    known: CommandRecord | None = None
    watched: bool = False


@attrs.frozen
class FromHub:
    """An event of the hub `hub_id`."""

    hub_id: str
    reported: Reported


@attrs.frozen
class HubReady:
    """A link to the hub is up."""

    hub_id: str
    welcome: Welcome


@attrs.frozen
class HubGone:
    """The hub is dead, its tree killed and the events that it left delivered.

    `reason`: `died`; `garbage`, it broke the protocol and was killed; `not_started`, it could not be; or
    `never_started`, an earlier owner journalled its id and did not come to start it. The last two took no prompt.
    `last_prompt`: the turn of the newest prompt that this owner may have sent it, None if it sent none.
    """

    hub_id: str
    reason: Literal["died", "garbage", "not_started", "never_started"]
    detail: str = ""
    last_prompt: str | None = None


@attrs.frozen
class IdleTooLong:
    """Nothing happened for as long as an idle hub is kept."""


@attrs.frozen
class TimeCame:
    """A moment came that the queue waits for. `revoked`: keys that are not good any more, of its messages."""

    revoked: frozenset[str] = frozenset()


@attrs.frozen
class MarkFailed:
    """The supervisor gives up on this session's actor."""

    detail: str


@attrs.frozen
class Resume:
    """The session's actor was started: a failed session works again, and what waits continues.

    `revoked`: as in `TimeCame`.
    """

    revoked: frozenset[str] = frozenset()


@attrs.frozen
class UndoPlanned:
    """An undo can be carried out, or cannot: then `refusal` says why. `checkpoint_id`: the state just before it."""

    undo_id: str
    checkpoint_id: str = ""
    refusal: Rejected | None = None


@attrs.frozen
class UndoCarried:
    """An undo was carried out, as far as that went; `failure` says what went wrong, for a person."""

    undo_id: str
    files: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    failure: str = ""


@attrs.frozen
class DeskSeen:
    """A look at the agent's own record of the conversation. `after`: the mark at which it began.

    `left`: turns that do not count any more, since somebody went back at the desk.
    """

    after: DeskMark | None
    look: DeskLook
    left: tuple[str, ...] = ()


@attrs.frozen
class FoundElsewhere:
    """A message was not handed over: a terminal has the session open."""

    turn_id: str
    where: Where


Input = (
    FromDevice
    | FromHub
    | HubReady
    | HubGone
    | IdleTooLong
    | TimeCame
    | MarkFailed
    | Resume
    | UndoPlanned
    | UndoCarried
    | DeskSeen
    | FoundElsewhere
)
