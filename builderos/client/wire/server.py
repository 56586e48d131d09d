"""Where a server is and with which key; how a connection to it can fail, and how long to wait before the next one.

Loads little: a command that finds no server ends at once.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import attrs

from builderos.client.state import RefusedError
from builderos.exit_status import fail
from storage.holder import read_holder

__all__ = [
    "KEY_FILE",
    "PERMANENT_CLOSES",
    "Backoff",
    "Find",
    "LinkLostError",
    "NoServerError",
    "Server",
    "Where",
    "find_server",
    "with_server",
]

if TYPE_CHECKING:
    import random
    import ssl

KEY_FILE = "api-key"
"""In the data folder: the first device's key."""

PERMANENT_CLOSES = {4401: "the key is not valid", 4403: "this key does not allow that"}
"""Close codes after which reconnecting does not help."""

FIRST_S = 0.1
LAST_S = 5.0
"""The waits between two attempts to connect grow from the first to the last."""


class NoServerError(Exception):
    """The command finds no server or no key; the text says what to do."""


class LinkLostError(Exception):
    """The connection is lost or cannot be made; a later one may succeed."""


@attrs.define(eq=False)
class Backoff:
    """Waits that double from 0.1 s to 5 s. Each is shortened by up to half at random, so that devices do not reconnect
    together.
    """

    chance: random.Random
    _next_s: float = FIRST_S

    def next_s(self) -> float:
        """Return how long to wait now, in seconds."""
        wait = self._next_s
        self._next_s = min(LAST_S, wait * 2)
        return wait * (1 - self.chance.random() / 2)

    def reset(self) -> None:
        """Reset after a success: the next wait is short again."""
        self._next_s = FIRST_S


@attrs.frozen
class Server:
    """A server's address, `http` or `https`, and the key for it.

    Attributes:
        is_own: it is the server of the data folder, which recorded this address.
    """

    url: str
    key: str = attrs.field(repr=False)
    is_own: bool = False

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return how to check the server; None without TLS.

        Our own server over loopback is not checked: its certificate is for the name that other machines use, and
        without TLS nothing would be checked there either.
        """
        parts = urlsplit(self.url)
        if parts.scheme != "https":
            return None
        import ssl  # takes time to load

        context = ssl.create_default_context()
        if self.is_own and _is_loopback(parts.hostname or ""):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


Where = tuple[Path, str | None, str | None]
"""A data folder, and the `--url` and `--key` that override what it says."""

Find = Callable[[], Server]
"""Returns the server's current address; raises NoServerError."""


def find_server(data: Path, url: str | None, key: str | None) -> Server:
    """Find a server by its data folder; `url` and `key` override the folder's values.

    Raises:
        NoServerError: the folder names no server or no key, or `url` is not an address.
    """
    is_own = url is None
    if url is None:
        holder = read_holder(data)
        if holder is None or not holder.address or not holder.is_running():
            raise NoServerError(f"no server runs on {data}; start one with: builderos serve")
        url = holder.address
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise NoServerError(f"{url} is not an address like http://127.0.0.1:8080")
    base = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
    return Server(base, _read_key(data) if key is None else key, is_own)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_key(data: Path) -> str:
    try:
        key = (data / KEY_FILE).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NoServerError(f"{data} has no readable key; give one with --key") from error
    if not key:
        raise NoServerError(f"{data} has no key; give one with --key")
    return key


def with_server(where: Where, work: Callable[[Find], int]) -> int:
    """Do the work of a command; return its exit status, or that of the failure that was printed."""
    data, url, key = where
    if key is None and url is not None:
        # Unlike an option, other users of the machine cannot see it.
        key = os.environ.get("BUILDEROS_API_KEY")
    try:
        return work(lambda: find_server(data, url, key))
    except NoServerError as error:
        return fail(str(error))
    except LinkLostError as error:
        return fail(f"the server cannot be reached: {error}")
    except RefusedError as error:
        return fail(f"the server refuses: {error}")
