"""The building blocks of the OpenAPI description: calls, parameters, bodies."""

from __future__ import annotations

from typing import Final

from transport.http.openapi.schemas import TEXT, Json, named

__all__ = [
    "AFTER",
    "FLAG",
    "JSON_BODY_ERRORS",
    "LIMIT",
    "NODE",
    "PATH_ERRORS",
    "call",
    "in_path",
    "json_body",
    "made",
    "query",
    "short",
]

_REASONS: Final = {
    400: "The request is wrong.",
    401: "No key, or not a valid one.",
    403: "This key may not do that, or the config does not allow it.",
    404: "Not found.",
    409: "Conflict with the current state.",
    411: "Content-Length is missing.",
    413: "The body is too large.",
    415: "This call does not accept this type of body.",
    429: "Too many requests at once, or too many wrong keys from this address.",
    503: "Unavailable at the moment.",
}


def query(name: str, schema: Json, *, required: bool = False) -> Json:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def in_path(name: str, schema: Json = TEXT) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": schema}


FLAG: Final = {"enum": ["0", "1"]}
NODE: Final = query("node", TEXT)
LIMIT: Final = query("limit", {"type": "integer", "minimum": 1, "maximum": 500})
AFTER: Final = query("after_seq", {"type": "integer", "minimum": 0, "maximum": 2**63 - 1})
PATH_ERRORS: Final = (400, 403, 404, 415)
JSON_BODY_ERRORS: Final = (400, 411, 413, 415)


def call(
    summary: str,
    answer: Json | None,
    *errors: int,
    parameters: tuple[Json, ...] = (),
    body: Json | None = None,
    media_type: str = "application/json",
) -> Json:
    """Return one operation. `errors`: the statuses beside 200 and those that every call may return."""
    content = {media_type: {"schema": answer} if answer is not None else {}}
    responses: Json = {"200": {"description": "Done.", "content": content}}
    for status in sorted({400, 401, 403, 429, 503, *errors}):
        error = {"application/json": {"schema": named("Error")}}
        responses[str(status)] = {"description": _REASONS[status], "content": error}
    call: Json = {"summary": summary, "responses": responses}
    if parameters:
        call["parameters"] = list(parameters)
    if body is not None:
        call["requestBody"] = {"required": True, "content": body}
    return call


def made(call: Json) -> Json:
    """Return an operation that returns 201 instead of 200."""
    responses = call["responses"]
    responses["201"] = responses.pop("200")
    return call


def json_body(required: tuple[str, ...], **fields: Json) -> Json:
    return {
        "application/json": {"schema": {"type": "object", "required": list(required), "properties": fields}}
    }


def short(most: int) -> Json:
    return {"type": "string", "minLength": 1, "maxLength": most, "pattern": "^[ -~]+$"}
