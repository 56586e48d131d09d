"""The frames of the iOS app (PROTOCOL section 4). Pure.

The invariant: any text from the app gives a frame, or None for one that is silently ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import orjson

from actors.events.committed import Committed
from actors.events.conversation import Usage
from transport.v3.decode import MAX_ATTACHMENTS, is_id
from transport.v3.events import encode_event, timestamp

__all__ = [
    "AUTHENTICATED",
    "DEFAULT_DEVICE",
    "INVALID_KEY",
    "AppFrame",
    "ChatFrame",
    "ConfigFrame",
    "complete",
    "decode_app",
    "error",
    "message",
    "peer",
    "ready",
]

AUTHENTICATED: Final = b"authenticated"
INVALID_KEY: Final = b"error:invalid_api_key"

DEFAULT_DEVICE: Final = "unknown-device"

_FEATURES: Final = {"session_persistence": True, "bridgehub_integration": True, "agent_coordination": True}

_TOKENS: Final = ("input_tokens", "output_tokens", "cached_input_tokens")


@attrs.frozen
class ConfigFrame:
    """The app sends its working directory, which is ignored, and expects a `ready`."""


@attrs.frozen
class ChatFrame:
    """A text that a person typed.

    Attributes:
        session_id, device_id: None if the frame has none.
        urls: of the attached files.
        fault: what is wrong with the frame, for the person; None if nothing is.
    """

    content: str
    session_id: str | None
    device_id: str | None
    urls: tuple[str, ...] = ()
    fault: str | None = None


AppFrame = ChatFrame | ConfigFrame


def decode_app(message: str | bytes) -> AppFrame | None:
    """Return the app's frame; None for one that is ignored: not text, not an object, or empty."""
    if isinstance(message, bytes):
        return None
    try:
        body = orjson.loads(message)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return None
    if type(body) is not dict:
        return None
    content = body.get("content")
    if type(content) is str and content.strip():
        return _chat(content, body)
    return ConfigFrame() if "working_directory" in body else None


def _chat(content: str, body: Mapping[str, Any]) -> ChatFrame:
    session_id, device_id = body.get("session_id") or None, body.get("device_id") or None
    for name, value in (("session_id", session_id), ("device_id", device_id)):
        if value is not None and (type(value) is not str or not is_id(value)):
            return ChatFrame(content, None, None, fault=f"The {name} is not valid.")
    refs = body.get("attachments") or []
    if type(refs) is not list or len(refs) > MAX_ATTACHMENTS:
        return ChatFrame(content, session_id, device_id, fault="There are too many attachments.")
    urls = tuple(ref["url"] for ref in refs if type(ref) is dict and type(ref.get("url")) is str)
    if len(urls) < len(refs):
        return ChatFrame(content, session_id, device_id, fault="An attachment has no address.")
    return ChatFrame(content, session_id, device_id, urls)


def ready(now_ms: int) -> bytes:
    """Return the frame after which the app sends messages. The app drops it if it names its own config's field."""
    return _frame("ready", "Connected.", now_ms, {"features": _FEATURES})


def message(content: str, now_ms: int) -> bytes:
    """Return a piece of the answer."""
    return _frame("message", content, now_ms, {})


def complete(message_count: int, usage: Usage | None, now_ms: int) -> bytes:
    """Return the end of an exchange."""
    fields: dict[str, Any] = {"message_count": message_count}
    tokens = {name: getattr(usage, name) for name in _TOKENS if getattr(usage, name, None) is not None}
    if tokens:
        fields["usage"] = tokens
    return _frame("complete", "Response complete", now_ms, fields)


def error(content: str, now_ms: int, code: str | None = None) -> bytes:
    """Return the end of a failed exchange."""
    return _frame("error", content, now_ms, {} if code is None else {"code": code})


def peer(kind: str, session_id: str, epoch: int, item: Committed) -> bytes:
    """Return an event of another connection's turn: the fields of version 3 under a name of its own."""
    body = orjson.loads(encode_event(session_id, epoch, item))
    return orjson.dumps({**body, "type": kind})


def _frame(kind: str, content: str, now_ms: int, fields: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"type": kind, "content": content, "timestamp": timestamp(now_ms), **fields})
