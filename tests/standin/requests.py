"""What a program asked the stand-in, as tests look at it."""

from __future__ import annotations

import base64
import re
from typing import Any

import attrs
import orjson

__all__ = ["Seen"]

_MARKER = re.compile(r"MARKER-[A-Z0-9-]+")
"""Words that tests put into instruction files to see whether they reach the model."""

_INTERRUPTED = "[Request interrupted by user"


@attrs.frozen
class Seen:
    """One request for an answer, with its whole body. `number` counts all of them from 1."""

    number: int
    body: dict[str, Any]

    @property
    def is_side(self) -> bool:
        """Whether the program asks for itself (a title, a quota check): such a request brings no tools."""
        return not self.body.get("tools") or self.body.get("max_tokens") == 1

    @property
    def model(self) -> str:
        """The model asked for."""
        return str(self.body.get("model", ""))

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of the tools that the model is offered."""
        return tuple(str(tool.get("name")) for tool in self.body.get("tools") or ())

    @property
    def system(self) -> str:
        """The system prompt's whole text."""
        return "\n".join(_texts(self.body.get("system")))

    @property
    def user_texts(self) -> tuple[str, ...]:
        """What a person said, oldest first; the program's own reminders are left out, not those of ours."""
        return tuple(
            text
            for message in self.body.get("messages", ())
            if message.get("role") == "user"
            for text in _texts(message.get("content"))
            if not text.lstrip().startswith("<") or text.startswith("<said-elsewhere>")
        )

    @property
    def assistant_texts(self) -> tuple[str, ...]:
        """What the model said earlier, oldest first."""
        return tuple(
            text
            for message in self.body.get("messages", ())
            if message.get("role") == "assistant"
            for text in _texts(message.get("content"))
        )

    @property
    def tool_results(self) -> tuple[str, ...]:
        """The texts of all tool results, oldest first."""
        return tuple(
            "\n".join(_texts(block.get("content")))
            for message in self.body.get("messages", ())
            if isinstance(message.get("content"), list)
            for block in message["content"]
            if block.get("type") == "tool_result"
        )

    @property
    def images(self) -> tuple[tuple[str, bytes], ...]:
        """Kind and bytes of all images that a person sent along, oldest first."""
        return tuple(
            (str(block["source"]["media_type"]), base64.b64decode(block["source"]["data"]))
            for message in self.body.get("messages", ())
            if message.get("role") == "user" and isinstance(message.get("content"), list)
            for block in message["content"]
            if block.get("type") == "image"
        )

    @property
    def answers_tool(self) -> bool:
        """Whether the newest message of a person's side is a tool's result.

        After an interrupt it holds the result that the program made up, and the person's next words.
        """
        said = [message for message in self.body.get("messages", ()) if message.get("role") == "user"]
        content = said[-1].get("content") if said else None
        if not isinstance(content, list) or any(text.startswith(_INTERRUPTED) for text in _texts(content)):
            return False
        return any(block.get("type") == "tool_result" for block in content)

    @property
    def markers(self) -> tuple[str, ...]:
        """Every `MARKER-…` word anywhere in the request, sorted."""
        return tuple(sorted(set(_MARKER.findall(orjson.dumps(self.body).decode()))))


def _texts(content: object) -> list[str]:
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        return []
    return [
        str(block["text"]) for block in content if isinstance(block, dict) and block.get("type") == "text"
    ]
