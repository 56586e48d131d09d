"""Signed addresses of the buttons on a card whose service has no key of ours: one answer to one request, for an hour. Pure.

Who has the address may give this answer, and nothing else. The first answer wins, so an address works once at most.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final, Literal, cast
from urllib.parse import parse_qsl, urlencode

import attrs

__all__ = ["ACT_PATH", "MAX_QUERY", "VALID_MS", "ButtonAct", "button_address", "button_of"]

ACT_PATH: Final = "/api/act"
VALID_MS: Final = 3600 * 1000

MAX_QUERY: Final = 8192
"""Characters of an address's query: a request's id may be long."""

_FIELDS: Final = ("channel", "session", "request", "decision", "until")


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
    query = urlencode(list(zip(_FIELDS, values, strict=True)))
    return f"{origin}{ACT_PATH}?{query}&sig={_signature(query, secret)}"


def button_of(query: str, secret: str) -> ButtonAct | None:
    """Return what an address's query does; None if this server did not sign exactly this."""
    signed, _, found = query.rpartition("&sig=")
    if len(query) > MAX_QUERY or not hmac.compare_digest(
        found.encode("utf-8", "surrogatepass"), _signature(signed, secret).encode()
    ):
        return None
    fields = dict(parse_qsl(signed, keep_blank_values=True))
    decision = cast('Literal["allow", "deny"]', fields["decision"])
    return ButtonAct(fields["channel"], fields["session"], fields["request"], decision, int(fields["until"]))


def _signature(query: str, secret: str) -> str:
    signed = f"{ACT_PATH}?{query}".encode("utf-8", "surrogatepass")
    return hmac.digest(secret.encode(), signed, sha256).hex()
