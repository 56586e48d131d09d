"""Which folders are never saved: what holds the person's whole life, or ourselves."""

from __future__ import annotations

import os

__all__ = ["refusal_of"]


def refusal_of(workspace: str, home: str, data: str) -> str:
    """Return why a folder gets no checkpoints, for a person; empty where it does. Blocks."""
    real = os.path.realpath(workspace)
    if real == "/":
        return "the root of the file system is no workspace"
    if home and real == os.path.realpath(home):
        return "the home folder is no workspace"
    if os.path.commonpath([real, os.path.realpath(data)]) == real:
        return "the data folder lies in it"
    return "" if os.path.isdir(real) else "it is not there"
