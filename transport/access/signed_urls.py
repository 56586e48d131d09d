"""Signed addresses, which need no key: of files, and of the buttons on a card. Also the server's own address. Pure.

A button's address is for a service that has no key of ours. Who has it may give one answer to one request, for an hour,
and nothing else. The first answer wins, so it works once at most.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, Literal, cast
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import attrs

__all__ = [
    "ACT_PATH",
    "BLOBS_PATH",
    "BUTTON_MS",
    "UPLOADS_PATH",
    "ButtonAct",
    "UrlSigner",
    "base_url",
    "blob_url",
    "button_address",
    "button_of",
]

UPLOADS_PATH: Final = "/uploads/"
BLOBS_PATH: Final = "/uploads/blobs/"

MAX_URL: Final = 2048
"""Characters of an address that are checked."""

ACT_PATH: Final = "/api/act"
BUTTON_MS: Final = 3600 * 1000
"""How long a button works."""

MAX_BUTTON_QUERY: Final = 8192
"""Characters of a button's query: a request's id may be long."""

_BUTTON_FIELDS: Final = ("channel", "session", "request", "decision", "until")

_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
_SCHEMES: Final = frozenset({"http", "https"})


def blob_url(session_id: str, sha256: str) -> str:
    """Return the address of a tool's long input or output, relative to the server. It needs a key."""
    return f"{BLOBS_PATH}{session_id}/{sha256}"


def base_url(scheme: str, headers: Mapping[str, str]) -> str:
    """Return the address where the client found this server: from its proxy, or from the request itself.

    Args:
        scheme: of the request.
        headers: of the request, by lower-case name.
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
    """Signs addresses of files: a signed address opens that file, and no other.

    A signature does not expire; it is valid as long as its file exists. A new signing key ends all signatures.
    """

    key: bytes = attrs.field(repr=False)

    def sign(self, path: str) -> str:
        """Return the path with its signature."""
        return f"{path}?sig={self._signature(path)}"

    def opens(self, path: str, query: str) -> bool:
        """Return whether the query has the path's signature; in constant time."""
        if len(query) > MAX_URL:
            return False
        try:
            found = parse_qs(query, max_num_fields=8).get("sig", [""])[0]
        except ValueError:
            return False
        return hmac.compare_digest(found.encode("utf-8", "surrogatepass"), self._signature(path).encode())

    def upload_of(self, url: str) -> str | None:
        """Return the name of the upload behind an address that this server returned; else None.

        That is the signed address, on any host, or the bare path.
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


@attrs.frozen
class ButtonAct:
    """What a button does. `until_ms`: when its address ends."""

    channel_id: str
    session_id: str
    request_id: str
    decision: Literal["allow", "deny"]
    until_ms: int


def button_address(act: ButtonAct, origin: str, secret: str) -> str:
    """Return the address of a button. `origin`: where devices reach this server."""
    values = (act.channel_id, act.session_id, act.request_id, act.decision, str(act.until_ms))
    query = urlencode(list(zip(_BUTTON_FIELDS, values, strict=True)))
    return f"{origin}{ACT_PATH}?{query}&sig={_button_signature(query, secret)}"


def button_of(query: str, secret: str) -> ButtonAct | None:
    """Return what an address's query does; None if this server did not sign exactly this."""
    signed, _, found = query.rpartition("&sig=")
    if len(query) > MAX_BUTTON_QUERY or not hmac.compare_digest(
        found.encode("utf-8", "surrogatepass"), _button_signature(signed, secret).encode()
    ):
        return None
    fields = dict(parse_qsl(signed, keep_blank_values=True))
    decision = cast('Literal["allow", "deny"]', fields["decision"])
    return ButtonAct(fields["channel"], fields["session"], fields["request"], decision, int(fields["until"]))


def _button_signature(query: str, secret: str) -> str:
    signed = f"{ACT_PATH}?{query}".encode("utf-8", "surrogatepass")
    return hmac.digest(secret.encode(), signed, sha256).hex()
