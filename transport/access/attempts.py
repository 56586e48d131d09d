"""Limits sign-in attempts by address. No I/O of its own.

A generated key is far too long to guess; a key that a person chose may not be. So each wrong key costs its address an
attempt. An address without attempts left must wait, whether its next key is right or wrong: else the answer would
reveal which it was. An address that a valid key came from may always sign in with a valid key, so it is not locked out
by a guesser that shares it.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Final

import attrs

__all__ = ["REFILL_S", "SIGN_IN_TRIES", "Attempts", "SignInThrottle", "site_of"]

TRIES: Final = 10
WINDOW_S: Final = 60.0

SIGN_IN_TRIES: Final = 1_000
"""Wrong keys from an address at once: clients with an old key send many requests, and many clients may share an
address."""

REFILL_S: Final = 6.0
"""Seconds after which an address gets one more attempt: ten a minute."""

MAX_ADDRESSES: Final = 4096
"""Addresses whose attempts are remembered; beyond that the one with the oldest attempt is dropped."""

_IPV6_SITE: Final = 64  # bits: the network of one subscriber


@attrs.define(eq=False)
class Attempts:
    """Counts attempts by address; the addresses of one IPv6 site count as one."""

    _by_address: OrderedDict[str, deque[float]] = attrs.field(factory=OrderedDict)

    def allow(self, address: str, now: float) -> bool:
        """Count an attempt at `now` (seconds, monotonic); False if there were too many in the last minute."""
        site = site_of(address)
        times = self._by_address.setdefault(site, deque(maxlen=TRIES))
        self._by_address.move_to_end(site)
        while len(self._by_address) > MAX_ADDRESSES:
            self._by_address.popitem(last=False)
        if len(times) == TRIES and now - times[0] < WINDOW_S:
            return False
        times.append(now)
        return True


@attrs.define
class _Left:
    """The attempts that were left at a moment."""

    tries: float
    at: float


@attrs.define(eq=False)
class SignInThrottle:
    """Counts wrong keys and codes by address; the addresses of one IPv6 site count as one. Times in seconds,
    monotonic."""

    _left: OrderedDict[str, _Left] = attrs.field(factory=OrderedDict)
    _known: OrderedDict[str, None] = attrs.field(factory=OrderedDict)

    def remember(self, addresses: Iterable[str]) -> None:
        """Record that valid keys came from these addresses, as `good` does."""
        for address in addresses:
            self._note(site_of(address))

    def good(self, address: str, now: float) -> bool:
        """Record a valid key; False if it must be refused for now."""
        site = site_of(address)
        if site not in self._known and self._tries(site, now).tries < 1:
            return False
        self._note(site)
        return True

    def wrong(self, address: str, now: float) -> bool:
        """Count a wrong key; False if there were too many."""
        left = self._tries(site_of(address), now)
        if left.tries < 1:
            return False
        left.tries -= 1
        return True

    def _note(self, site: str) -> None:
        self._known[site] = None
        self._known.move_to_end(site)
        while len(self._known) > MAX_ADDRESSES:
            self._known.popitem(last=False)

    def _tries(self, site: str, now: float) -> _Left:
        left = self._left.setdefault(site, _Left(SIGN_IN_TRIES, now))
        self._left.move_to_end(site)
        while len(self._left) > MAX_ADDRESSES:
            self._left.popitem(last=False)
        left.tries = min(SIGN_IN_TRIES, left.tries + (now - left.at) / REFILL_S)
        left.at = now
        return left


def site_of(address: str) -> str:
    """Return the unit that an address is counted by: itself, or the /64 network of one IPv6 subscriber."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        if mapped is not None:
            return str(mapped)
        return str(ipaddress.ip_network((parsed, _IPV6_SITE), strict=False))
    return str(parsed)
