"""How many connections there may be, of which kind and from which site."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from transport.tries import site_of

__all__ = ["ConnectionLimit", "Place", "Places"]


@attrs.define(eq=False)
class ConnectionLimit:
    """A count with a bound.

    Attributes:
        bound: how many may be inside.
        used: how many are.
        refused: how many were turned away since the start.
    """

    bound: int
    used: int = 0
    refused: int = 0

    def enter(self) -> bool:
        """Go in, where there is room. Whoever gets True must `leave` once."""
        if self.used >= self.bound:
            self.refused += 1
            return False
        self.used += 1
        return True

    def leave(self) -> None:
        """Make room."""
        self.used -= 1


def _nothing() -> None:
    return


@attrs.define(eq=False)
class Place:
    """The place of one connection that has not signed in.

    Attributes:
        site: where it comes from.
        number: rises with each place that is taken.
        make_room: ends the connection because another one gets its place. Must not block.
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
        """Count the place for the site of another address: a proxy said who is behind it."""
        if self.held:
            self._places.remove(self)
            self.site, self.held = site_of(address), True
            self._places.add(self)


@attrs.define(eq=False)
class Places:
    """Bounded places, shared between sites: an IPv4 address or the /64 network of an IPv6 address is one.

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
        """Take a place; if none is free, that of the oldest connection of the site that has most of them."""
        if self._used >= self.bound:
            self._free_one(site_of(address))
        return self._take(address, make_room)

    def enter_if_free(self, address: str, *, per_site: int) -> Place | None:
        """Take a place; return None if none is free, or if the address has its share: nobody loses a place."""
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
        """End the oldest of the site that has most places, the newcomer's own one included."""

        def fullness(site: str) -> tuple[int, int]:
            places = self._by_site[site]
            return len(places) + (site == newcomer), -next(iter(places)).number

        oldest = next(iter(self._by_site[max(self._by_site, key=fullness)]))
        self.remove(oldest)
        self.refused += 1
        oldest.make_room()

    def add(self, place: Place) -> None:
        """See `Place.move`."""
        self._by_site.setdefault(place.site, {})[place] = None
        self._used += 1

    def remove(self, place: Place) -> None:
        """See `Place.leave`."""
        if not place.held:
            return
        place.held = False
        self._used -= 1
        places = self._by_site[place.site]
        del places[place]
        if not places:
            del self._by_site[place.site]
