"""Finds paths by some of their letters, the best match first. Pure.

The paths are ordered by length, with ignored ones last, so among equally good matches the first ones are the best. The
search runs in rounds, from the strictest rule to the mildest, and ends after a round that has found enough. So a
hundred thousand paths take some ten milliseconds, whatever the query.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final

import attrs

__all__ = ["MAX_QUERY_CHARS", "Candidate", "Names", "best"]

MAX_QUERY_CHARS: Final = 200

SEPARATOR: Final = "\0"

MAX_SCORED: Final = 3_000
"""Paths with scattered letters that are ranked; beyond that the shortest ones."""

ENOUGH: Final = 5
"""If this many paths contain the words as they are, scattered letters are not searched."""


@attrs.frozen
class Candidate:
    """A path below the workspace."""

    path: str
    ignored: bool = False


@attrs.frozen
class PathLines:
    """Texts in one string, so that a search of all of them is one call. No path has the separator in it."""

    texts: list[str]
    joined: str
    starts: list[int]

    @classmethod
    def of(cls, texts: list[str]) -> PathLines:
        """Join texts."""
        starts = list(accumulate((len(text) + 1 for text in texts), initial=1))
        return cls(texts, SEPARATOR + SEPARATOR.join(texts) + SEPARATOR, starts)

    def containing(self, word: str) -> Iterator[int]:
        """Yield the places of the texts with `word` in them, in order."""
        at = self.joined.find(word)
        while at >= 0:
            place = bisect_right(self.starts, at) - 1
            yield place
            at = self.joined.find(word, self.starts[place + 1] - 1)

    def matching(self, pattern: re.Pattern[str]) -> Iterator[int]:
        """Yield the places of the texts that a pattern fits, which begins with a separator."""
        return (bisect_right(self.starts, found.start() + 1) - 1 for found in pattern.finditer(self.joined))


@attrs.define(eq=False)
class Names:
    """Paths prepared for the search: `folded` in lower case, `names` the part after the last slash, `letters` some
    common letters in it, as bits."""

    candidates: list[Candidate]
    folded: PathLines
    names: PathLines
    letters: list[int]

    @classmethod
    def of(cls, candidates: Iterable[Candidate]) -> Names:
        """Sort paths and prepare them."""
        ordered = sorted(candidates, key=lambda one: (one.ignored, len(one.path), one.path))
        folded = [one.path.casefold() for one in ordered]
        names = [path[path.rfind("/") + 1 :] for path in folded]
        return cls(ordered, PathLines.of(folded), PathLines.of(names), [_bits(path) for path in folded])


def _bits(text: str) -> int:
    bits = 0
    for letter in set(text):
        bits |= 1 << (ord(letter) & 63)
    return bits


def best(names: Names, query: str, most: int) -> list[Candidate]:
    """Return the `most` best candidates for `query`: they have the letters of each word in this order.

    Matches in the file's own name come before those in its path, adjacent letters before scattered ones, and ignored
    files come last.
    """
    words = query.casefold().split()
    if not words:
        return names.candidates[:most]
    if SEPARATOR in query:
        return []
    found: dict[int, None] = {}
    for fits in _rounds(names, words):
        for place in fits():
            found.setdefault(place)
            if len(found) >= most and not names.candidates[place].ignored:
                break
        if len(found) >= most:
            break
    if len(found) < ENOUGH:
        for place, _ in zip(_scattered(names, words), range(most), strict=False):
            found.setdefault(place)
    places = sorted(found, key=lambda place: names.candidates[place].ignored)[:most]
    return [names.candidates[place] for place in places]


def _rounds(names: Names, words: Sequence[str]) -> list[Callable[[], Iterable[int]]]:
    rounds: list[Callable[[], Iterable[int]]] = []
    if len(words) == 1:
        word = re.escape(words[0])
        itself = re.compile(rf"{SEPARATOR}{word}(?:\.[^.{SEPARATOR}]*)?(?={SEPARATOR})")
        rounds.append(lambda: names.names.matching(itself))
        rounds.append(lambda: names.names.matching(re.compile(f"{SEPARATOR}{word}")))
    rounds.append(lambda: _containing(names.names, words))
    rounds.append(lambda: _containing(names.folded, words))
    return rounds


def _containing(lines: PathLines, words: Sequence[str]) -> Iterable[int]:
    longest = max(words, key=len)
    return (at for at in lines.containing(longest) if all(word in lines.texts[at] for word in words))


def _scattered(names: Names, words: Sequence[str]) -> Iterable[int]:
    """Return the paths with scattered letters, the closest together first."""
    needed = _bits("".join(words))
    scored: list[tuple[bool, int, int]] = []
    for at in [at for at, bits in enumerate(names.letters) if bits & needed == needed]:
        path = names.folded.texts[at]
        spread = 0
        for word in words:
            end = start = path.find(word[0])
            for letter in word[1:]:
                end = path.find(letter, end + 1)
                if end < 0:
                    break
            if end < 0:
                break
            spread += end - start
        else:
            scored.append((names.candidates[at].ignored, spread, at))
            if len(scored) >= MAX_SCORED:
                break
    return (at for _, _, at in sorted(scored))
