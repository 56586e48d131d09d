"""Spoils bytes: what every fuzz test of files, frames and requests does to something sound. By a seed, so repeatable."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

__all__ = ["INTERESTING", "spoiled", "spoiled_many"]

INTERESTING = (
    b"\0",
    b"\n",
    b"\r\n\r\n",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"-1",
    b"9223372036854775808",
    b"1e999",
    b"null",
    b"{}",
    b"[[[[",
    b'"',
    b"../../",
    b"%00",
    b"%2e%2e%2f",
    b"A" * 300,
    b"\x7f",
    b";",
    b":",
    b" ",
)
"""What parsers stumble over."""


def spoiled(data: bytes, random: Random) -> bytes:
    """Return `data` with one to four things wrong with it."""
    found = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at, end = sorted(random.choices(range(len(found) + 1), k=2))
        end = min(end, at + random.choice((1, 2, 8, 64)))
        what = random.randrange(7)
        if what == 0 and found:
            found[min(at, len(found) - 1)] ^= 1 << random.randrange(8)
        elif what == 1:
            del found[at:end]
        elif what == 2:
            found[at:at] = random.choice(INTERESTING)
        elif what == 3:
            found[at:end] = random.choice(INTERESTING)
        elif what == 4:
            found[at:at] = found[at:end] * random.choice((1, 2, 20))
        elif what == 5:
            found[at:end] = random.randbytes(end - at)
        else:
            del found[random.randint(0, len(found)) :]
    return bytes(found)


def spoiled_many(samples: list[bytes], count: int, seed: int) -> Iterator[tuple[int, bytes]]:
    """Return so many, each with its number, of samples in turn."""
    random = Random(seed)
    for number in range(count):
        yield number, spoiled(samples[number % len(samples)], random)
