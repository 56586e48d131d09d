"""Plans which messages of the old server's sessions become which messages here. Pure.

A message of the old server has no id. Its id here is made from session, role, time and text. So the same message gets
the same id from every file, in every import and with any time zone. Messages that are equal in all of these are
numbered.

An answer belongs to the nearest earlier message that has none yet: if two turns ran at once, the old server wrote
question, question, second answer, first answer.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from hashlib import sha256

import attrs

from actors.events.conversation import Attachment
from storage.aliases import Aliases
from storage.legacy_database import OldMessage, OldSession

__all__ = ["ID_PREFIX", "OldEntry", "SessionPlan", "plan_session"]

ID_PREFIX = "import-"
"""The prefix of every id that is made here: of a user message, and of an answer's turn."""

ERROR_PREFIX = "Error:"
"""The beginning of the old server's failures, which it stored as answers."""

ID_LENGTH = 128
_NOT_ID = re.compile(r"[^A-Za-z0-9._-]")
_HASH_LENGTH = 32


@attrs.frozen
class OldEntry:
    """One message of the old server, at its place here.

    Attributes:
        message_id: the message's id; for an answer the id of its turn.
        at_ms: milliseconds since 1970 in UTC.
        answers: for an answer the id of the user message that it belongs to; None if there is none.
    """

    message_id: str
    is_answer: bool
    at_ms: int
    content: str
    attachments: tuple[Attachment, ...] = ()
    answers: str | None = None

    @property
    def is_error(self) -> bool:
        """Whether this answer is a failure: the old server stored failures as answers, empty or as a line."""
        return self.is_answer and (not self.content or self.content.startswith(ERROR_PREFIX))


@attrs.frozen
class SessionPlan:
    """The planned content of one session: the union of all files, by time.

    Attributes:
        session_id: as the protocol allows it; `old_id` is the original.
        left_out: entries that are not a person's or an agent's message.
    """

    session_id: str
    old_id: str
    agent_type: str
    device_id: str
    created_at_ms: int
    said: tuple[OldEntry, ...]
    left_out: int

    def aliased(self, aliases: Aliases) -> SessionPlan:
        """Return the plan with the iOS app's own ids replaced."""
        device_id = aliases.device(self.device_id)
        return attrs.evolve(self, session_id=aliases.session(self.session_id), device_id=device_id)


def plan_session(
    copies: Sequence[OldSession], zone: tzinfo | None, latest_ms: int | None = None
) -> SessionPlan:
    """Return the plan for one session.

    Args:
        copies: the session as each file has it, one or more.
        zone: of naive times; None is this machine's own.
        latest_ms: a message with a later time stands right behind the one before it. None: every time counts.
    """
    created = [(_moment(copy.created_at, zone) or 0, number) for number, copy in enumerate(copies)]
    known = [time for time in created if time[0]]
    first_ms, first = min(known or created)
    oldest = copies[first]
    entries = _union([_said(copy, zone, latest_ms) for copy in copies])
    starts = [ms for ms in (first_ms, entries[0].at_ms if entries else 0) if ms]
    return SessionPlan(
        session_id=_as_id(oldest.session_id, "session"),
        old_id=oldest.session_id,
        agent_type=_as_id(oldest.agent_type, "claude"),
        device_id=_as_id(oldest.device_id, "unknown-device"),
        created_at_ms=min(starts, default=0),
        said=entries,
        left_out=sum(copy.left_out for copy in copies),
    )


def _union(lists: Sequence[Sequence[OldEntry]]) -> tuple[OldEntry, ...]:
    """Merge by time, each list in its own order, each message once; an answer keeps its most reliable question."""
    merged: dict[str, OldEntry] = {}
    places: dict[str | None, int] = {}
    for entry in heapq.merge(*lists, key=lambda entry: entry.at_ms):
        known = merged.setdefault(entry.message_id, entry)
        place = places.setdefault(entry.message_id, len(places))
        if known.answers is None and places.get(entry.answers, place) < place:
            merged[entry.message_id] = attrs.evolve(known, answers=entry.answers)
    return tuple(merged.values())


def _said(copy: OldSession, zone: tzinfo | None, latest_ms: int | None) -> list[OldEntry]:
    """Return one file's messages with ids, rising times and, for answers, their questions."""
    counted: Counter[tuple[str, str, str]] = Counter()
    begun_ms = _moment(copy.created_at, zone) or 0
    at_ms = begun_ms if latest_ms is None or begun_ms <= latest_ms else 0
    waiting: list[str] = []
    last: str | None = None
    found = []
    for message in copy.messages:
        key = (message.role, message.timestamp, message.content)
        message_id = _message_id(copy.session_id, key, counted[key])
        counted[key] += 1
        told_ms = _not_before(at_ms, message.timestamp, zone)
        at_ms = told_ms if latest_ms is None or told_ms <= latest_ms else at_ms
        if message.role == "user":
            waiting.append(message_id)
            last = message_id
            found.append(OldEntry(message_id, False, at_ms, message.content, _attachments(message)))
        else:
            answered = waiting.pop() if waiting else last
            found.append(OldEntry(message_id, True, at_ms, message.content, answers=answered))
    return found


def _message_id(session_id: str, key: Iterable[str], number: int) -> str:
    text = "\0".join((session_id, *key, str(number)))
    return ID_PREFIX + sha256(text.encode()).hexdigest()[:_HASH_LENGTH]


def _attachments(message: OldMessage) -> tuple[Attachment, ...]:
    return tuple(Attachment(**attrs.asdict(attachment)) for attachment in message.attachments)


def _not_before(earliest_ms: int, timestamp: str, zone: tzinfo | None) -> int:
    """Return a message's time. If an hour occurs twice, the order decides whether it is the later one."""
    at_ms = _moment(timestamp, zone)
    if at_ms is not None and at_ms < earliest_ms:
        at_ms = _moment(timestamp, zone, fold=1)
    return earliest_ms if at_ms is None else max(at_ms, earliest_ms)


def _moment(text: str, zone: tzinfo | None, fold: int = 0) -> int | None:
    """Return milliseconds since 1970; None if the text is not a time since then."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone, fold=fold)
        return max(0, int(moment.timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        return None


def _as_id(text: str, default: str) -> str:
    """Return an id unchanged if the protocol allows it, else always the same allowed form of it."""
    if not text:
        return default
    if len(text) <= ID_LENGTH and not _NOT_ID.search(text):
        return text
    short = _NOT_ID.sub("-", text)[: ID_LENGTH - 13]
    return f"{short}-{sha256(text.encode()).hexdigest()[:12]}"
