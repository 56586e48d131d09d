"""The requests and answers of `bridgehub/1.0`, from the answering side. No I/O."""

from __future__ import annotations

from typing import Any, Literal

import attrs
import orjson

__all__ = ["ContextNote", "InvalidPayload", "Request", "answered", "decode_request", "refused"]

VERSION = "bridgehub/1.0"
ACTION = "freeform"

AGENTS: dict[str, Literal["claude", "codex"]] = {"codex_to_claude": "claude", "claude_to_codex": "codex"}
"""The agent of each direction."""

DEFAULT_DIRECTION = "claude_to_codex"

ROLES = ("system", "user", "assistant", "note")

SUMMARY_CHARS = 200
"""Characters of an answer that its summary repeats."""


class InvalidPayload(Exception):
    """A request is not valid; the text says where and why, for the caller."""


@attrs.frozen
class ContextNote:
    """One entry of a request's context."""

    title: str
    role: str
    content: str


@attrs.frozen
class Request:
    """A caller's request.

    Attributes:
        capsule: the folder to work in; None if none is named.
        payload: the caller's own JSON object, echoed in the answer.
    """

    capsule: str | None
    session: str
    message: str
    direction: str
    context: tuple[ContextNote, ...]
    payload: dict[str, Any]

    @property
    def agent(self) -> Literal["claude", "codex"]:
        """The name of the agent that the direction runs."""
        return AGENTS[self.direction]

    @property
    def prompt(self) -> str:
        """The prompt for the agent: the context, then the message; only the message if there is no context."""
        if not self.context:
            return self.message
        notes = [f"## {note.title} ({note.role})\n\n{note.content}" for note in self.context]
        return "\n\n".join([*notes, f"## Message\n\n{self.message}"])


def decode_request(text: str) -> Request:
    """Read a request. Raises InvalidPayload."""
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidPayload(f"the request is not JSON: {error.msg}") from error
    outer = _object(body, "the request")
    if outer.get("version", VERSION) != VERSION:
        raise InvalidPayload(f"version must be {VERSION!r}")
    if outer.get("action", ACTION) != ACTION:
        raise InvalidPayload(f"action must be {ACTION!r}")
    payload = _object(outer.get("payload"), "payload")
    message = _text(payload, "payload.message")
    if not message.strip():
        raise InvalidPayload("payload.message must not be empty")
    direction = _text(payload, "payload.direction", DEFAULT_DIRECTION)
    if direction not in AGENTS:
        raise InvalidPayload(f"payload.direction must be one of {', '.join(AGENTS)}")
    _object(payload.get("metadata", {}), "payload.metadata")
    _text(payload, "payload.intent", "")
    return Request(
        capsule=_text(outer, "capsule", "") or None,
        session=_text(outer, "session", "") or "bridgehub",
        message=message,
        direction=direction,
        context=_context(payload.get("context", [])),
        payload=payload,
    )


def _context(entries: object) -> tuple[ContextNote, ...]:
    if not isinstance(entries, list):
        raise InvalidPayload("payload.context must be a list")
    notes = []
    for number, entry in enumerate(entries):
        where = f"payload.context[{number}]"
        note = _object(entry, where)
        role = _text(note, f"{where}.role")
        if role not in ROLES:
            raise InvalidPayload(f"{where}.role must be one of {', '.join(ROLES)}")
        title = _text(note, f"{where}.title", "Context")
        notes.append(ContextNote(title, role, _text(note, f"{where}.content")))
    return tuple(notes)


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidPayload(f"{where} must be an object")
    return value


def _text(table: dict[str, Any], where: str, default: str | None = None) -> str:
    value = table.get(where.rpartition(".")[2], default)
    if not isinstance(value, str):
        raise InvalidPayload(f"{where} must be a text")
    return value


def answered(request: Request, output: str, logs: list[str]) -> str:
    """Return the line of a successful answer. It echoes the request and the prompt, as the old relay does."""
    payload = request.payload
    data = {
        "direction": request.direction,
        "intent": payload.get("intent", ""),
        "message": request.message,
        "context": payload.get("context", []),
        "metadata": payload.get("metadata", {}),
        "prompt": request.prompt,
        "output": output,
    }
    summary = output.strip()[:SUMMARY_CHARS]
    return _line({"ok": True, "action": ACTION, "summary": summary, "data": data, "logs": logs})


def refused(reason: str, details: str) -> str:
    """Return the line of a request that cannot be answered."""
    return _line({"ok": False, "reason": reason, "details": details})


def _line(body: dict[str, Any]) -> str:
    return f"JARVIS_PAYLOAD={orjson.dumps(body).decode()}\n"
