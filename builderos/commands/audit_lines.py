"""The lines of `builderos audit`: rows of the audit and acts of journals in one form. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import orjson

from actors.codec import decode_row
from actors.events import Delivery, Interrupted, PermissionResolved, UserMessage
from builderos.client.terminal import one_line
from storage.tables.activity import ActRow
from storage.tables.hash_chain import AuditRow, Mark
from transport.v3.events import timestamp

__all__ = ["KINDS", "Line", "json_line", "line_of_act", "line_of_row", "text_line"]

KINDS: Final = frozenset({UserMessage.kind, Delivery.kind, PermissionResolved.kind, Interrupted.kind})
"""Of journal events, those that may be a person's act."""


@attrs.frozen(kw_only=True)
class Line:
    """One act. Fields as in the export (docs/security.md, "The audit"); what has no value is left out there.

    Attributes:
        position: what of a journal or of the chain says where it stands.
    """

    at_ms: int
    act: str
    key_id: str | None
    address: str | None
    session_id: str | None
    subject: str | None
    count: int = 1
    device: str | None = None
    position: Mapping[str, Any]


def line_of_row(row: AuditRow, before: Mark) -> Line:
    """Return an audit row's line. `before`: the row before it."""
    act = row.act
    return Line(
        at_ms=act.at_ms,
        act=act.act,
        key_id=act.device_id,
        address=act.address,
        session_id=act.session_id,
        subject=act.subject,
        count=act.count,
        position={"number": row.number, "before": before.hash.hex(), "hash": row.hash.hex()},
    )


def line_of_act(found: ActRow, address: str | None) -> Line | None:
    """Return the line of a journal's row; None where nobody did that. `address`: of the key's last sign-in."""
    row = found.row
    event = decode_row(row).event
    if row.device_id is None:
        return None
    match event:
        case UserMessage():
            act, subject = "sent", event.message_id
        case Delivery(state="cancelled"):
            act, subject = "cancelled", event.message_id
        case PermissionResolved():
            act, subject = f"decided {event.decision}", event.request_id
        case Interrupted():
            act, subject = "interrupted", row.turn_id or ""
        case _:
            return None
    return Line(
        at_ms=row.at_ms,
        act=act,
        key_id=found.key_id,
        address=address,
        session_id=row.session_id,
        subject=subject or None,
        device=row.device_id,
        position={"seq": row.seq},
    )


def json_line(line: Line, names: Mapping[str, str]) -> bytes:
    """Return a line as JSON, with its end."""
    fields = {
        "at": timestamp(line.at_ms),
        "at_ms": line.at_ms,
        "act": line.act,
        "device": line.device,
        "key_id": line.key_id,
        "name": names.get(line.key_id or ""),
        "address": line.address,
        "session_id": line.session_id,
        "subject": line.subject,
        "count": line.count,
        **line.position,
    }
    return orjson.dumps({name: value for name, value in fields.items() if value is not None}) + b"\n"


def text_line(line: Line, names: Mapping[str, str]) -> str:
    """Return a line for people, with its end."""
    who = names.get(line.key_id or "") or line.key_id or "nobody known"
    if line.device is not None and line.device != line.key_id:
        who += f" as {line.device}"
    parts = [timestamp(line.at_ms), line.act, who]
    if line.address is not None:
        parts.append(f"from {line.address}")
    if line.session_id is not None:
        parts.append(f"in {line.session_id}")
    if line.subject is not None:
        parts.append(f"({names.get(line.subject, line.subject)})")
    if line.count > 1:
        parts.append(f"{line.count} times")
    return "  ".join(one_line(part) for part in parts) + "\n"
