"""The OpenAPI 3.1 description of the HTTP interface. Tests check the server against it."""

from __future__ import annotations

from transport.http.openapi.calls import AFTER as _AFTER
from transport.http.openapi.calls import FLAG as _FLAG
from transport.http.openapi.calls import JSON_BODY_ERRORS as _JSON_BODY_ERRORS
from transport.http.openapi.calls import LIMIT as _LIMIT
from transport.http.openapi.calls import NODE as _NODE
from transport.http.openapi.calls import PATH_ERRORS as _PATH_ERRORS
from transport.http.openapi.calls import call as _call
from transport.http.openapi.calls import in_path as _in_path
from transport.http.openapi.calls import json_body as _json
from transport.http.openapi.calls import made as _made
from transport.http.openapi.calls import query as _query
from transport.http.openapi.calls import short as _short
from transport.http.openapi.notifications import notification_paths
from transport.http.openapi.schemas import (
    BOOL,
    COUNT,
    ID,
    SCHEMAS,
    SCOPE,
    TEXT,
    TIME,
    Json,
    list_of,
    named,
    nullable,
    object_of,
    recent,
)

__all__ = ["describe"]


def _reading() -> Json:
    messages = object_of(session_id=ID, messages=list_of(named("Message")), next_after=nullable("integer"))
    events = object_of(
        session_id=ID, epoch=COUNT, events=list_of(named("Event")), next_after=nullable("integer")
    )
    before = _query("before_seq", {"type": "integer", "minimum": 0, "maximum": 2**63 - 1})
    tasks = object_of(tasks=list_of(named("Task")), next_before=nullable("string"))
    older = _query("before", {"type": "integer", "minimum": 0, "maximum": 2**63 - 1})
    sessions = object_of(total=COUNT, sessions=list_of(named("Session")), next_before=nullable("string"))
    hits = object_of(hits=list_of(named("Hit")), next_before=nullable("string"))
    return {
        "/api/sessions": {
            "get": _call(
                "Sessions, newest first",
                sessions,
                400,
                parameters=(
                    _LIMIT,
                    _query("before", TEXT),
                    _query("archived", {"enum": ["true", "false", "all"]}),
                    _query("workspace", TEXT),
                ),
            )
        },
        "/api/sessions/{id}/messages": {
            "get": _call(
                "The messages of a session",
                messages,
                400,
                404,
                parameters=(_in_path("id", ID), _LIMIT, _AFTER, before, _query("format", {"enum": ["html"]})),
            )
        },
        "/api/sessions/{id}/events": {
            "get": _call("The journal", events, 400, 404, parameters=(_in_path("id", ID), _LIMIT, _AFTER))
        },
        "/api/sessions/{id}/tasks": {
            "get": _call("Tasks", tasks, 400, 404, parameters=(_in_path("id", ID), _LIMIT, older))
        },
        "/api/sessions/{id}/export": {
            "get": _call(
                "Export a session as a file",
                None,
                400,
                404,
                parameters=(_in_path("id", ID), _query("format", {"enum": ["md", "json"]})),
                media_type="*/*",
            )
        },
        "/api/sessions/{id}/fork": {
            "post": _made(
                _call(
                    "Fork a session",
                    object_of(session_id=ID),
                    404,
                    409,
                    *_JSON_BODY_ERRORS,
                    parameters=(_in_path("id", ID),),
                    body=_json((), after_turn=nullable("string"), title=_short(500), session_id=ID),
                )
            )
        },
        "/api/sessions/{id}/move": {
            "post": _call(
                "Move a session to another machine",
                object_of(
                    ok=BOOL, session_id=ID, moved=BOOL, machine=object_of(id=TEXT, name=TEXT, state=TEXT)
                ),
                404,
                409,
                *_JSON_BODY_ERRORS,
                parameters=(_in_path("id", ID),),
                body=_json(("node",), node=_short(64), force=BOOL),
            )
        },
        "/api/search": {
            "get": _call(
                "Search all sessions",
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


def _work() -> Json:
    path = _query("path", TEXT)
    entry = object_of(name=TEXT, kind=TEXT, size=COUNT, modified=TIME, ignored=BOOL)
    folder = object_of(name=TEXT, path=TEXT, git={"type": ["object", "null"]})
    file = object_of(
        path=TEXT,
        old_path=nullable("string"),
        status=TEXT,
        added=COUNT,
        removed=COUNT,
        binary=BOOL,
        patch=nullable("string"),
        truncated=BOOL,
    )
    changes: Json = {"from": TEXT, "to": nullable("string"), "files": list_of(file), "truncated": BOOL}
    return {
        "/api/sessions/{id}/changes": {
            "get": _call(
                "What a turn changed, what lies between two checkpoints, or all since the beginning",
                object_of(**changes),
                404,
                409,
                parameters=(
                    _in_path("id", ID),
                    path,
                    *(_query(name, TEXT) for name in ("turn", "from", "to")),
                ),
            )
        },
        "/api/sessions/{id}/files": {
            "get": _call(
                "A folder of the workspace, or the names that fit a search",
                object_of(entries=list_of(entry), truncated=BOOL),
                *_PATH_ERRORS,
                409,
                parameters=(_in_path("id", ID), path, _query("q", {"type": "string", "maxLength": 200})),
            )
        },
        "/api/sessions/{id}/file": {
            "get": _call(
                "A file of the workspace: text as JSON, anything else as a download",
                None,
                *_PATH_ERRORS,
                409,
                parameters=(
                    _in_path("id", ID),
                    _query("path", TEXT, required=True),
                    _query("checkpoint", TEXT),
                ),
                media_type="*/*",
            )
        },
        "/api/desk/sessions": {
            "get": _call(
                "The person's own sessions in terminals of this computer, newest first",
                object_of(
                    sessions=list_of(named("DeskSession")), unreadable=COUNT, next_before=nullable("string")
                ),
                404,
                parameters=(
                    _query("agent", TEXT),
                    _query("workspace", TEXT),
                    _query("q", _short(200)),
                    _query("before", TEXT),
                    _NODE,
                    _LIMIT,
                ),
            )
        },
        "/api/desk/sessions/{agent}/{native_id}/open": {
            "post": _made(
                _call(
                    "Open a session of a terminal here: 201, or 200 if it was opened before",
                    object_of(session_id=ID),
                    404,
                    parameters=(_in_path("agent"), _in_path("native_id"), _NODE),
                )
            )
        },
        "/api/sessions/{id}/give-back": {
            "post": _call(
                "End a session's hub, so that a terminal may continue its conversation",
                object_of(
                    kind=TEXT,
                    native_id=TEXT,
                    workspace=TEXT,
                    program=TEXT,
                    env={"type": "object"},
                    socket=TEXT,
                ),
                404,
                409,
                parameters=(_in_path("id", ID), _query("join", _FLAG), _query("here", _FLAG)),
            )
        },
        "/api/folders": {
            "get": _call(
                "Folders for a new session",
                object_of(path=TEXT, folders=list_of(folder), recent=list_of(folder)),
                *_PATH_ERRORS,
                parameters=(path, _NODE),
            )
        },
    }


def _acting() -> Json:
    closed = object_of(ok=BOOL, session_id=TEXT, process_killed=BOOL, message=TEXT)
    agent = _in_path("agent", {"enum": ["claude", "codex"]})
    return {
        "/api/sessions/{id}": {
            "delete": _call(
                "Delete a session permanently",
                object_of(ok=BOOL, session_id=ID),
                404,
                409,
                parameters=(_in_path("id", ID), _query("force", {"enum": ["true", "false"]})),
            )
        },
        "/api/{agent}/session/{id}/close": {
            "delete": _call(
                "Close a session's hub if nobody needs it", closed, 404, parameters=(agent, _in_path("id"))
            )
        },
        "/api/desk/hook": {
            "post": _call(
                "Note in the audit that the hook for questions of terminals was installed or removed",
                object_of(ok=BOOL),
                400,
                body=_json(("installed",), installed=BOOL),
            )
        },
        "/api/system/sleep": {
            "post": _call("Put the machine to sleep", object_of(ok=BOOL, message=TEXT), 429)
        },
        "/api/devices": {
            "get": _call(
                "Devices",
                object_of(devices=list_of(named("Device")), next_after=nullable("string")),
                400,
                parameters=(_LIMIT, _query("after", TEXT)),
            ),
            "post": _call(
                "Add a device; its key is returned only once",
                object_of(id=TEXT, key=TEXT, name=TEXT, scope=SCOPE),
                429,
                *_JSON_BODY_ERRORS,
                body=_json(("name", "scope"), name=_short(100), scope=SCOPE),
            ),
        },
        "/api/devices/pair": {
            "post": _call(
                "Create a pairing code, valid once within ten minutes",
                object_of(code=TEXT, url=TEXT, qr=TEXT, scope=SCOPE, expires_at=TIME),
                429,
                *_JSON_BODY_ERRORS,
                body=_json((), name=_short(100), scope=SCOPE, url=_short(300)),
            )
        },
        "/api/pair": {
            "post": _call(
                "Exchange a pairing code, sent in place of a key, for a device's key",
                object_of(id=TEXT, key=TEXT, name=TEXT, scope=SCOPE),
                429,
                *_JSON_BODY_ERRORS,
                body=_json((), name=_short(100)),
            )
        },
        "/api/devices/{id}": {
            "delete": _call(
                "Revoke a key",
                object_of(ok=BOOL, id=TEXT, stored=BOOL),
                404,
                409,
                parameters=(_in_path("id"),),
            )
        },
    }


def _files() -> Json:
    upload = object_of(ok=BOOL, url=TEXT, path=TEXT, filename=TEXT, size=COUNT, type=TEXT)
    word = {"type": "string", "pattern": "^[a-z0-9_-]{1,32}$"}
    binary = {"type": "string", "contentMediaType": "application/octet-stream"}
    form = {
        "multipart/form-data": {
            "schema": {"type": "object", "required": ["file"], "properties": {"file": binary, "type": word}}
        }
    }
    signature = _query("sig", TEXT)
    blob = (_in_path("session", ID), _in_path("digest", {"type": "string", "pattern": "^[0-9a-f]{64}$"}))
    return {
        "/api/files/upload": {
            "post": _call("Upload a file", upload, *_JSON_BODY_ERRORS, 409, 429, body=form)
        },
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
    health = object_of(
        status=TEXT,
        version=TEXT,
        timestamp=TIME,
        connections=object_of(claude=COUNT, codex=COUNT),
        sessions=object_of(total=COUNT),
        bridgehub=object_of(ready=BOOL),
    )
    features: Json = {"type": "object", "additionalProperties": BOOL}
    status = object_of(
        status=TEXT,
        version=TEXT,
        health=TEXT,
        timestamp=TIME,
        features=features,
        agents=list_of(named("Agent")),
        workspace=object_of(path=nullable("string"), ok=BOOL),
    )
    node = object_of(id=TEXT, name=TEXT, state=TEXT, version=TEXT, sessions=COUNT, connections=COUNT)
    capsules = object_of(count=COUNT, capsules=list_of(named("Capsule")))
    delays = object_of(committed=recent(), devices=list_of(named("Delay")))
    described: Json = {"type": "object", "required": ["openapi", "info", "paths"]}
    return {
        "/api/health": {"get": {**_call("Health check", health), "security": []}},
        "/api/status": {"get": _call("Status and features", status, 404, parameters=(_NODE,))},
        "/api/nodes": {"get": _call("Machines that share the sessions", object_of(nodes=list_of(node)))},
        "/api/capsules": {"get": _call("Capsules of the workspace", capsules)},
        "/api/openapi.json": {"get": _call("This description", described)},
        "/api/delays": {"get": _call("How long events take to each device", delays)},
        "/metrics": {"get": _call("Counters, for Prometheus", TEXT, media_type="text/plain")},
    }


def describe(version: str) -> Json:
    """Return the description of a server of this version."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "BuilderOS Mobile", "version": version},
        "security": [{"header": []}, {"bearer": []}],
        "paths": {**_server(), **_reading(), **_work(), **_acting(), **_files(), **notification_paths()},
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }
