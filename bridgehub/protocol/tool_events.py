"""What a hub reports of tools: their calls, and what running ones have printed so far, which the journal does not have."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["MAX_OUTPUTS", "MAX_OUTPUT_CHARS", "ToolBegan", "ToolEnded", "ToolOutput", "ToolsPrinted"]

MAX_OUTPUT_CHARS = 8 * 1024
"""Newest code points of a running tool's output that are shown."""

MAX_OUTPUTS = 8
"""Running tools whose output is shown at the same time."""


@attrs.frozen
class ToolBegan:
    """The agent calls a tool."""

    turn_id: str
    tool_id: str
    name: str
    input: Any
    parent_tool_id: str | None = None
    blob: dict[str, Any] | None = None


@attrs.frozen
class ToolEnded:
    """A tool call ended. Of an output over 64 KiB `output` is the beginning; `blob` has size and sha256.

    `diff`: what an edit changed, as file entries (PROTOCOL section 9). `pictures`: what it showed, each with `mime_type`,
    and kept as a blob.
    """

    turn_id: str
    tool_id: str
    name: str
    output: str
    is_error: bool
    parent_tool_id: str | None = None
    duration_ms: int | None = None
    blob: dict[str, Any] | None = None
    diff: Any = None
    pictures: tuple[dict[str, Any], ...] = ()


@attrs.frozen
class ToolOutput:
    """The newest part of what a running tool has printed. `offset`: the code points before it, which are left out."""

    tool_id: str
    name: str
    output: str
    offset: int = 0


@attrs.frozen
class ToolsPrinted:
    """The output of all tools of a turn that run and have printed something. It replaces the last one."""

    turn_id: str
    outputs: tuple[ToolOutput, ...]
