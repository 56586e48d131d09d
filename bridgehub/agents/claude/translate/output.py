"""The whole of a tool's output. For a long one, Claude Code's message has only a preview and a note about the rest.

The structured result beside it has more. For a command it names the file with the output, of which the program keeps
the first 64 MB. For a tool of an MCP server it has the parts that the server sent.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from bridgehub.agents.base import Sink
from bridgehub.agents.text import Cut, cut_bytes, cut_text, tool_output_text
from bridgehub.blobs import Blob, keep_blob
from bridgehub.protocol.events import Noticed

__all__ = ["WholeOutput", "keep_blobs", "read_output"]

logger = logging.getLogger("builderos.bridgehub")

MAX_OUTPUT_BYTES = 64 * 1024 * 1024
"""Bytes read of such a file. The program itself keeps no more."""


@attrs.frozen
class WholeOutput:
    """A whole output. `lost_bytes`: how many bytes at its end were not kept anywhere."""

    cut: Cut
    lost_bytes: int = 0


def read_output(result: Any, projects: Path) -> WholeOutput | None:
    """Return the output that a tool's structured result holds or names. None if it has only the preview.

    Blocks if it reads a file.

    Args:
        result: `UserMessage.tool_use_result`.
        projects: the folder below which the program keeps such files. A path anywhere else is ignored.
    """
    if isinstance(result, list):
        return WholeOutput(cut_text(tool_output_text(result)))
    named = result.get("persistedOutputPath") if isinstance(result, dict) else None
    if not isinstance(named, str):
        return None
    path = Path(named).resolve()
    if not path.is_relative_to(projects.resolve()):
        return None
    try:
        with path.open("rb") as file:
            data = file.read(MAX_OUTPUT_BYTES)
    except OSError:
        return None
    size = result.get("persistedOutputSize")
    return WholeOutput(cut_bytes(data), max(0, size - len(data)) if isinstance(size, int) else 0)


async def keep_blobs(blobs: Sequence[Blob], folder: str, turn_id: str, sink: Sink) -> None:
    """Keep long texts and pictures as blobs before the event that refers to them. Without a folder nothing is kept."""
    await trio.lowlevel.checkpoint()
    for blob in blobs if folder else ():
        try:
            await keep_blob(folder, blob)
        except OSError as error:
            logger.warning("a text of %d bytes cannot be kept: %s", blob.size, error.strerror)
            told = f"A long input or output of a tool could not be kept whole: {error.strerror}"
            await sink.emit(Noticed(turn_id, "output_cut", told))
