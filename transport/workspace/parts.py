"""Shared parts of the routes about a session's work: its folder, and which keys may see it."""

from __future__ import annotations

from pathlib import Path

import attrs
import trio

from transport.workspace.listing import Roots
from transport.workspace.search import FileSearch

__all__ = ["Work"]


@attrs.frozen(kw_only=True)
class Work:
    """The parts. The caller must run `search`.

    Attributes:
        checkpoints: the folder of workspaces' checkpoints; None: no checkpoints.
        worktrees: the folder of sessions' worktrees; None: no worktrees.
        comparing: workspaces whose comparison is running.
    """

    roots: Roots
    checkpoints: Path | None = None
    worktrees: Path | None = None
    comparing: set[str] = attrs.field(factory=set)
    search: FileSearch = attrs.field(factory=FileSearch)
    threads: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(4))
    """Concurrent file work: a slow disk must not take all threads of the server."""
