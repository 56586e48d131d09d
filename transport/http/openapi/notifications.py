"""The calls of notifications, and of answering a request as a card does, in the OpenAPI description."""

from __future__ import annotations

from typing import Final

from transport.access.signed_urls import ACT_PATH
from transport.http.openapi.calls import FLAG, JSON_BODY_ERRORS, LIMIT, call, in_path, json_body, query, short
from transport.http.openapi.schemas import BOOL, COUNT, ID, TEXT, TIME, Json, list_of, nullable, object_of

__all__ = ["notification_paths"]

_SIGNED: Final = ("channel", "session", "request", "decision", "until", "sig")
_WANTS: Final = {
    "type": "object",
    "properties": {"decision": BOOL, "finished": BOOL, "failed": BOOL},
}
_CHANNEL: Final = object_of(
    id=TEXT,
    kind={"enum": ["web", "apns", "ntfy", "command"]},
    device_id=TEXT,
    name=TEXT,
    wants=_WANTS,
    state={"enum": ["live", "asleep", "gone", "failing"]},
    problem=nullable("string"),
    created_at=TIME,
    last_shown_at=nullable("string"),
)
_DELIVERY: Final = object_of(
    channel=TEXT,
    kind=nullable("string"),
    device_id=nullable("string"),
    state=TEXT,
    reason=nullable("string"),
    content=TEXT,
    sent_at=nullable("string"),
    shown_at=nullable("string"),
    acted_at=nullable("string"),
    withdrawn_at=nullable("string"),
    status=nullable("integer"),
)
_ALERT: Final = object_of(
    alert_id=TEXT,
    session_id=ID,
    seq=COUNT,
    kind={"enum": ["decision", "finished", "failed", "unknown", "background", "late"]},
    request_id=nullable("string"),
    raised_at=TIME,
    settled_at=nullable("string"),
    how=nullable("string"),
    by_device=nullable("string"),
    deliveries=list_of(_DELIVERY),
)


def notification_paths() -> Json:
    """Return the paths."""
    own = (in_path("id"),)
    channels = object_of(
        application_server_key=nullable("string"), channels=list_of(_CHANNEL), quiet_hours=nullable("string")
    )
    tested = object_of(sent=BOOL, status=nullable("integer"), content=TEXT)
    removed = call("Remove a channel", None, 404, parameters=own)
    removed["responses"]["204"] = {"description": "Done."}
    del removed["responses"]["200"]
    why = object_of(alerts=list_of(_ALERT), next_before=nullable("string"))
    return {
        "/api/notifications/register": {
            "post": call(
                "Register where a device is notified: an app's token, or a browser's subscription",
                object_of(success=BOOL, message=TEXT, id=TEXT),
                *JSON_BODY_ERRORS,
                body=_registration(),
            )
        },
        "/api/notifications": {"get": call("The key's channels", channels, parameters=(query("all", FLAG),))},
        "/api/notifications/{id}": {
            "post": call(
                "Change what a channel is notified",
                _CHANNEL,
                404,
                *JSON_BODY_ERRORS,
                parameters=own,
                body=json_body(("wants",), wants=_WANTS),
            ),
            "delete": removed,
        },
        "/api/notifications/{id}/test": {"post": call("Send a test", tested, 404, parameters=own)},
        "/api/notifications/seen": {
            "post": call(
                "Report what became of a card on a device",
                object_of(ok=BOOL),
                *JSON_BODY_ERRORS,
                body=json_body(
                    ("alert_id", "what"),
                    alert_id=short(128),
                    what={"enum": ["shown", "clicked", "closed"]},
                    channel=short(128),
                ),
            )
        },
        "/api/notifications/why": {
            "get": call(
                "Alerts, newest first, and why each channel was notified or not",
                why,
                parameters=(query("session_id", ID), LIMIT, query("before", TEXT)),
            )
        },
        "/api/sessions/{id}/requests/{request_id}": {"post": _decision()},
        ACT_PATH: {"post": _act()},
    }


def _act() -> Json:
    described = call(
        "Answer a request by a card's signed button, without a key",
        object_of(ok=BOOL, decision=TEXT, by_device=TEXT),
        404,
        409,
        parameters=tuple(query(name, TEXT) for name in _SIGNED),
    )
    return {**described, "security": []}


def _registration() -> Json:
    return json_body(
        ("device_id",),
        device_token=short(512),
        platform=short(32),
        device_id=short(128),
        subscription={"type": "object"},
        origin=short(300),
        wants=_WANTS,
    )


def _decision() -> Json:
    return call(
        "Answer a request of an agent",
        object_of(ok=BOOL, decision=TEXT, by_device=TEXT),
        404,
        409,
        *JSON_BODY_ERRORS,
        parameters=(in_path("id"), in_path("request_id")),
        body=json_body(
            ("decision",),
            decision={"enum": ["allow", "deny", "allow_session"]},
            note=short(4096),
            device_id=ID,
            answers={},
            input={"type": "object"},
            mode=short(4096),
        ),
    )
