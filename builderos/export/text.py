"""A session as Markdown for people and as JSON for programs, one part at a time. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from builderos.client.terminal import one_line
from builderos.export.state import AnswerItem, RequestItem, TextBlock, ToolStep

__all__ = ["heading", "json_event", "json_message", "json_session", "markdown"]

INPUT_LENGTH = 200
"""Characters of a tool's input in the Markdown; the JSON has it whole."""

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")

_SESSION_FIELDS = (
    "session_id",
    "agent_type",
    "device_id",
    "title",
    "state",
    "message_count",
    "epoch",
    "head_seq",
    "created_at",
    "last_activity",
)


def heading(session: Mapping[str, Any]) -> str:
    """Return the Markdown heading of a session."""
    name = session.get("title") or session["session_id"]
    return (
        f"# {one_line(str(name))}\n\n"
        f"- Session: `{session['session_id']}`\n"
        f"- Agent: {session.get('agent_type')}\n"
        f"- From {_when(session.get('created_at'))} to {_when(session.get('last_activity'))} (UTC)\n"
    )


def markdown(part: RequestItem | AnswerItem, agent: str) -> str:
    """Return a question or an answer as Markdown."""
    return "".join(_question(part) if isinstance(part, RequestItem) else _answer(part, agent))


def _question(question: RequestItem) -> Iterator[str]:
    frame = question.frame
    yield f"\n## {frame.device_id or 'user'}, {_when(frame.body.get('timestamp'))}\n\n"
    yield "".join(f"> {line}".rstrip() + "\n" for line in frame.content.split("\n"))
    for file in frame.tables("attachments"):
        yield f">\n> Attached: {one_line(str(file.get('filename')))} ({file.get('size')} bytes)\n"
    if question.status not in {"answered", "consumed", "handed"}:
        yield f"\n*{question.status}*\n"


def _answer(answer: AnswerItem, agent: str) -> Iterator[str]:
    yield f"\n### {agent}\n\n"
    after_step = False
    for part in answer.parts:
        if isinstance(part, TextBlock):
            yield ("\n" if after_step else "") + _closed(part.content)
            after_step = False
        else:
            yield ("" if after_step else "\n") + _step(part)
            after_step = True
    if answer.end is None:
        yield "\n*still running*\n"
    elif answer.end.kind == "error":
        yield f"\n**Error** ({answer.end.text('code')}): {one_line(answer.end.content, 1000)}\n"
    elif answer.end.kind == "interrupted":
        yield f"\n*{one_line(answer.end.content)}*\n"


def _step(step: ToolStep) -> str:
    frame, end = step.frame, step.end
    if frame.kind == "tool_started":
        input_ = one_line(orjson.dumps(frame.body.get("input")).decode(), INPUT_LENGTH).replace("`", "'")
        failed = end is not None and end.body.get("is_error") is True
        return f"- {one_line(frame.text('name'))}: `{input_}`{' (failed)' if failed else ''}\n"
    text = frame.content if end is None else f"{frame.content} {end.content}"
    return f"- {one_line(text, 500)}\n"


def _closed(text: str) -> str:
    """Return an agent's Markdown with an open code block closed, so that it does not swallow the following text."""
    fence = ""
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if found is None:
            continue
        mark = found[1]
        if not fence:
            fence = mark
        elif mark.startswith(fence) and not line.strip().strip(mark[0]):
            fence = ""
    ended = text if text.endswith("\n") or not text else f"{text}\n"
    return f"{ended}{fence}\n" if fence else ended


def _when(timestamp: Any) -> str:
    return timestamp[:19].replace("T", " ") if isinstance(timestamp, str) else "?"


# ---- JSON ----


def json_session(session: Mapping[str, Any]) -> str:
    """Return a session's own fields as the inside of an object, a line each."""
    named = {name: session.get(name) for name in _SESSION_FIELDS}
    return ",\n".join(f"{_json(name)}: {_json(value)}" for name, value in named.items())


def json_message(part: RequestItem | AnswerItem) -> str:
    """Return a question or an answer as the list of messages has it."""
    frame = part.frame
    asked = isinstance(part, RequestItem)
    body: dict[str, Any] = {
        **({"message_id": frame.text("message_id")} if asked else {}),
        "seq": frame.seq,
        "turn_id": frame.turn_id,
        "role": "user" if asked else "assistant",
        "content": frame.content if asked else part.content,  # type: ignore[union-attr]
        "timestamp": frame.body.get("timestamp"),
        "device_id": frame.device_id if asked else None,
        "attachments": frame.tables("attachments"),
        "status": part.status,
    }
    if isinstance(part, AnswerItem) and part.end is not None and part.end.kind == "error":
        body["error"] = {"code": part.end.text("code"), "content": part.end.content}
    return _json(body)


def json_event(body: Mapping[str, Any]) -> str:
    """Return an event in the form that devices see."""
    return _json(body)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
