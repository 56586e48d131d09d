"""How often an address may try to come in. No I/O of its own.

A key made here is far too long to be guessed; one that a person chose may not be. So wrong keys cost an address
its tries, and one without any left is told to wait, be its next key right or wrong: else the answer would tell
which it was. An address that a good key came from is let in with a good key at any time: whoever shares it with
a guesser is not shut out.
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
"""Wrong keys of an address at once: clients that kept an old key ask for many things, and many may share an
address."""

REFILL_S: Final = 6.0
"""After so long an address has one more try: ten a minute."""

MAX_ADDRESSES: Final = 4096
"""Addresses whose tries are remembered; the one that tried longest ago is forgotten beyond that."""

_IPV6_SITE: Final = 64  # bits: what one subscriber has for himself


@attrs.define(eq=False)
class Attempts:
    """Counts tries by address; those of one IPv6 site are one."""

    _by_address: OrderedDict[str, deque[float]] = attrs.field(factory=OrderedDict)

    def allow(self, address: str, now: float) -> bool:
        """Count a try at `now` (seconds, monotonic); False where there were too many in the last minute."""
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
    """Tries that were left at a moment."""

    tries: float
    at: float


@attrs.define(eq=False)
class SignInThrottle:
    """Counts wrong keys and codes by address; those of one IPv6 site are one. Times in seconds, monotonic."""

    _left: OrderedDict[str, _Left] = attrs.field(factory=OrderedDict)
    _known: OrderedDict[str, None] = attrs.field(factory=OrderedDict)

    def remember(self, addresses: Iterable[str]) -> None:
        """Note that good keys came from these addresses, as `good` does."""
        for address in addresses:
            self._note(site_of(address))

    def good(self, address: str, now: float) -> bool:
        """Take note of a good key; False where it is not to be let in yet."""
        site = site_of(address)
        if site not in self._known and self._tries(site, now).tries < 1:
            return False
        self._note(site)
        return True

    def wrong(self, address: str, now: float) -> bool:
        """Count a wrong key; False where there were too many."""
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
    """Return what an address counts as: itself, or the network that one IPv6 subscriber has for himself."""
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
