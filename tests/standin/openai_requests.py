"""What Codex asked the stand-in, as tests look at it."""

from __future__ import annotations

import re
from typing import Any

import attrs
import orjson

__all__ = ["SeenResponse"]

_MARKER = re.compile(r"MARKER-[A-Z0-9-]+")

_CONTEXT = re.compile(r"^\s*(<|# AGENTS\.md)")
"""How the texts begin that Codex says in a person's name: the environment, the instructions."""

_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})


@attrs.frozen
class SeenResponse:
    """One request for an answer, with its whole body. `number` counts from 1; `key` is the bearer token."""

    number: int
    body: dict[str, Any]
    key: str = ""

    @property
    def model(self) -> str:
        """The model asked for."""
        return str(self.body.get("model", ""))

    @property
    def thread(self) -> str:
        """The thread of the program that asks: the session's own, or that of an agent which it started."""
        return str((self.body.get("client_metadata") or {}).get("thread_id", ""))

    @property
    def items(self) -> tuple[dict[str, Any], ...]:
        """The conversation, oldest first."""
        return tuple(item for item in self.body.get("input", ()) if isinstance(item, dict))

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of the tools that the model is offered."""
        return tuple(str(tool.get("name") or tool.get("type")) for tool in self.body.get("tools") or ())

    @property
    def user_texts(self) -> tuple[str, ...]:
        """What a person said, oldest first; what the program says in a person's name is left out."""
        return tuple(text for text in self._said("user") if not _CONTEXT.match(text))

    @property
    def assistant_texts(self) -> tuple[str, ...]:
        """What the model said earlier, oldest first."""
        return tuple(self._said("assistant"))

    @property
    def images(self) -> tuple[str, ...]:
        """The URLs of the pictures in the conversation."""
        return tuple(
            str(part.get("image_url"))
            for item in self.items
            for part in item.get("content") or ()
            if isinstance(part, dict) and part.get("type") == "input_image"
        )

    @property
    def tool_results(self) -> tuple[str, ...]:
        """The texts of all tool results, oldest first."""
        return tuple(_output_text(item.get("output")) for item in self.items if item.get("type") in _OUTPUTS)

    @property
    def answers_tool(self) -> bool:
        """Whether the newest item is a tool's result."""
        return bool(self.items) and self.items[-1].get("type") in _OUTPUTS

    @property
    def markers(self) -> tuple[str, ...]:
        """Every `MARKER-…` word anywhere in the request, sorted."""
        return tuple(sorted(set(_MARKER.findall(orjson.dumps(self.body).decode()))))

    def _said(self, role: str) -> list[str]:
        return [
            str(part.get("text", ""))
            for item in self.items
            if item.get("type") == "message" and item.get("role") == role
            for part in item.get("content") or ()
            if isinstance(part, dict) and part.get("type") in {"input_text", "output_text"}
        ]


def _output_text(output: object) -> str:
    if isinstance(output, str):
        return output
    if isinstance(output, list):
        return "\n".join(str(part.get("text", "")) for part in output if isinstance(part, dict))
    return orjson.dumps(output).decode()
