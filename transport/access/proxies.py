"""Finds the client's address behind a proxy. Pure.

A client can put anything into a header. So `X-Forwarded-For`, `-Proto` and `-Host` count only if the connection comes
from a proxy that the config names. If it names none, `-Proto` and `-Host` still count from a program on this machine:
they only decide the address of an upload that is returned to that same program. `-For` decides whose share of the
limits a connection takes, and what the audit records, so it always needs the config.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["LOOPBACK", "Forwarded", "Headers", "Proxies", "is_loopback"]

LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
"""Networks of this machine."""

MAX_HOPS: Final = 8
"""Entries of `X-Forwarded-For` to check, from the last one on; chains of trusted proxies are shorter than this."""

Headers = Iterable[tuple[bytes, bytes]]
"""A request's headers; names in lower case."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@attrs.frozen
class Proxies:
    """The trusted proxies, as networks."""

    networks: tuple[_Network, ...]

    @classmethod
    def named(cls, names: Sequence[str]) -> Proxies:
        """Return the proxies of a config: addresses, or networks like `10.0.0.0/8`. Raises ValueError."""
        return cls(tuple(ipaddress.ip_network(name) for name in names))

    def believes(self, peer: str) -> bool:
        """Return whether a connection from `peer` comes from a trusted proxy."""
        address = _parse(peer)
        return address is not None and self._holds(address)

    def believes_host(self, peer: str) -> bool:
        """Return whether the scheme and the host that `peer` forwards are those of the request."""
        return self.believes(peer) or (not self.networks and is_loopback(peer))

    def client(self, peer: str, headers: Headers) -> str:
        """Return the client's address of a request.

        That is the peer's own address. Behind trusted proxies it is the last address in `X-Forwarded-For` that is not
        one of theirs: each proxy appends the address that it received from, and earlier entries cannot be trusted.
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
    """Return the address in `text`, which may have a port or a zone; an IPv4 address mapped into IPv6 becomes plain
    IPv4."""
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
    """Replaces the proxy's address by the client's, and drops forwarded headers from untrusted peers.

    Inside it, `scope["client"]` and the `X-Forwarded-*` headers are as true as the trusted proxies are.
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
