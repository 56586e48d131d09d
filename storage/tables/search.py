"""Full-text search over what the journal's entries gave for it."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from storage.sqlite.readers import Readers

__all__ = ["SNIPPET", "Hit", "Search"]

QUERY_WORDS = 32
"""Words of a query that count; each costs a look-up."""

SNIPPET = 1000
"""Characters of a hit's surroundings: they are a number of words, and one word may be a whole message."""

# The newest first and not the best: a page then goes on where the last one ended, whatever came since.
_FIND = f"""
SELECT journal.session_id, journal.seq, journal.kind, substr(snippet(search, 3, '', '', '…', 24), 1, {SNIPPET}),
       at_ms, commit_no
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
        """Return the newest entries that have all words of `query`, the last one perhaps only begun.

        Args:
            query: plain words; no sign in it has a meaning.
            limit: at most so many.
            before: the `commit_no` of the last hit of the page before.

        Raises:
            StorageCorrupt, StorageUnavailable: the file could not be read.
        """
        words = query.replace("\0", " ").split()[:QUERY_WORDS]
        quoted = ['"' + word.replace('"', '""') + '"' for word in words]
        # No words match nothing, as an empty phrase does.
        bound = (" ".join(quoted) + "*" if quoted else '""', _MAX if before is None else before, limit)
        return [Hit(*row) for row in await self._readers.all(_FIND, bound)]
