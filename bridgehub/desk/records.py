"""What a program's own record of a conversation says, in the words of a session. Pure.

Whatever comes from a file is cut to the limits here: it is text that a stranger may have written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

__all__ = [
    "DESK",
    "MAX_LIST_TEXT",
    "MAX_MESSAGES",
    "MAX_TEXT",
    "Answered",
    "Began",
    "DeskEvent",
    "DeskHistory",
    "DeskLook",
    "DeskMark",
    "DeskSession",
    "Ended",
    "NoSuchSession",
    "Said",
    "ToolCalled",
    "ToolReturned",
    "Where",
    "list_text",
]

DESK = "desk"
"""The device, and the cause of turns, of what was said or decided in a terminal."""

MAX_LIST_TEXT = 500
"""Characters of each text in the list (PROTOCOL section 14)."""

MAX_MESSAGES = 5000
"""Messages and answers of the history that an opened session begins with; the list shows no more of them."""

MAX_TEXT = 256 * 1024
"""Characters of one text, input or output of the history; the rest of a longer one is left out."""


@attrs.frozen
class Where:
    """A program that has a session open. `pid` is None if it is not known; `started` distinguishes it from others.

    `can_join`: others may use the session together with it.
    """

    program: str
    pid: int | None
    status: Literal["idle", "busy", "waiting"]
    since_ms: int
    started: str = ""
    can_join: bool = False


@attrs.frozen
class Answered:
    """What the newest answer in a terminal was asked with; all empty if a program of ours answered since.

    Attributes:
        model, effort: as the program calls them; empty if not known.
        mode: the newest permission mode.
        thinks_more: whether the turn has another effort than the one that was chosen, for itself alone.
    """

    model: str = ""
    effort: str = ""
    mode: str = ""
    thinks_more: bool = False


@attrs.frozen
class DeskMark:
    """How far a program's record of a conversation was read.

    Attributes:
        native_id: the program's name of it.
        offset: bytes of the file that were read.
        leaf: the newest row of it.
        rests: whether the open turn of the desk may be over.
        title: the newest title that the record had there.
        in_ours: whether the row at `offset` is in the middle of a turn that began here.
        chosen: the settings that somebody changed there and that no answer has had yet.
        answered: what the newest answer there was asked with.
    """

    native_id: str
    offset: int = 0
    leaf: str = ""
    rests: bool = False
    in_ours: bool = False
    title: str = ""
    chosen: tuple[str, ...] = ()
    answered: Answered = Answered()


@attrs.frozen
class DeskSession:
    """One session as a program keeps it."""

    native_id: str
    title: str
    workspace: str
    first_message: str
    last_activity_ms: int
    message_count: int
    path: str = attrs.field(eq=False)


@attrs.frozen
class Began:
    """A turn begins, with a person's message; None: the agent began by itself. `key` names it in the record."""

    key: str
    at_ms: int
    text: str | None


@attrs.frozen
class Said:
    """The agent said or thought something."""

    at_ms: int
    block: str
    text: str
    is_thinking: bool = False


@attrs.frozen
class ToolCalled:
    """The agent calls a tool."""

    at_ms: int
    tool_id: str
    name: str
    input: Any


@attrs.frozen
class ToolReturned:
    """A tool's result. `diff`: what an edit changed, as file entries."""

    at_ms: int
    tool_id: str
    output: str
    is_error: bool
    diff: Any = None


@attrs.frozen
class Ended:
    """The turn is over."""

    at_ms: int
    was_interrupted: bool = False


DeskEvent = Began | Said | ToolCalled | ToolReturned | Ended


@attrs.frozen
class DeskLook:
    """What a look found.

    Attributes:
        mark: where the next look begins; None if the program has no record of the conversation.
        where: the program that has it open.
        events: what was added, in order. A turn that a terminal works on may stay open.
        rewound: whether somebody went back in it.
        more: whether there is more to read at once.
        is_open: whether a turn of the desk is open after them.
        title: what somebody called the conversation since; empty: nothing.
        settings: what somebody chose since, by the names of a session's settings, in the agent's own words.
    """

    mark: DeskMark | None = None
    where: Where | None = None
    events: tuple[DeskEvent, ...] = ()
    rewound: bool = False
    more: bool = False
    is_open: bool = False
    title: str = ""
    settings: Mapping[str, str] = attrs.field(factory=dict)


def list_text(value: object) -> str:
    """Return one line of a list, cut to its limit."""
    text = value if isinstance(value, str) else ""
    return " ".join(text[: 4 * MAX_LIST_TEXT].split())[:MAX_LIST_TEXT]


class NoSuchSession(Exception):
    """The program has no such session, or its record cannot be read."""


@attrs.frozen
class DeskHistory:
    """A conversation as it stands.

    Attributes:
        memory: what the agent's driver must know to continue it.
        mode: the permission mode in which the terminal was last; empty: not known.
        is_cut: whether older messages were left out.
    """

    session: DeskSession
    events: list[DeskEvent]
    mark: DeskMark
    memory: dict[str, Any]
    is_cut: bool
    mode: str = ""
