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
    """See the module. `search` has to be run by whoever makes this.

    Attributes:
        checkpoints: where saved states of workspaces lie; None: nowhere.
        worktrees: where worktrees of sessions lie; None: nowhere.
        comparing: workspaces of which a comparison goes on.
    """

    roots: Roots
    checkpoints: Path | None = None
    worktrees: Path | None = None
    comparing: set[str] = attrs.field(factory=set)
    search: FileSearch = attrs.field(factory=FileSearch)
    threads: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(4))
    """File work that goes on at once: a slow disk must not take all threads of the server."""
