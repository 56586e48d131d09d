"""What the routes about a session's work share: where it works, and who may see what of it."""

from __future__ import annotations

from pathlib import Path

import attrs
import trio

from transport.workspace.listing import Roots
from transport.workspace.search import FileSearch

__all__ = ["Work"]


@attrs.frozen(kw_only=True)
class Work:
    """The services for files of a workspace. The owner must run `search`.

    Attributes:
        checkpoints: where saved states of workspaces lie; None: nowhere.
        worktrees: where worktrees of sessions lie; None: nowhere.
        comparing: workspaces that are being compared now.
    """

    roots: Roots
    checkpoints: Path | None = None
    worktrees: Path | None = None
    comparing: set[str] = attrs.field(factory=set)
    search: FileSearch = attrs.field(factory=FileSearch)
    threads: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(4))
    """Parallel file work: a slow disk must not take all threads of the server."""
