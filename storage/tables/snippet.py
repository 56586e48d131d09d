"""Cuts the part of a found text that a person sees. Its cost grows only with the text's length.

SQLite's own `snippet()` compares every place of a word with every other one: a text with one word 16,000 times takes
seconds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

__all__ = ["SNIPPET", "WORD", "Snippets"]

SNIPPET: Final = 240
"""Characters of a snippet, without its ellipses."""

BEFORE: Final = 60
"""Characters of a snippet before the word that was found."""

PAGE_CHARS: Final = 4 * 1024 * 1024
"""Characters that the snippets of one page search for their word. Beyond that a snippet is the text's beginning."""

_CHUNK: Final = 8_192
"""Characters that are folded and searched at once. Meanwhile no other thread runs Python."""

_LONGEST_WORD: Final = 64
"""Characters of a word that are compared; chunks overlap by as many."""

WORD: Final = re.compile(r"[^\W_]+")
"""Approximately a word as FTS5 sees it: letters and digits."""


class _Folds(dict[int, str]):
    """For `str.translate`: maps each character to one without case and accent."""

    def __missing__(self, code: int) -> str:
        folded = unicodedata.normalize("NFD", chr(code))[:1].casefold()
        made = self[code] = folded if len(folded) == 1 else chr(code)
        return made


_FOLDS: Final = _Folds()


class Snippets:
    """Makes the snippets of one page.

    Args:
        words: the words of the query; the last one may be a prefix.
    """

    def __init__(self, words: Sequence[str]) -> None:
        tokens = [(token, False) for word in words for token in WORD.findall(word)]
        if tokens:
            tokens[-1] = (tokens[-1][0], True)
        # The longest word is probably the rarest, so its first place is the most useful one.
        word, is_prefix = max(tokens, key=lambda token: len(token[0]), default=("", True))
        begun = re.escape(word.translate(_FOLDS)[:_LONGEST_WORD])
        whole = not is_prefix and len(word) <= _LONGEST_WORD
        self._pattern = (
            re.compile(rf"(?<![^\W_]){begun}" + (r"(?![^\W_])" if whole else "")) if word else None
        )
        self._left = PAGE_CHARS

    def of(self, text: str) -> str:
        """Return the surroundings of the word in `text`, with an ellipsis at each end that was cut."""
        start = _after_space(text, max(self._place(text) - BEFORE, 0))
        end = start + SNIPPET
        if end < len(text):
            # Cut between words, unless there is one very long word.
            end = max(text.rfind(" ", start + SNIPPET // 2, end), 0) or end
        return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")

    def _place(self, text: str) -> int:
        if self._pattern is None:
            return 0
        for start in range(0, len(text), _CHUNK):
            if self._left <= 0:
                return 0
            self._left -= _CHUNK
            # One more character on the left, so that the middle of a word is not taken for its beginning.
            left = max(start - 1, 0)
            chunk = text[left : start + _CHUNK + _LONGEST_WORD + 1].translate(_FOLDS)
            found = self._pattern.search(chunk, start - left)
            if found is not None:
                return left + found.start()
        return 0


def _after_space(text: str, start: int) -> int:
    """Return the start of the next word, if that is near; else `start`."""
    if start == 0:
        return 0
    space = text.find(" ", start, start + BEFORE // 2)
    return start if space < 0 else space + 1
