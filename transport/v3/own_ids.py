"""Replaces ids of the iOS app's own form in a frame by their aliases (`storage.aliases`)."""

from __future__ import annotations

from typing import TypeVar

import attrs

from storage.aliases import Aliases
from transport.v3.client_frames import AttachFrame, Id

__all__ = ["aliased"]

_Frame = TypeVar("_Frame")


def aliased(frame: _Frame, aliases: Aliases) -> _Frame:
    """Return a device's frame with the app's own ids replaced by aliases."""
    session_id = getattr(frame, "session_id", None)
    if isinstance(session_id, str) and (alias := aliases.session(session_id)) != session_id:
        frame = attrs.evolve(frame, session_id=alias)  # type: ignore[misc]  # whatever has a field is a class of ours
    if isinstance(frame, AttachFrame) and frame.device_id is not None:
        frame = attrs.evolve(frame, device_id=Id(aliases.device(frame.device_id)))
    return frame
