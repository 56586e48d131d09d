"""What a person should hear of at the start: said once the server serves, so that a failed start is one line."""

from __future__ import annotations

import logging

from storage.data_folder import DataFolder

__all__ = ["SHORT_KEY", "say_second_thoughts"]

SHORT_KEY = 20
"""Characters of a key that a person chose; a fresh one has 64."""

log = logging.getLogger("builderos.server")


def say_second_thoughts(folder: DataFolder, key: str | None) -> None:
    """Log what others of this machine could read until now, and a key that may be guessed.

    Args:
        folder: the data folder.
        key: what `BUILDEROS_API_KEY` said, if anything.
    """
    if folder.mended:
        shown = ", ".join(path.name for path in folder.mended[:3])
        more = f" and {len(folder.mended) - 3} more" if len(folder.mended) > 3 else ""
        advice = " A new key is safer: that one could be read." if folder.key_path in folder.mended else ""
        log.warning("other users could get at %s%s in %s; not any more.%s", shown, more, folder.path, advice)
    if key is not None and len(key) < SHORT_KEY:
        log.warning("BUILDEROS_API_KEY is under %d characters: it may be guessed", SHORT_KEY)
