"""What running tools have printed so far, as a hub reports it. The journal does not have it."""

from __future__ import annotations

import attrs

__all__ = ["MAX_OUTPUTS", "MAX_OUTPUT_CHARS", "ToolOutput", "ToolsPrinted"]

MAX_OUTPUT_CHARS = 8 * 1024
"""Newest code points of a running tool's output that are shown."""

MAX_OUTPUTS = 8
"""Running tools whose output is shown at the same time."""


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
