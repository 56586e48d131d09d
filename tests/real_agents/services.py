"""Stand-ins of two more model services, on loopback: Gemini's own API, and chat completions as Qwen Code speaks them.

Each answers a request without a tool's result by the next call that a test scripted, and anything else by a line of
text that names the markers in the request, so that a test sees what the model was given.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import h11
import orjson

from tests.standin.replies import ToolUse
from tests.standin.wire import Call, Wire, listen

__all__ = ["Service", "open_service"]


@attrs.define(eq=False)
class Service:
    """Attributes: `calls`: tools that the model wants, one a request; `requests`: the bodies that came; `url`."""

    chunks: Callable[[ToolUse | str], list[Any]]
    calls: list[ToolUse] = attrs.field(factory=list)
    requests: list[str] = attrs.field(factory=list)
    url: str = ""

    async def answer(self, wire: Wire, call: Call) -> None:
        """Answer one HTTP request."""
        if call.method != "POST" or not re.search(
            r"generateContent|GenerateContent|completions", call.target
        ):
            await wire.respond(404, b'{"error":{"message":"not here"}}')
            return
        body = call.body.decode()
        self.requests.append(body)
        is_side = '"tools"' not in body
        said: ToolUse | str = f"markers: {' '.join(sorted(set(re.findall('MARKER-[A-Z]+', body))))}"
        if self.calls and not is_side and f'"{self.calls[0].name}"' in body and "write it" in body:
            said = self.calls.pop(0)
        chunks = self.chunks(said)
        if "stream" not in call.target and '"stream":true' not in body.replace(" ", ""):
            await wire.respond(200, orjson.dumps(chunks[0]))
            return
        head = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")]
        await wire.send(h11.Response(status_code=200, headers=head))
        for chunk in chunks:
            data = chunk.encode() if isinstance(chunk, str) else orjson.dumps(chunk)
            await wire.send(h11.Data(data=b"data: " + data + b"\n\n"))
        await wire.send(h11.EndOfMessage())


def _gemini(said: ToolUse | str) -> list[Any]:
    if isinstance(said, str):
        part: dict[str, Any] = {"text": said}
    else:
        part = {"functionCall": {"name": said.name, "args": said.input}}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    usage = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18}
    return [{"candidates": [candidate], "usageMetadata": usage}]


def _chat(said: ToolUse | str) -> list[Any]:
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "standin"}
    if isinstance(said, str):
        delta: dict[str, Any] = {"role": "assistant", "content": said}
        reason = "stop"
    else:
        function = {"name": said.name, "arguments": orjson.dumps(said.input).decode()}
        wanted = {"index": 0, "id": f"call_{said.name}", "type": "function", "function": function}
        delta, reason = {"role": "assistant", "content": None, "tool_calls": [wanted]}, "tool_calls"
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    first = {**head, "choices": [{"index": 0, "delta": delta, "message": delta, "finish_reason": None}]}
    last = {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": usage}
    return [first, last, "[DONE]"]


@asynccontextmanager
async def open_service(kind: str) -> AsyncIterator[Service]:
    """Serve on loopback while inside the block. `kind`: `gemini` or `chat`."""
    service = Service({"gemini": _gemini, "chat": _chat}[kind])
    async with listen(0, service.answer) as service.url:
        yield service
