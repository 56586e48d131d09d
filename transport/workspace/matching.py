"""Finds paths by some of their letters, the best match first. Pure.

The paths are ordered by length, with ignored ones last, so among equally good matches the first ones are the best. The
search runs in rounds, from the strictest rule to the mildest, and ends after a round that has found enough. So a
hundred thousand paths take some ten milliseconds, whatever the query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import attrs

__all__ = ["MAX_QUERY_CHARS", "Candidate", "Names", "best"]

MAX_QUERY_CHARS: Final = 200

MAX_SCORED: Final = 5_000
"""Paths with scattered letters that are ranked; beyond that the shortest ones."""

ENOUGH: Final = 5
"""If this many paths contain the words as they are, scattered letters are not searched."""


@attrs.frozen
class Candidate:
    """A path below the workspace."""

    path: str
    ignored: bool = False


@attrs.define(eq=False)
class Names:
    """Paths prepared for the search: `folded` in lower case, `names` the part after the last slash, `letters` some
    common letters in it, as bits."""

    candidates: list[Candidate]
    folded: list[str]
    names: list[str]
    letters: list[int]

    @classmethod
    def of(cls, candidates: Iterable[Candidate]) -> Names:
        """Sort paths and prepare them."""
        ordered = sorted(candidates, key=lambda one: (one.ignored, len(one.path), one.path))
        folded = [one.path.casefold() for one in ordered]
        names = [path[path.rfind("/") + 1 :] for path in folded]
        return cls(ordered, folded, names, [_bits(path) for path in folded])


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
    word = words[0]
    rounds: list[Callable[[], Iterable[int]]] = []
    if len(words) == 1:
        rounds.append(
            lambda: (at for at, name in enumerate(names.names) if word in name and _is_it(name, word))
        )
        rounds.append(lambda: (at for at, name in enumerate(names.names) if name.startswith(word)))
    rounds.append(lambda: _containing(names.names, words))
    rounds.append(lambda: _containing(names.folded, words))
    return rounds


def _is_it(name: str, word: str) -> bool:
    return name == word or name[: name.rfind(".")] == word


def _containing(texts: Sequence[str], words: Sequence[str]) -> Iterable[int]:
    first, rest = words[0], words[1:]
    return (at for at, text in enumerate(texts) if first in text and all(word in text for word in rest))


def _scattered(names: Names, words: Sequence[str]) -> Iterable[int]:
    """Return the paths with scattered letters, the closest together first."""
    needed = _bits("".join(words))
    scored: list[tuple[bool, int, int]] = []
    for at in [at for at, bits in enumerate(names.letters) if bits & needed == needed]:
        path = names.folded[at]
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
