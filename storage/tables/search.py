"""Full-text search over the search texts of the journal's entries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import attrs
import trio

from storage.errors import SearchBusy
from storage.tables.snippet import WORD, Snippets
from storage.transaction import TableReaders, Transaction

__all__ = ["SEARCHES", "SEARCH_S", "FindWords", "Hit", "Search", "hits_of"]

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
MAX_COMMIT_NO = 2**63 - 1


@attrs.frozen
class Hit:
    """An entry whose text has all the words. `commit_no` is its place among the hits, descending."""

    session_id: str
    seq: int
    kind: str
    snippet: str
    at_ms: int
    commit_no: int


FindWords = Callable[[Sequence[str], int, int, Transaction], list[Hit]]
"""Returns the newest entries that have all words: at most so many, with a commit number below the last argument. The
last word may be a prefix."""


@attrs.define(eq=False)
class Search:
    """Finds entries by their words. `find_words`: how this database does."""

    _readers: TableReaders
    _find_words: FindWords = attrs.field(default=lambda *asked: _find(*asked), kw_only=True)

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
        asked = (_words(query), limit, MAX_COMMIT_NO if before is None else before)
        with trio.move_on_after(SEARCH_S):
            return await self._readers.run(partial(self._find_words, *asked))
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


def _find(words: Sequence[str], limit: int, before: int, connection: Transaction) -> list[Hit]:
    quoted = ['"' + word.replace('"', '""') + '"' for word in words]
    # A query without words matches nothing, as an empty phrase does.
    bound = (" ".join(quoted) + "*" if quoted else '""', before, limit)
    return hits_of(connection.execute(_FIND, bound), words)


def hits_of(found: Iterable[tuple[str, int, str, str, int, int]], words: Sequence[str]) -> list[Hit]:
    """Return the hits of rows: session, seq, kind, text, time, commit number."""
    snippets = Snippets(words)
    return [
        Hit(session_id, seq, kind, snippets.of(text), at_ms, commit_no)
        for session_id, seq, kind, text, at_ms, commit_no in found
    ]
