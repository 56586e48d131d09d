"""Limits of connections: how many there are, by kind and by site; how fast one may send frames; whose turn it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import attrs
import trio

from transport.access.attempts import site_of

__all__ = [
    "BURST",
    "FRAMES_PER_S",
    "SMALL_READ_BYTES",
    "STRANGER_BURST",
    "STRANGER_FRAMES_PER_S",
    "ConnectionLimit",
    "FrameRate",
    "GuestPlace",
    "Places",
    "Turnstile",
    "pause_after",
]

FRAMES_PER_S: Final = 2_000.0
"""The sustained rate. A person sends a few, a client that catches up some dozens, a script that waits for answers
hundreds, one that does not wait a thousand. A frame costs 30 us at least, so this rate takes 6 % of a processor."""

BURST: Final = 10_000
"""The burst after a quiet time: a connection may attach to so many sessions, and does so after a restart."""

STRANGER_FRAMES_PER_S: Final = 1.0
STRANGER_BURST: Final = 8
"""The burst before the sign-in, which needs only one frame."""

SMALL_READ_BYTES: Final = 512
"""A read of fewer bytes costs the server more than its sender: a peer that sends many small pieces is read more
slowly."""

FREE_READS: Final = 4
"""Small reads of a request's head that cost nothing."""

SMALL_READ_PAUSE_S: Final = 0.1
"""Pause after a small read. Data that arrives meanwhile becomes one read: the kernel buffers it."""


@attrs.define(eq=False)
class ConnectionLimit:
    """A count with a bound.

    Attributes:
        bound: the most that may be inside.
        used: how many are inside.
        refused: how many were turned away since the start.
    """

    bound: int
    used: int = 0
    refused: int = 0

    def enter(self) -> bool:
        """Take a slot if one is free; return whether it did. After True the caller must `leave` once."""
        if self.used >= self.bound:
            self.refused += 1
            return False
        self.used += 1
        return True

    def leave(self) -> None:
        """Free the slot."""
        self.used -= 1


def _nothing() -> None:
    return


@attrs.define(eq=False)
class GuestPlace:
    """The place of one connection that has not signed in.

    Attributes:
        site: the network that it comes from.
        number: rises with each place that is taken.
        make_room: ends the connection because another one takes its place; forgotten with the place. Must not block.
        held: whether the connection still has the place.
    """

    _places: Places
    site: str
    number: int
    make_room: Callable[[], None] = _nothing
    held: bool = True

    def leave(self) -> None:
        """Give the place back. Idempotent."""
        self._places.remove(self)
        self.make_room = _nothing

    def move(self, address: str) -> None:
        """Count the place for the site of another address: a proxy named the client."""
        if self.held:
            self._places.remove(self)
            self.site, self.held = site_of(address), True
            self._places.add(self)


@attrs.define(eq=False)
class Places:
    """Bounded places, shared fairly between sites. A site is an IPv4 address or the /64 network of an IPv6 address.

    Attributes:
        bound: how many places there are.
        refused: how many connections got none, or lost theirs, since the start.
    """

    bound: int
    refused: int = 0
    _by_site: dict[str, dict[GuestPlace, None]] = attrs.field(factory=dict)
    _used: int = 0
    _count: int = 0

    @property
    def used(self) -> int:
        """How many places are taken."""
        return self._used

    def enter(self, address: str, make_room: Callable[[], None] = _nothing) -> GuestPlace:
        """Take a place; if none is free, take that of the oldest connection of the site with most places."""
        if self._used >= self.bound:
            self._free_one(site_of(address))
        return self._take(address, make_room)

    def enter_if_free(self, address: str, *, per_site: int) -> GuestPlace | None:
        """Take a place. Return None if none is free, or if the address has its share: no other connection loses its
        place."""
        if self._used >= self.bound or len(self._by_site.get(site_of(address), ())) >= per_site:
            self.refused += 1
            return None
        return self._take(address, _nothing)

    def _take(self, address: str, make_room: Callable[[], None]) -> GuestPlace:
        self._count += 1
        place = GuestPlace(self, site_of(address), self._count, make_room)
        self.add(place)
        return place

    def _free_one(self, newcomer: str) -> None:
        """End the oldest connection of the site with most places; that may be the newcomer's own site."""

        def fullness(site: str) -> tuple[int, int]:
            places = self._by_site[site]
            return len(places) + (site == newcomer), -next(iter(places)).number

        oldest = next(iter(self._by_site[max(self._by_site, key=fullness)]))
        make_room = oldest.make_room
        oldest.leave()
        self.refused += 1
        make_room()

    def add(self, place: GuestPlace) -> None:
        """Implements `Place.move`."""
        self._by_site.setdefault(place.site, {})[place] = None
        self._used += 1

    def remove(self, place: GuestPlace) -> None:
        """Implements `Place.leave`."""
        if not place.held:
            return
        place.held = False
        self._used -= 1
        places = self._by_site[place.site]
        del places[place]
        if not places:
            del self._by_site[place.site]


@attrs.define(eq=False)
class FrameRate:
    """Returns how long the next frame must wait. No frame is lost and no connection cut: TCP makes the sender wait.

    Attributes:
        per_s: frames, or units of as much work, a second, sustained.
        burst: the same at once, after a quiet time.
        at: the time until which the frames so far use up the rate, in seconds, monotonic.
    """

    per_s: float = attrs.field(factory=lambda: FRAMES_PER_S)
    burst: float = attrs.field(factory=lambda: BURST)
    at: float = -math.inf

    def take(self, now: float, work: int = 1) -> float:
        """Count frames; return the seconds that the last one must wait, mostly 0."""
        self.at = max(self.at, now - self.burst / self.per_s) + work / self.per_s
        return max(0.0, self.at - now)

    def owed(self, now: float) -> float:
        """Return how much of the burst is used up, in units of work."""
        return max(0.0, (self.at - now) * self.per_s + self.burst)


@attrs.define(eq=False)
class Turnstile:
    """Makes strangers and busy clients take turns, so that they share the event loop fairly with all others.

    It lets one task through at a time, in order of arrival, and runs all other tasks before the next one. So
    hundreds of strangers at the same time delay a device by one of their steps, not by all of them.
    """

    _lock: trio.Lock = attrs.field(factory=trio.Lock)

    async def go_through(self) -> None:
        """Wait for this task's turn. Always a checkpoint."""
        async with self._lock:  # it passes on at the next turn of the event loop
            return


async def pause_after(data: bytes | bytearray, small_reads: int) -> int:
    """Pause if a read was small and several were; return how many small reads there were now."""
    if len(data) >= SMALL_READ_BYTES:
        return small_reads
    if small_reads >= FREE_READS:
        await trio.sleep(SMALL_READ_PAUSE_S)
    return small_reads + 1
