"""What a server and a hub say to each other over the hub's socket: frozen classes, one JSON line each.

The link has its own classes because the two ends version apart: a server meets hubs that an older server
started. `VERSION` changes only when an older end would misread a line; unknown fields are ignored, an unknown
`type` from a hub is journalled as a notice and acknowledged.

The life of a link: the server connects and says `Hello`; the hub answers `Welcome`, or `Refused`, then sends
each `Reported` event after `Hello.last_seq`. The server acknowledges what it has committed by `Ack`; until
then the hub keeps it. A newer `Hello` with at least the same owner epoch displaces the older link.
"""

from __future__ import annotations

from typing import Any, Literal

import attrs

from bridgehub.protocol.events import HubEvent
from bridgehub.protocol.hub_spec import Setup

__all__ = [
    "VERSION",
    "Ack",
    "Configure",
    "Decided",
    "Detach",
    "FromHub",
    "Hello",
    "History",
    "InterruptTurn",
    "PastMessage",
    "Prompt",
    "Refused",
    "Reported",
    "Steer",
    "Stop",
    "StopTask",
    "ToHub",
    "WarmUp",
    "Welcome",
]

VERSION = 1


# ---- server to hub ----


@attrs.frozen
class Hello:
    """First line of every link. `last_seq`: the last event of this hub that is in the journal."""

    version: int
    session_id: str
    owner_epoch: int
    last_seq: int


@attrs.frozen
class Prompt:
    """Take a user message. A `turn_id` that the hub has had before is ignored.

    Attributes:
        taken_before: how many user messages agents of this session had consumed before this one.
        attachments: paths and names of files, as JSON objects.
        undone: files whose changes were taken back since the agent's last message; `undone_more`: and so many others.
        setup: what the turn starts with; None from a server that knows of no settings: those of the spec hold.
    """

    turn_id: str
    message_id: str
    content: str
    taken_before: int
    attachments: tuple[dict[str, Any], ...] = ()
    setup: Setup | None = None
    undone: tuple[str, ...] = ()
    undone_more: int = 0


@attrs.frozen
class Configure:
    """The session's settings as they are now: sent over every new link, and at every change."""

    setup: Setup


@attrs.frozen
class Steer:
    """Give the running turn one more user message; `SteerTaken`, `SteerRefused` or `SteerLost` follows.

    Ignored if that turn does not run any more, or if the message was had before.
    """

    turn_id: str
    message_id: str
    content: str
    attachments: tuple[dict[str, Any], ...] = ()


@attrs.frozen
class PastMessage:
    """One entry of a session's history, for an agent that lost its own memory of it."""

    role: Literal["user", "assistant"]
    content: str


@attrs.frozen
class History:
    """The answer to `HistoryWanted`: what was said before this turn, oldest first.

    `left_out`: how many older messages did not fit.
    """

    turn_id: str
    messages: tuple[PastMessage, ...]
    left_out: int = 0


@attrs.frozen
class InterruptTurn:
    """Stop that turn: politely, and by force before 2 s have passed. Ignored if it does not run."""

    turn_id: str


@attrs.frozen
class StopTask:
    """End that work in the background; `TaskEnded` follows. Ignored if it does not run."""

    task_id: str


@attrs.frozen
class Decided:
    """A person's answer to a `PermissionAsked`. Ignored if it does not wait.

    Attributes:
        input: fields of the request's input as the person changed them; None: the input as it was.
        mode: the mode to switch to along with the answer.
        option: the agent's own option that the person chose, by its label; it says more than `decision`.
    """

    request_id: str
    decision: Literal["allow", "deny", "allow_session", "cancelled"]
    note: str | None = None
    answers: Any = None
    input: Any = None
    mode: str | None = None
    option: str | None = None


@attrs.frozen
class WarmUp:
    """Start the agent's program: somebody is about to write. It says nothing, and starts no turn.

    Attributes:
        taken_before: how many user messages agents of this session have consumed.
        setup: the session's settings.
        joins: whether a terminal is about to join the program. One that runs then stays as it is.
    """

    taken_before: int
    setup: Setup
    joins: bool = False


@attrs.frozen
class Ack:
    """All events up to `seq` are committed; the hub may forget them.

    Attributes:
        seq: the number of the last one.
        gather_ms: how long the server wants pieces to gather from now on, since its machine is busy; 0: not at all.
    """

    seq: int
    gather_ms: int = 0


@attrs.frozen
class Detach:
    """The server is about to stop; the hub continues alone."""


@attrs.frozen
class Stop:
    """End now, with the agent and its whole tree."""


ToHub = (
    Hello
    | Configure
    | Prompt
    | WarmUp
    | Steer
    | History
    | InterruptTurn
    | StopTask
    | Decided
    | Ack
    | Detach
    | Stop
)


# ---- hub to server ----


@attrs.frozen
class Welcome:
    """The hub's answer to `Hello`.

    Attributes:
        pid: the hub's process id.
        last_turn_id: the newest turn that it ever took a prompt of; None for a fresh hub.
        running: whether that turn still runs.
        waiting: ids of the permission requests that wait for `Decided`.
        steered: ids of the messages that were steered into that turn.
        head_seq: the hub's newest event when it said this: earlier events come before this is judged.
        history_wanted: the `limit_bytes` of a `HistoryWanted` that waits; 0 if none does.
        can_steer: whether the agent takes messages in mid-turn.
        takes_setup: whether the hub takes `Configure` and `Prompt.setup`; one that does not is older, and is replaced
            before the next turn.
        takes_warm_up: whether the hub takes `WarmUp`.
    """

    version: int
    hub_id: str
    pid: int
    last_turn_id: str | None
    running: bool
    waiting: tuple[str, ...]
    can_steer: bool = False
    steered: tuple[str, ...] = ()
    history_wanted: int = 0
    takes_setup: bool = False
    head_seq: int = 0
    takes_warm_up: bool = False


@attrs.frozen
class Refused:
    """The hub does not take this link: `fenced` (a later owner holds it), `version` or `session`."""

    reason: Literal["fenced", "version", "session"]
    content: str


@attrs.frozen
class Reported:
    """An event that covers `first_seq` … `seq` of the hub's own numbers (a joined piece covers several)."""

    seq: int
    first_seq: int
    event: HubEvent


FromHub = Welcome | Refused | Reported
