"""What the session's next hub must know about its Claude, kept with the session (`HubSpec.agent_memory`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

__all__ = ["Memory"]

MAX_FOLDERS = 20
"""Folders of attached files that are remembered, the newest: uploads lie in one, so it is one as a rule."""


@attrs.frozen
class Memory:
    """See the module.

    Attributes:
        is_cleared: the person had the conversation cleared: the next turn belongs to a new one.
        folders: where attached files lie; the agent reads there unasked.
    """

    is_cleared: bool = False
    folders: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: dict[str, Any] | None) -> Memory:
        """Read what an earlier hub reported; what is not understood counts as not said."""
        known = data or {}
        folders = known.get("folders")
        return cls(
            known.get("is_cleared") is True,
            tuple(each for each in folders if isinstance(each, str)) if isinstance(folders, list) else (),
        )

    def told(self) -> dict[str, Any]:
        """Return it as `Sink.remember` takes it."""
        return {"is_cleared": self.is_cleared, "folders": list(self.folders)}

    def with_files(self, paths: list[str]) -> Memory:
        """Return it with the folders of these files."""
        new = dict.fromkeys(str(Path(path).parent) for path in paths if Path(path).is_absolute())
        added = [folder for folder in new if folder not in self.folders]
        return attrs.evolve(self, folders=(*self.folders, *added)[-MAX_FOLDERS:])
