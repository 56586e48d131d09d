"""What `builderos import` prints: its progress, and a summary at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence

import attrs

from builderos.client.terminal import one_line
from builderos.legacy.writer import Imported

__all__ = ["Progress", "report"]

PROGRESS_S = 2.0
"""How often a long import prints its progress."""

ID_WIDTH = 60
"""Characters of a session's id in a line: the app's ids have 79; these are enough to tell them apart."""


@attrs.define(eq=False)
class Progress:
    """Writes a progress line now and then. `total`: the number of sessions."""

    total: int
    _messages: int = 0
    _told_at: float = attrs.field(factory=time.monotonic)

    def tell(self, done: int, messages: int) -> None:
        """Count a finished session with its messages."""
        self._messages += messages
        now = time.monotonic()
        if now - self._told_at >= PROGRESS_S and done < self.total:
            self._told_at = now
            sys.stdout.write(f"{done} of {self.total} sessions, {self._messages} messages\n")
            sys.stdout.flush()


def report(imported: Sequence[Imported], left_out: int, bad: Sequence[str] = (), *, dry_run: bool) -> None:
    """Write a line for each session that changed, one for each that was skipped, and the sums."""
    sys.stdout.write("".join(f"skipped: {one_line(reason, 500)}\n" for reason in bad))
    sys.stdout.write("".join(f"{line}\n" for line in _lines(imported, left_out, dry_run=dry_run)))
    sys.stdout.flush()


def _lines(imported: Sequence[Imported], left_out: int, *, dry_run: bool) -> Iterator[str]:
    for session in imported:
        if session.is_new or session.added:
            yield f"{one_line(session.session_id, ID_WIDTH)}  {_what(session)}"
    new = sum(session.is_new for session in imported)
    added, known = sum(session.added for session in imported), sum(session.known for session in imported)
    errors = sum(session.errors for session in imported)
    verb = "Would import" if dry_run else "Imported"
    yield f"{verb} {_count(added, 'message')} and {_count(new, 'new session')} of {len(imported)}."
    if known:
        yield f"{_count(known, 'message')} were already imported."
    if errors:
        yield f"{_count(errors, 'answer')} of the old server were failures or empty; their status is error."
    if left_out:
        yield f"{_count(left_out, 'entry', 'entries')} left out: not a message of a person or an agent."
    if dry_run:
        yield "Nothing was changed."


def _what(session: Imported) -> str:
    text = f"+{_count(session.added, 'message')}"
    if session.is_new:
        text += ", new"
    if session.known:
        text += f", {session.known} known"
    if session.errors:
        text += f", {_count(session.errors, 'error')}"
    if session.is_rewritten:
        text += ", sorted by time (devices reload the session)"
    return text


def _count(number: int, word: str, many: str | None = None) -> str:
    return f"{number} {word if number == 1 else many or word + 's'}"
