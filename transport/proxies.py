"""Who a request comes from, where a proxy stands between. Pure.

A header says anything; so `X-Forwarded-For`, `-Proto` and `-Host` count only if the connection comes from a proxy
that the config names. If it names none, a program on this machine may still say `-Proto` and `-Host`: they only
decide the address of an upload that is returned to that same program. `-For` decides whose share of the limits a
connection takes, and what the audit says, so it always needs the config.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

import attrs
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["LOOPBACK", "Forwarded", "Headers", "Proxies", "is_loopback"]

LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
"""This machine."""

MAX_HOPS: Final = 8
"""Entries of `X-Forwarded-For` that are looked at, from the last one on: more named proxies in a row has nobody."""

Headers = Iterable[tuple[bytes, bytes]]
"""Of a request; names in lower case."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@attrs.frozen
class Proxies:
    """The proxies that are believed, as networks."""

    networks: tuple[_Network, ...]

    @classmethod
    def named(cls, names: Sequence[str]) -> Proxies:
        """Return the proxies of a config: addresses, or networks like `10.0.0.0/8`. Raises ValueError."""
        return cls(tuple(ipaddress.ip_network(name) for name in names))

    def believes(self, peer: str) -> bool:
        """Tell whether a connection from `peer` is one of a named proxy."""
        address = _parse(peer)
        return address is not None and self._holds(address)

    def believes_host(self, peer: str) -> bool:
        """Return whether the scheme and the host that `peer` forwards are those of the request."""
        return self.believes(peer) or (not self.networks and is_loopback(peer))

    def client(self, peer: str, headers: Headers) -> str:
        """Return the address that a request comes from.

        That is the peer's own; behind named proxies the last address in `X-Forwarded-For` that is none of
        theirs: each proxy adds whom it heard from, and what stands before that is hearsay.
        """
        if not self.believes(peer):
            return peer
        lines = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
        found = peer
        for entry in ",".join(lines).split(",")[: -MAX_HOPS - 1 : -1]:
            address = _parse(entry.strip())
            if address is None:
                return found
            found = str(address)
            if not self._holds(address):
                return found
        return found

    def _holds(self, address: _Address) -> bool:
        return any(address in network for network in self.networks)


def is_loopback(peer: str) -> bool:
    """Return whether an address is one of this machine itself."""
    address = _parse(peer)
    return address is not None and address.is_loopback


def _parse(text: str) -> _Address | None:
    """Return the address in `text`, which may have a port or a zone; an IPv4 one in IPv6's dress as itself."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


@attrs.frozen
class Forwarded:
    """Puts the client's address in place of the proxy's, and takes away what nobody named says of either.

    Behind it `scope["client"]` and the `X-Forwarded-*` headers are as true as the named proxies are.
    """

    app: ASGIApp
    proxies: Proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            peer = str((scope.get("client") or ("",))[0])
            headers = scope["headers"]
            scope = {**scope, "client": (self.proxies.client(peer, headers), 0)}
            if not self.proxies.believes_host(peer):
                kept = [pair for pair in headers if not pair[0].startswith(b"x-forwarded-")]
                scope["headers"] = kept
        await self.app(scope, receive, send)
