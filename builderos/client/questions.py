"""The requests that wait for a decision, as a terminal asks them: one at a time. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

import attrs

__all__ = ["Answer", "Questions"]

Decision = Literal["allow", "deny", "allow_session"]

_DECISIONS: Final[dict[str, Decision]] = {"y": "allow", "n": "deny", "a": "allow_session"}
_ANSWER: Final = re.compile(r"([ynaYNA])(?: +([0-9]{1,6}))?")


@attrs.frozen
class Answer:
    """A line that decides something. `request_id` is None if it decides nothing; then `refusal` says why."""

    request_id: str | None
    decision: Decision
    refusal: str = ""


@attrs.define(eq=False)
class Questions:
    """See the module.

    Attributes:
        pending: requests that wait, oldest first: id → what it is about.
        current: the one on the screen.
    """

    pending: dict[str, str] = attrs.field(factory=dict)
    current: str | None = None
    _numbers: dict[str, int] = attrs.field(factory=dict)
    _count: int = 0
    _by_number: bool = False

    def replace(self, pending: Mapping[str, str]) -> str:
        """Take all requests that wait now; return what to write, if another one is to be asked."""
        self.pending = dict(pending)
        self._numbers = {name: number for name, number in self._numbers.items() if name in pending}
        return "" if self.current in self.pending else self._next(by_itself=self.current is not None)

    def add(self, request_id: str, about: str) -> str:
        """Take a request; return what to write."""
        self.pending[request_id] = about
        if self.current is None or self.current == request_id:
            return self._next(by_itself=False)
        return f"— {len(self.pending) - 1} more to answer after this one —"

    def remove(self, request_id: str, *, by_us: bool) -> tuple[str, str]:
        """Drop a request that was decided; return what it was about, and what to write next."""
        about = self.pending.pop(request_id, "the request")
        self._numbers.pop(request_id, None)
        return about, self._next(by_itself=not by_us) if request_id == self.current else ""

    def read(self, line: str) -> Answer | None:
        """Return what a line answers; None for any other line, and if no request waits."""
        found = _ANSWER.fullmatch(line)
        if found is None or not self.pending:
            return None
        decision, number = _DECISIONS[found[1].lower()], found[2]
        if number is not None:
            named = next((name for name, one in self._numbers.items() if one == int(number)), None)
            return Answer(named, decision, "" if named else f"no question {number} waits")
        if self._by_number:
            wanted = f"{found[1]} {self._numbers.get(self.current or '')}"
            return Answer(None, decision, f"another question has come up; answer it with {wanted}")
        return Answer(self.current, decision)

    def _next(self, *, by_itself: bool) -> str:
        """Ask the oldest. One that takes another's place by itself wants its number: a hasty `y` was not for it."""
        self.current = next(iter(self.pending), None)
        self._by_number = by_itself and self.current is not None
        if self.current is None:
            return ""
        if self.current not in self._numbers:
            self._count += 1
            self._numbers[self.current] = self._count
        number = f" {self._numbers[self.current]}" if self._by_number else ""
        return (
            f"? {self.pending[self.current]}\n? allow it? y{number}, n{number}, or a{number} for this session"
        )
