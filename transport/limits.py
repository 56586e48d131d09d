"""Limits the number of connections, by kind and by site."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from transport.tries import site_of

__all__ = ["ConnectionLimit", "Place", "Places"]


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
class Place:
    """The place of one connection that has not signed in.

    Attributes:
        site: the network that it comes from.
        number: rises with each place that is taken.
        make_room: ends the connection because another one takes its place. Must not block.
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
    _by_site: dict[str, dict[Place, None]] = attrs.field(factory=dict)
    _used: int = 0
    _count: int = 0

    @property
    def used(self) -> int:
        """How many places are taken."""
        return self._used

    def enter(self, address: str, make_room: Callable[[], None] = _nothing) -> Place:
        """Take a place; if none is free, take that of the oldest connection of the site with most places."""
        if self._used >= self.bound:
            self._free_one(site_of(address))
        return self._take(address, make_room)

    def enter_if_free(self, address: str, *, per_site: int) -> Place | None:
        """Take a place. Return None if none is free, or if the address has its share: no other connection loses its
        place."""
        if self._used >= self.bound or len(self._by_site.get(site_of(address), ())) >= per_site:
            self.refused += 1
            return None
        return self._take(address, _nothing)

    def _take(self, address: str, make_room: Callable[[], None]) -> Place:
        self._count += 1
        place = Place(self, site_of(address), self._count, make_room)
        self.add(place)
        return place

    def _free_one(self, newcomer: str) -> None:
        """End the oldest connection of the site with most places; that may be the newcomer's own site."""

        def fullness(site: str) -> tuple[int, int]:
            places = self._by_site[site]
            return len(places) + (site == newcomer), -next(iter(places)).number

        oldest = next(iter(self._by_site[max(self._by_site, key=fullness)]))
        self.remove(oldest)
        self.refused += 1
        oldest.make_room()

    def add(self, place: Place) -> None:
        """Implements `Place.move`."""
        self._by_site.setdefault(place.site, {})[place] = None
        self._used += 1

    def remove(self, place: Place) -> None:
        """Implements `Place.leave`."""
        if not place.held:
            return
        place.held = False
        self._used -= 1
        places = self._by_site[place.site]
        del places[place]
        if not places:
            del self._by_site[place.site]
