"""Addresses of files: what opens them without a key, and where this server is as its client sees it. Pure."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qs, urlsplit

import attrs

__all__ = ["BLOBS_PATH", "UPLOADS_PATH", "UrlSigner", "base_url", "blob_url"]

UPLOADS_PATH: Final = "/uploads/"
BLOBS_PATH: Final = "/uploads/blobs/"

MAX_URL: Final = 2048
"""Characters of an address that is looked at."""

_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
_SCHEMES: Final = frozenset({"http", "https"})


def blob_url(session_id: str, sha256: str) -> str:
    """Return the address of a tool's long input or output, relative to the server. It takes a key."""
    return f"{BLOBS_PATH}{session_id}/{sha256}"


def base_url(scheme: str, headers: Mapping[str, str]) -> str:
    """Return where the client found this server: as its proxy says, or as the request itself does.

    Args:
        scheme: how the request came in.
        headers: the request's, by lower-case name.
    """
    forwarded = headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    scheme = forwarded if forwarded in _SCHEMES else scheme
    for name in ("x-forwarded-host", "host"):
        host = headers.get(name, "").partition(",")[0].strip()
        if _HOST.fullmatch(host):
            return f"{scheme}://{host}"
    return f"{scheme}://localhost"


@attrs.frozen
class UrlSigner:
    """Signs addresses of files: whoever has one may open that file, and no other.

    A signature does not end; it goes with its file. Another key ends all of them.
    """

    key: bytes = attrs.field(repr=False)

    def sign(self, path: str) -> str:
        """Return the path with its signature."""
        return f"{path}?sig={self._signature(path)}"

    def opens(self, path: str, query: str) -> bool:
        """Tell whether the query holds the path's signature; in constant time."""
        if len(query) > MAX_URL:
            return False
        try:
            found = parse_qs(query, max_num_fields=8).get("sig", [""])[0]
        except ValueError:
            return False
        return hmac.compare_digest(found.encode("utf-8", "surrogatepass"), self._signature(path).encode())

    def upload_of(self, url: str) -> str | None:
        """Return the name of the upload that an address given out by this server stands for; else None.

        That is the signed address, on whatever host the device found the server, or the bare path.
        """
        if len(url) > MAX_URL:
            return None
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        name = parts.path.removeprefix(UPLOADS_PATH)
        if name == parts.path or "/" in name:
            return None
        is_bare_path = not (parts.scheme or parts.netloc or parts.query or parts.fragment)
        is_ours = parts.scheme in ("", *_SCHEMES) and self.opens(parts.path, parts.query)
        return name if is_bare_path or is_ours else None

    def _signature(self, path: str) -> str:
        return hmac.digest(self.key, path.encode("utf-8", "surrogatepass"), sha256).hex()
