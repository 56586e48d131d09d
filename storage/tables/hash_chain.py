"""The audit's rows and the hashes that chain them. Pure.

Each row's hash covers the row and the hash before it. So a row that is changed, left out or inserted makes every later
hash wrong. The hash is not a signature: anyone who can write the database can also recompute all hashes. Only a hash
that was recorded elsewhere detects that, such as an export kept on another machine.
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
    """An act that was done, or tried. It contains ids, but no secret and no content.

    Attributes:
        at_ms: the time, milliseconds since 1970 in UTC.
        act: a word for the act.
        device_id: the device whose key did it; None if it was nobody's.
        address: the client's address, if known.
        session_id: the session that it concerns.
        subject: the object of the act: a device's id.
        count: how often, since an earlier row of the same act.
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
    """A place in the chain: the row of this number has this hash."""

    number: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.number}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> Mark | None:
        """Return the mark from its text form, as `str` makes it; None for any other text."""
        number, _, digest = text.strip().partition(":")
        try:
            found = bytes.fromhex(digest)
        except ValueError:
            return None
        if not (number.isascii() and number.isdigit() and len(number) < 19) or len(found) != len(START.hash):
            return None
        return cls(int(number), found)


START: Final = Mark(0, bytes(32))
"""The mark before the first row."""


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
    """Return the faults of a chain, a line each; empty if it is whole.

    Args:
        rows: all of them, in the order of their numbers.
        before: the mark before the first row.
        head: the end that was recorded elsewhere; None if nothing was.
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
                faults.append(f"row {row.number} is not the one that was recorded")
                head_seen = True
        last = Mark(row.number, row.hash)
    if not head_seen and head is not None:
        faults.append(f"it ends at row {last.number}, but row {head.number} was recorded as written")
    return faults
