"""The HTTP interface as OpenAPI 3.1 describes it. The tests hold the server to it."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["describe"]

Json = dict[str, Any]

_TEXT: Final[Json] = {"type": "string"}
_COUNT: Final[Json] = {"type": "integer", "minimum": 0}
_BOOL: Final[Json] = {"type": "boolean"}
_TIME: Final[Json] = {"type": "string", "format": "date-time"}
_SCOPE: Final[Json] = {"enum": ["view", "approve", "drive", "admin"]}
_ID: Final[Json] = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"}


def _object(**fields: Json) -> Json:
    return {"type": "object", "required": list(fields), "properties": fields}


def _list(item: Json) -> Json:
    return {"type": "array", "items": item}


def _named(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _nullable(kind: str) -> Json:
    return {"type": [kind, "null"]}


_SCHEMAS: Final[Json] = {
    "Error": _object(error=_object(code=_TEXT, message=_TEXT)),
    "Session": _object(
        session_id=_ID,
        agent_type=_TEXT,
        device_id=_nullable("string"),
        title=_TEXT,
        state={"enum": ["idle", "running", "waiting", "failed"]},
        message_count=_COUNT,
        head_seq=_COUNT,
        epoch=_COUNT,
        created_at=_TIME,
        last_activity=_TIME,
    ),
    "Attachment": _object(id=_TEXT, filename=_TEXT, mime_type=_TEXT, size=_COUNT, type=_TEXT, url=_TEXT),
    "Message": _object(
        seq=_COUNT,
        turn_id=_nullable("string"),
        role={"enum": ["user", "assistant"]},
        content=_TEXT,
        timestamp=_TIME,
        device_id=_nullable("string"),
        attachments=_list(_named("Attachment")),
        status=_TEXT,
    ),
    "Event": _object(type=_TEXT, content=_TEXT, timestamp=_TIME, session_id=_ID, epoch=_COUNT, seq=_COUNT),
    "Task": _object(
        task_id=_TEXT,
        parent_task_id=_nullable("string"),
        turn_id=_nullable("string"),
        agent_type=_TEXT,
        title=_TEXT,
        state={"enum": ["running", "succeeded", "failed", "cancelled"]},
        result=_nullable("string"),
        started_at=_TIME,
        finished_at={"type": ["string", "null"], "format": "date-time"},
    ),
    "Hit": _object(
        session_id=_ID,
        seq=_COUNT,
        role={"enum": ["user", "assistant", "tool"]},
        snippet=_TEXT,
        timestamp=_TIME,
    ),
    "Device": _object(id=_TEXT, name=_TEXT, scope=_SCOPE, created_at=_TIME),
    "Capsule": _object(name=_TEXT, title=_TEXT, purpose=_TEXT),
}

_REASONS: Final = {
    400: "The request is wrong.",
    401: "No key, or not a good one.",
    403: "This key may not do that, or the config does not allow it.",
    404: "There is no such thing.",
    409: "Not as things are now.",
    411: "Content-Length is missing.",
    413: "The body is too large.",
    415: "The body is of another type than this call takes.",
    429: "Too many at once; or too many wrong keys from this address.",
    503: "Not at the moment.",
}


def _query(name: str, schema: Json, *, required: bool = False) -> Json:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _in_path(name: str, schema: Json = _TEXT) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": schema}


_LIMIT: Final = _query("limit", {"type": "integer", "minimum": 1, "maximum": 500})
_AFTER: Final = _query("after_seq", {"type": "integer", "minimum": 0, "maximum": 2**63 - 1})
_JSON_BODY_ERRORS: Final = (400, 411, 413, 415)


def _call(
    summary: str,
    answer: Json | None,
    *errors: int,
    parameters: tuple[Json, ...] = (),
    body: Json | None = None,
    media_type: str = "application/json",
) -> Json:
    """Return one operation. `errors`: the statuses beside 200 and those that every call may give."""
    content = {media_type: {"schema": answer} if answer is not None else {}}
    responses: Json = {"200": {"description": "Done.", "content": content}}
    for status in sorted({401, 403, 429, 503, *errors}):
        error = {"application/json": {"schema": _named("Error")}}
        responses[str(status)] = {"description": _REASONS[status], "content": error}
    call: Json = {"summary": summary, "responses": responses}
    if parameters:
        call["parameters"] = list(parameters)
    if body is not None:
        call["requestBody"] = {"required": True, "content": body}
    return call


def _json(required: tuple[str, ...], **fields: Json) -> Json:
    return {
        "application/json": {"schema": {"type": "object", "required": list(required), "properties": fields}}
    }


def _short(most: int) -> Json:
    return {"type": "string", "minLength": 1, "maxLength": most, "pattern": "^[ -~]+$"}


def _reading() -> Json:
    messages = _object(session_id=_ID, messages=_list(_named("Message")), next_after=_nullable("integer"))
    events = _object(
        session_id=_ID, epoch=_COUNT, events=_list(_named("Event")), next_after=_nullable("integer")
    )
    before = _query("before_seq", {"type": "integer", "minimum": 0, "maximum": 2**63 - 1})
    tasks = _object(tasks=_list(_named("Task")), next_before=_nullable("string"))
    older = _query("before", {"type": "integer", "minimum": 0, "maximum": 2**63 - 1})
    sessions = _object(total=_COUNT, sessions=_list(_named("Session")), next_before=_nullable("string"))
    hits = _object(hits=_list(_named("Hit")), next_before=_nullable("string"))
    return {
        "/api/sessions": {
            "get": _call(
                "Sessions, newest first", sessions, 400, parameters=(_LIMIT, _query("before", _TEXT))
            )
        },
        "/api/sessions/{id}/messages": {
            "get": _call(
                "A conversation", messages, 400, 404, parameters=(_in_path("id", _ID), _LIMIT, _AFTER, before)
            )
        },
        "/api/sessions/{id}/events": {
            "get": _call("The journal", events, 400, 404, parameters=(_in_path("id", _ID), _LIMIT, _AFTER))
        },
        "/api/sessions/{id}/tasks": {
            "get": _call("Delegated work", tasks, 400, 404, parameters=(_in_path("id", _ID), _LIMIT, older))
        },
        "/api/search": {
            "get": _call(
                "Full text over all sessions",
                hits,
                400,
                parameters=(
                    _query("q", {"type": "string", "maxLength": 1000}, required=True),
                    _LIMIT,
                    _query("before", {"type": "string", "pattern": "^[0-9]{1,18}$"}),
                ),
            )
        },
    }


def _acting() -> Json:
    closed = _object(ok=_BOOL, session_id=_TEXT, process_killed=_BOOL, message=_TEXT)
    agent = _in_path("agent", {"enum": ["claude", "codex"]})
    return {
        "/api/sessions/{id}": {
            "delete": _call(
                "Remove a session for good",
                _object(ok=_BOOL, session_id=_ID),
                404,
                409,
                parameters=(_in_path("id", _ID),),
            )
        },
        "/api/{agent}/session/{id}/close": {
            "delete": _call("Be done with a session for now", closed, 404, parameters=(agent, _in_path("id")))
        },
        "/api/notifications/register": {
            "post": _call(
                "Keep a device's token",
                _object(success=_BOOL, message=_TEXT),
                *_JSON_BODY_ERRORS,
                body=_json(
                    ("device_token", "device_id"),
                    device_token=_short(512),
                    platform=_short(32),
                    device_id=_short(128),
                ),
            )
        },
        "/api/system/sleep": {
            "post": _call("Put the machine to sleep", _object(ok=_BOOL, message=_TEXT), 429)
        },
        "/api/devices": {
            "get": _call("Who holds a key", _object(devices=_list(_named("Device")))),
            "post": _call(
                "Make a device; its key is told this once",
                _object(id=_TEXT, key=_TEXT, name=_TEXT, scope=_SCOPE),
                429,
                *_JSON_BODY_ERRORS,
                body=_json(("name", "scope"), name=_short(100), scope=_SCOPE),
            ),
        },
        "/api/devices/pair": {
            "post": _call(
                "Make a pairing code, good once and for ten minutes",
                _object(code=_TEXT, url=_TEXT, scope=_SCOPE, expires_at=_TIME),
                429,
                *_JSON_BODY_ERRORS,
                body=_json((), name=_short(100), scope=_SCOPE),
            )
        },
        "/api/pair": {
            "post": _call(
                "Become a device; the code stands where a key would",
                _object(id=_TEXT, key=_TEXT, name=_TEXT, scope=_SCOPE),
                429,
                *_JSON_BODY_ERRORS,
                body=_json((), name=_short(100)),
            )
        },
        "/api/devices/{id}": {
            "delete": _call(
                "Revoke a key", _object(ok=_BOOL, id=_TEXT), 404, 409, parameters=(_in_path("id"),)
            )
        },
    }


def _files() -> Json:
    upload = _object(ok=_BOOL, url=_TEXT, path=_TEXT, filename=_TEXT, size=_COUNT, type=_TEXT)
    word = {"type": "string", "pattern": "^[a-z0-9_-]{1,32}$"}
    binary = {"type": "string", "contentMediaType": "application/octet-stream"}
    form = {
        "multipart/form-data": {
            "schema": {"type": "object", "required": ["file"], "properties": {"file": binary, "type": word}}
        }
    }
    signature = _query("sig", _TEXT)
    blob = (_in_path("session", _ID), _in_path("digest", {"type": "string", "pattern": "^[0-9a-f]{64}$"}))
    return {
        "/api/files/upload": {"post": _call("Bring a file", upload, *_JSON_BODY_ERRORS, 409, 429, body=form)},
        "/uploads/{name}": {
            "get": _call(
                "A file; a signed address needs no key",
                None,
                404,
                parameters=(_in_path("name"), signature),
                media_type="*/*",
            )
        },
        "/uploads/blobs/{session}/{digest}": {
            "get": _call(
                "A tool's long input or output", None, 404, parameters=(*blob, signature), media_type="*/*"
            )
        },
    }


def _server() -> Json:
    health = _object(
        status=_TEXT,
        version=_TEXT,
        timestamp=_TIME,
        connections=_object(claude=_COUNT, codex=_COUNT),
        sessions=_object(total=_COUNT),
        bridgehub=_object(ready=_BOOL),
    )
    features: Json = {"type": "object", "additionalProperties": _BOOL}
    status = _object(status=_TEXT, version=_TEXT, health=_TEXT, timestamp=_TIME, features=features)
    capsules = _object(count=_COUNT, capsules=_list(_named("Capsule")))
    described: Json = {"type": "object", "required": ["openapi", "info", "paths"]}
    return {
        "/api/health": {"get": {**_call("Is the server there", health), "security": []}},
        "/api/status": {"get": _call("What the server can do", status)},
        "/api/capsules": {"get": _call("What the workspace describes", capsules)},
        "/api/openapi.json": {"get": _call("This description", described)},
        "/metrics": {"get": _call("Counters, for Prometheus", _TEXT, media_type="text/plain")},
    }


def describe(version: str) -> Json:
    """Return the description of a server of this version."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "BuilderOS Mobile", "version": version},
        "security": [{"header": []}, {"bearer": []}],
        "paths": {**_server(), **_reading(), **_acting(), **_files()},
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }
