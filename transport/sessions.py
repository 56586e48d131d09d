"""What every protocol does with a session: finds or creates it, asks its owner, looks up a message's files, and names
failures."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

import attrs
import trio

from actors.commands import Author, Command, Envelope
from actors.errors import ActorError, SessionFailed, ShuttingDown
from actors.events.codec import encode_settings
from actors.events.conversation import Attachment
from actors.events.session import Settings
from actors.ports import CommandBus
from actors.replies import Reply
from storage.errors import SessionExists, SessionMissing, StorageError
from storage.records import NewSession
from transport.access.auth import CREATE_SESSION, authorize
from transport.config import TransportConfig
from transport.ports import Deps, Device, Uploads

__all__ = [
    "FAILURES",
    "NO_ANSWER",
    "Failure",
    "SessionRefused",
    "ask",
    "attachments_of",
    "failure_of",
    "find_or_create",
]

FAILURES: Final = (SessionMissing, SessionFailed, ShuttingDown, StorageError)
"""Failures of a session's owner or of the database: the device gets an error, and its connection continues."""

NO_ANSWER: Final = "The session does not answer at the moment. Try again."

logger = logging.getLogger("builderos.transport")


class SessionRefused(Exception):
    """A request about a session that is refused; the text is for a person."""

    def __init__(self, code: str, content: str) -> None:
        super().__init__(content)
        self.code = code


@attrs.frozen
class Failure:
    """A failure as a device sees it: a code, and a text for a person."""

    code: Literal["unknown_session", "session_failed", "shutting_down", "storage", "unavailable"]
    text: str


def failure_of(error: ActorError | StorageError, subject: str) -> Failure:
    """Return what a device is shown of an error. A failure of the database is logged, with `subject` in front."""
    if isinstance(error, SessionMissing):
        return Failure("unknown_session", "There is no such session.")
    if isinstance(error, SessionFailed):
        return Failure("session_failed", f"The session failed; try again in {error.retry_in_s:.0f} s.")
    if isinstance(error, ShuttingDown):
        return Failure("shutting_down", "The server is shutting down.")
    if isinstance(error, StorageError):
        logger.warning("%s: storage failed: %s", subject, error)
        return Failure("storage", "The server cannot store or read at the moment.")
    return Failure("unavailable", "The server cannot do that at the moment.")


async def ask(
    bus: CommandBus, session_id: str, command: Command, author: Author, *, limit_s: float
) -> Reply | None:
    """Submit a command and return its first reply; None if none arrives in time.

    Raises:
        ActorError, StorageError: as in `CommandBus.submit`.
    """
    answered = trio.Event()
    replies: list[Reply] = []

    def on_reply(reply: Reply) -> None:
        replies.append(reply)
        answered.set()

    with trio.move_on_after(limit_s):
        await bus.submit(session_id, Envelope(command, author, on_reply))
        await answered.wait()
    return replies[0] if replies else None


async def find_or_create(
    deps: Deps,
    config: TransportConfig,
    device: Device,
    session_id: str,
    *,
    agent: str | None,
    label: str,
    settings: Callable[[], Awaitable[Settings]],
) -> bool:
    """Make sure that a session exists; create it with `agent` if not. Return whether it was created.

    Args:
        agent: None if the session must exist.
        label: the device's name in the session.
        settings: called only for a new session, after all checks.

    Raises:
        SessionRefused: it does not exist, and this device may not create it so.
        StorageError: as in the catalog.
    """
    if await deps.catalog.get(session_id) is not None:
        return False
    if agent is None:
        raise SessionRefused("unknown_session", "There is no such session.")
    if agent not in config.agents:
        raise SessionRefused("unknown_agent", "There is no such agent in the config.")
    if not authorize(device.scope, CREATE_SESSION):
        raise SessionRefused("forbidden", "This key may not create sessions.")
    if await deps.catalog.count() >= config.max_sessions:
        most = config.max_sessions
        raise SessionRefused("forbidden", f"There are {most} sessions already. Delete some first.")
    chosen = await settings()
    new = NewSession(session_id, agent, label, encode_settings(chosen), deps.clock(), chosen.workspace)
    try:
        await deps.catalog.create(new)
    except SessionExists:
        return False  # two devices created it at the same time: both use the one that exists
    return True


async def attachments_of(
    uploads: Uploads, session_id: str, urls: Sequence[str]
) -> tuple[Attachment, ...] | None:
    """Return the files that a message names, and record that its session has them; None if one is not an upload.

    Name, type and size come from the upload; other fields from the device are ignored.

    Raises:
        StorageUnavailable: it could not be read or recorded.
    """
    if not urls:
        return ()
    found: list[Attachment] = []
    for url in urls:
        file = await uploads.find(url)
        if file is None:
            return None
        found.append(file)
    return tuple(found) if await uploads.use(session_id, found) else None
