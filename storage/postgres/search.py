"""Full-text search in PostgreSQL."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

from storage.tables.search import Hit, hits_of
from storage.tables.snippet import WORD
from storage.transaction import Transaction

__all__ = ["find_words"]

LONGEST_WORD: Final = 500
"""Characters of a word that count: a word of the index takes at most 2 KiB."""

_FIND: Final = """
SELECT session_id, seq, search.kind, search.text, at_ms, rowid
FROM search JOIN journal USING (session_id, seq)
WHERE words @@ $1::text::tsquery AND rowid < $2 ORDER BY rowid DESC LIMIT $3
"""


def find_words(words: Sequence[str], limit: int, before: int, connection: Transaction) -> list[Hit]:
    """Return the newest entries that have all words, as `storage.tables.search.FindWords`.

    Signs only separate words: `a-b` finds what has both, in any order.
    """
    tokens = [token[:LONGEST_WORD] for word in words for token in WORD.findall(_folded(word))]
    if not tokens:
        return []
    query = " & ".join(f"'{token}'" for token in tokens) + ":*"
    return hits_of(connection.execute(_FIND, (query, before, limit)), words)


def _folded(word: str) -> str:
    """Return a word without case and accents, as `bos_words` does."""
    plain = unicodedata.normalize("NFD", word).lower()
    return "".join(sign for sign in plain if not "\u0300" <= sign <= "\u036f")
