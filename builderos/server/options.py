"""The options of `builderos serve`, for the server."""

from __future__ import annotations

from pathlib import Path

import attrs

__all__ = ["ServeOptions"]


@attrs.frozen(kw_only=True)
class ServeOptions:
    """The values from the command line, checked as far as possible without starting anything."""

    host: str
    port: int
    data: Path
    workspace: Path
    config: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    log_level: str
    take_over: bool
    database: str | None
    move_here: bool
    node: str | None = None
