"""Full-text search over the search texts of the journal's entries."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import apsw
import attrs
import trio

from storage.errors import SearchBusy
from storage.sqlite.readers import Readers
from storage.tables.snippet import WORD, Snippets

__all__ = ["SEARCHES", "Hit", "Search"]

QUERY_WORDS = 32
"""Words of a query that count; each costs a look-up."""

SEARCHES = 1
"""Concurrent searches, on a connection of their own, so that other reads do not wait for them. With two, under hostile
queries on two cores, the 99th percentile of other calls was 140 to 360 ms; with one it is 20 to 30 ms."""

SEARCHES_WAITING = 16
"""Searches that may wait; further ones are refused at once."""

SEARCH_S = 0.6
"""Seconds that a search may take, including the wait for its turn. An interrupt needs up to 0.1 s more."""

# Ordered by age, not by rank: so a page continues where the last one ended, whatever was added since.
_FIND = """
SELECT journal.session_id, journal.seq, journal.kind, search.text, at_ms, commit_no
FROM search JOIN journal ON commit_no = search.rowid
WHERE search MATCH ?1 AND search.rowid < ?2
ORDER BY search.rowid DESC LIMIT ?3
"""
_MAX = 2**63 - 1


@attrs.frozen
class Hit:
    """An entry whose text has all the words. `commit_no` is its place among the hits, descending."""

    session_id: str
    seq: int
    kind: str
    snippet: str
    at_ms: int
    commit_no: int


@attrs.define(eq=False)
class Search:
    """Finds entries by their words."""

    _readers: Readers

    async def find(self, query: str, limit: int, before: int | None = None) -> Sequence[Hit]:
        """Return the newest entries that have all words of `query`. The last word may be a prefix.

        Cancellation: at any time; a running search is interrupted.

        Args:
            query: plain words; no character has a special meaning.
            limit: the most hits to return.
            before: the `commit_no` of the last hit of the page before.

        Raises:
            SearchBusy: it took longer than `SEARCH_S`, or too many searches wait.
            StorageCorrupt, StorageUnavailable: the file could not be read.
        """
        if self._readers.waiting >= SEARCHES_WAITING:
            raise SearchBusy("too many searches wait")
        words = _words(query)
        quoted = ['"' + word.replace('"', '""') + '"' for word in words]
        # A query without words matches nothing, as an empty phrase does.
        bound = (" ".join(quoted) + "*" if quoted else '""', _MAX if before is None else before, limit)
        with trio.move_on_after(SEARCH_S):
            return await self._readers.run(partial(_find, bound, words))
        raise SearchBusy(f"a search took longer than {SEARCH_S:g} s")


def _words(query: str) -> list[str]:
    """Return the words that count. FTS5 splits a word at each sign inside it, so `a-b-c` counts as three."""
    words: list[str] = []
    left = QUERY_WORDS
    for word in query.replace("\0", " ").split():
        tokens = WORD.findall(word)
        if len(tokens) > left:
            word = " ".join(tokens[:left])
        left -= max(len(tokens), 1)
        words.append(word)
        if left <= 0:
            break
    return words


def _find(bound: tuple[int | str, ...], words: Sequence[str], connection: apsw.Connection) -> list[Hit]:
    snippets = Snippets(words)
    found = connection.execute(_FIND, bound)
    return [
        Hit(session_id, seq, kind, snippets.of(text), at_ms, commit_no)
        for session_id, seq, kind, text, at_ms, commit_no in found
    ]
