"""The audit's rows and what ties them together. Pure.

Each row's hash is made from the row and the hash before it, so that no row can be changed, left out or put in
without every later hash being wrong. It is no signature: whoever may write the database may also count all hashes
anew. Against that helps only a hash that was noted where he cannot write: an export that was taken away.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

import attrs

__all__ = ["START", "Act", "AuditRow", "Mark", "check_chain", "hash_of_row"]


@attrs.frozen(kw_only=True)
class Act:
    """Something that was done, or tried. No secret and no content of anybody is in it, but ids.

    Attributes:
        at_ms: when, milliseconds since 1970 in UTC.
        act: a word for what.
        device_id: whose key; None where nobody's was.
        address: where from, as far as that is known.
        session_id: in which session.
        subject: what it was done to: a device's id.
        count: how often, since an earlier row of the same.
    """

    at_ms: int
    act: str
    device_id: str | None = None
    address: str | None = None
    session_id: str | None = None
    subject: str | None = None
    count: int = 1


@attrs.frozen
class Mark:
    """A place in the chain: the hash that the row of this number has."""

    number: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.number}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> Mark | None:
        """Return the mark that `str` made a text of; None for any other text."""
        number, _, digest = text.strip().partition(":")
        try:
            found = bytes.fromhex(digest)
        except ValueError:
            return None
        if not (number.isascii() and number.isdigit() and len(number) < 19) or len(found) != len(START.hash):
            return None
        return cls(int(number), found)


START: Final = Mark(0, bytes(32))
"""Before the first row."""


@attrs.frozen
class AuditRow:
    """A row of the table. Numbers rise by one."""

    number: int
    act: Act
    hash: bytes


def hash_of_row(previous: bytes, number: int, act: Act) -> bytes:
    """Return a row's hash: SHA-256 over the hash before it and the row as JSON, fields in the order of `Act`."""
    fields = [number, *attrs.astuple(act)]
    text = json.dumps(fields, ensure_ascii=True, separators=(",", ":"))
    return sha256(previous + text.encode("ascii")).digest()


def check_chain(rows: Iterable[AuditRow], before: Mark, head: Mark | None) -> list[str]:
    """Return what is wrong with a chain, a line each; nothing where it is whole.

    Args:
        rows: all of them, in the order of their numbers.
        before: what comes before the first.
        head: the end that was noted elsewhere; None where nothing was.
    """
    faults: list[str] = []
    last, head_seen = before, head is None or head == before
    for row in rows:
        if row.number != last.number + 1:
            faults.append(f"rows {last.number + 1} to {row.number - 1} are missing")
        elif row.hash != hash_of_row(last.hash, row.number, row.act):
            faults.append(f"row {row.number} was changed, or one before it")
        if head is not None and row.number == head.number:
            head_seen = row.hash == head.hash
            if not head_seen:
                faults.append(f"row {row.number} is not the one that was noted")
                head_seen = True
        last = Mark(row.number, row.hash)
    if not head_seen and head is not None:
        faults.append(f"it ends at row {last.number}, and row {head.number} was noted as written")
    return faults
