"""Which addresses a notification may be sent to. A browser names its address, so it is a stranger's word.

Only the known push services are reached, or origins that the config names. A name is looked up once, each address is
checked, and the connection goes to that very address: a name that changes in between leads nowhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

import attrs

__all__ = ["MAX_ENDPOINT", "Allowed", "is_public", "origin_parts"]

MAX_ENDPOINT: Final = 2048

SERVICES: Final = (
    "fcm.googleapis.com",
    "push.services.mozilla.com",
    "push.apple.com",
    "notify.windows.com",
)
"""The push services of the browsers: these hosts, and hosts below them."""

_PORTS: Final = {"https": 443, "http": 80}

# `is_global` is true for addresses that carry another one inside, or that mean many machines.
_CARRIERS: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")
)


def is_public(text: str) -> bool:
    """Return whether an IP address is one machine of the public Internet."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(str(address.ipv4_mapped))
        if any(address in network for network in _CARRIERS):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def origin_parts(text: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of an origin or a host name; None if it is neither."""
    full = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(full)
        port = parts.port
    except ValueError:
        return None
    host = (parts.hostname or "").rstrip(".")
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if parts.scheme not in _PORTS or not host or not plain or parts.path not in ("", "/"):
        return None
    return parts.scheme, host, port or _PORTS[parts.scheme]


@attrs.frozen
class Allowed:
    """The addresses that the config adds to those of the known services, as scheme, host and port."""

    origins: Collection[tuple[str, str, int]] = ()

    def refusal(self, endpoint: str) -> str | None:
        """Return why a browser's endpoint is refused; None if it may be used."""
        if (
            len(endpoint) > MAX_ENDPOINT
            or not endpoint.isascii()
            or not endpoint.isprintable()
            or " " in endpoint
        ):
            return f"must be an address of at most {MAX_ENDPOINT} characters"
        try:
            parts = urlsplit(endpoint)
            port = parts.port
        except ValueError:
            return "is not an address"
        if "\\" in endpoint or "@" in parts.netloc or not parts.hostname:
            return "is not an address"
        origin = parts.scheme, parts.hostname.rstrip("."), port or _PORTS.get(parts.scheme, 0)
        if origin in self.origins:
            return None
        if parts.scheme != "https" or origin[2] != 443:
            return "must begin with https:// and have no port"
        if not any(origin[1] == host or origin[1].endswith(f".{host}") for host in SERVICES):
            return "does not belong to a known push service"
        return None

    def may_be_private(self, host: str, port: int) -> bool:
        """Return whether the config names this host, which may then have any address."""
        return any((one[1], one[2]) == (host, port) for one in self.origins)
