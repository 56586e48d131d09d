"""An agent's questions to the person, on a terminal: asked one by one, answered by a number or in own words. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from builderos.client.terminal import sanitise
from transport.request_text import visible

__all__ = ["AskedQuestion", "questions_of"]

MAX_QUESTIONS: Final = 20
MAX_OPTIONS: Final = 50
"""As many as a person still reads; an agent asks a handful."""

_NUMBERS: Final = re.compile(r"\d{1,2}(\s*[, ]\s*\d{1,2})*")


@attrs.frozen
class AskedQuestion:
    """One question.

    Attributes:
        key: its text as the server gave it, under which the answer goes back.
        options: label and description of each.
        takes_many: more than one option may be chosen.
    """

    key: str
    options: tuple[tuple[str, str], ...] = ()
    takes_many: bool = False

    def lines(self, place: int, total: int) -> list[str]:
        """Return the question with its options and what may be typed."""
        counted = f"({place} of {total}) " if total > 1 else ""
        lines = sanitise(f"{counted}{visible(self.key)}").split("\n")
        for number, (label, description) in enumerate(self.options, 1):
            about = f" - {description}" if description else ""
            lines.append(visible(f"  {number} {label}{about}").replace("\n", " "))
        numbers = "its number, " if self.options else ""
        numbers = "numbers with commas between, " if self.options and self.takes_many else numbers
        return [*lines, f"answer with {numbers}your own words, or n to decline"]

    def answer(self, line: str) -> str | None:
        """Return what a typed line answers; None if it names an option that there is not."""
        if not self.options or not _NUMBERS.fullmatch(line):
            return line
        chosen = [int(number) for number in re.findall(r"\d+", line)]
        if not all(0 < number <= len(self.options) for number in chosen) or (
            len(chosen) > 1 and not self.takes_many
        ):
            return None
        return ", ".join(self.options[number - 1][0] for number in dict.fromkeys(chosen))


def questions_of(item: Mapping[str, Any]) -> tuple[AskedQuestion, ...]:
    """Return the questions of a request; none if it asks for a right, or in a form that is not known."""
    asked = item.get("questions")
    if not isinstance(asked, list) or not 0 < len(asked) <= MAX_QUESTIONS:
        return ()
    found = tuple(_question(one) for one in asked)
    return tuple(one for one in found if one is not None) if None not in found else ()


def _question(asked: Any) -> AskedQuestion | None:
    if not isinstance(asked, dict) or not isinstance(asked.get("question"), str):
        return None
    options = asked.get("options")
    given = options[:MAX_OPTIONS] if isinstance(options, list) else []
    labels = tuple(
        (one["label"], one["description"] if isinstance(one.get("description"), str) else "")
        for one in given
        if isinstance(one, dict) and isinstance(one.get("label"), str)
    )
    return AskedQuestion(asked["question"], labels, asked.get("multiSelect") is True)
