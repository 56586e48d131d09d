"""What `builderos import` tells a person: how far it is, and at the end what came in."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence

import attrs

from builderos.client.terminal import one_line
from builderos.legacy.writer import Imported

__all__ = ["Progress", "report"]

PROGRESS_S = 2.0
"""How often a long import tells how far it is."""

ID_WIDTH = 60
"""Characters of a session's id in a line: the app's have 79, of which these tell enough."""


@attrs.define(eq=False)
class Progress:
    """Writes a line now and then. `total`: how many sessions there are."""

    total: int
    _messages: int = 0
    _told_at: float = attrs.field(factory=time.monotonic)

    def tell(self, done: int, messages: int) -> None:
        """Note a session that is done, with so many messages."""
        self._messages += messages
        now = time.monotonic()
        if now - self._told_at >= PROGRESS_S and done < self.total:
            self._told_at = now
            sys.stdout.write(f"{done} of {self.total} sessions, {self._messages} messages\n")
            sys.stdout.flush()


def report(imported: Sequence[Imported], left_out: int, *, dry_run: bool) -> None:
    """Write a line for each session that changed, and the sums."""
    sys.stdout.write("".join(f"{line}\n" for line in _lines(imported, left_out, dry_run=dry_run)))
    sys.stdout.flush()


def _lines(imported: Sequence[Imported], left_out: int, *, dry_run: bool) -> Iterator[str]:
    for one in imported:
        if one.is_new or one.added:
            yield f"{one_line(one.session_id, ID_WIDTH)}  {_what(one)}"
    new = sum(one.is_new for one in imported)
    added, known = sum(one.added for one in imported), sum(one.known for one in imported)
    errors = sum(one.errors for one in imported)
    verb = "Would import" if dry_run else "Imported"
    yield f"{verb} {_count(added, 'message')} and {_count(new, 'new session')} of {len(imported)}."
    if known:
        yield f"{_count(known, 'message')} were there already."
    if errors:
        yield f"{_count(errors, 'answer')} of the old server were failures or empty; they have status error."
    if left_out:
        yield f"{_count(left_out, 'entry', 'entries')} left out: no message of a person or an agent."
    if dry_run:
        yield "Nothing was changed."


def _what(one: Imported) -> str:
    what = f"+{_count(one.added, 'message')}"
    if one.is_new:
        what += ", new"
    if one.known:
        what += f", {one.known} known"
    if one.errors:
        what += f", {_count(one.errors, 'error')}"
    if one.is_rewritten:
        what += ", put in the order of time (devices load it afresh)"
    return what


def _count(number: int, word: str, many: str | None = None) -> str:
    return f"{number} {word if number == 1 else many or word + 's'}"
