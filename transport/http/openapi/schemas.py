"""The schemas of the OpenAPI description: the fields of responses."""

from __future__ import annotations

from typing import Any, Final

from transport.ports import SCOPES

__all__ = [
    "BOOL",
    "COUNT",
    "ID",
    "SCHEMAS",
    "SCOPE",
    "TEXT",
    "TIME",
    "Json",
    "list_of",
    "named",
    "nullable",
    "object_of",
    "recent",
]

Json = dict[str, Any]

TEXT: Final[Json] = {"type": "string"}
COUNT: Final[Json] = {"type": "integer", "minimum": 0}
BOOL: Final[Json] = {"type": "boolean"}
TIME: Final[Json] = {"type": "string", "format": "date-time"}
SCOPE: Final[Json] = {"enum": list(SCOPES)}
ID: Final[Json] = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"}


def object_of(**fields: Json) -> Json:
    """Return an object that has all these fields."""
    return {"type": "object", "required": list(fields), "properties": fields}


def list_of(item: Json) -> Json:
    """Return a list of such items."""
    return {"type": "array", "items": item}


def named(name: str) -> Json:
    """Return a reference to one of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def recent() -> Json:
    """Return the newest durations of a figure, or null."""
    number: Json = {"type": "number", "minimum": 0}
    return {**object_of(count=COUNT, p50_ms=number, p95_ms=number), "type": ["object", "null"]}


def nullable(kind: str) -> Json:
    """Return a JSON type, or null."""
    return {"type": [kind, "null"]}


WHERE: Final[Json] = {
    "type": ["object", "null"],
    "required": ["program", "pid", "status", "since"],
    "properties": {
        "program": TEXT,
        "pid": nullable("integer"),
        "status": {"enum": ["idle", "busy", "waiting"]},
        "since": nullable("string"),
    },
}

SCHEMAS: Final[Json] = {
    "DeskSession": object_of(
        agent=TEXT,
        native_id=TEXT,
        title=TEXT,
        workspace=TEXT,
        first_message=TEXT,
        last_activity=TIME,
        message_count=COUNT,
        where=WHERE,
        session_id=nullable("string"),
    ),
    "Error": object_of(error=object_of(code=TEXT, message=TEXT)),
    "Session": object_of(
        session_id=ID,
        agent_type=TEXT,
        device_id=nullable("string"),
        title=TEXT,
        state={"enum": ["idle", "running", "waiting", "failed"]},
        message_count=COUNT,
        head_seq=COUNT,
        epoch=COUNT,
        created_at=TIME,
        last_activity=TIME,
        pinned=BOOL,
        archived=BOOL,
        pending=COUNT,
        background=COUNT,
        where=nullable("object"),
        machine=nullable("object"),
        workspace=TEXT,
        settings={"type": "object"},
        plan=nullable("object"),
        held=nullable("object"),
    ),
    "Attachment": object_of(id=TEXT, filename=TEXT, mime_type=TEXT, size=COUNT, type=TEXT, url=TEXT),
    "Message": object_of(
        seq=COUNT,
        turn_id=nullable("string"),
        role={"enum": ["user", "assistant"]},
        content=TEXT,
        timestamp=TIME,
        device_id=nullable("string"),
        attachments=list_of(named("Attachment")),
        status=TEXT,
    ),
    "Event": object_of(type=TEXT, content=TEXT, timestamp=TIME, session_id=ID, epoch=COUNT, seq=COUNT),
    "Task": object_of(
        task_id=TEXT,
        parent_task_id=nullable("string"),
        turn_id=nullable("string"),
        agent_type=TEXT,
        title=TEXT,
        state={"enum": ["running", "succeeded", "failed", "cancelled"]},
        result=nullable("string"),
        started_at=TIME,
        finished_at={"type": ["string", "null"], "format": "date-time"},
    ),
    "Hit": object_of(
        session_id=ID,
        seq=COUNT,
        role={"enum": ["user", "assistant", "tool"]},
        snippet=TEXT,
        timestamp=TIME,
    ),
    "Device": object_of(id=TEXT, name=TEXT, scope=SCOPE, created_at=TIME),
    "Agent": object_of(
        name=TEXT,
        kind=TEXT,
        ready=BOOL,
        problem=nullable("string"),
        fix=nullable("string"),
        mend=nullable("string"),
    ),
    "Delay": object_of(
        device_id=ID,
        key=TEXT,
        name=TEXT,
        connections=COUNT,
        reconnects=COUNT,
        behind=COUNT,
        waiting_bytes=COUNT,
        joined=COUNT,
        written=recent(),
        painted=recent(),
    ),
    "Capsule": object_of(name=TEXT, title=TEXT, purpose=TEXT),
}
