"""How long after its time an event is on the screen. The newest figure goes to the server with the next frame. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import attrs

from builderos.client.wire.frames import Frame

__all__ = ["EVERY_MS", "Paint"]

EVERY_MS: Final = 2000
"""The shortest time between two reports. The server counts no more of them."""

LONGEST_MS: Final = 3_600_000
"""The longest delay that the server takes."""


@attrs.define(eq=False)
class Paint:
    """The delay of what one terminal shows. All times are milliseconds since 1970 of this computer."""

    _ahead_ms: float = 0.0
    _from_seq: int = 0
    _come: Frame | None = None
    _report: tuple[str, int, int] | None = None
    _reported_at: float = -EVERY_MS

    def begin(self, ready: Frame, round_trip_s: float, now_ms: int) -> None:
        """Take the server's clock from its first frame, which was on its way for half of the round trip."""
        self.forget()
        at_ms = _moment_ms(ready)
        if at_ms is not None:
            self._ahead_ms = at_ms - (now_ms - 1000 * round_trip_s / 2)

    def forget(self) -> None:
        """Forget what is not reported: the session is left."""
        self._come = self._report = None

    def take(self, frame: Frame) -> None:
        """Note a frame of the session on the screen. The past that an `attached` announces does not count."""
        if frame.kind == "attached":
            self._from_seq = frame.number("head_seq")
        elif frame.seq is not None and frame.seq > self._from_seq:
            self._come = frame

    def drawn(self, now_ms: int) -> None:
        """Note that the screen shows what came."""
        event, self._come = self._come, None
        at_ms = None if event is None else _moment_ms(event)
        if event is None or event.session_id is None or event.seq is None or at_ms is None:
            return
        ms = max(0, round(now_ms + self._ahead_ms - at_ms))
        if ms <= LONGEST_MS:
            self._report = event.session_id, event.seq, ms

    def report(self, session_id: str, now_ms: int) -> dict[str, Any] | None:
        """Return the fields of a `painted` about this session to send now, once."""
        if self._report is None or self._report[0] != session_id or now_ms - self._reported_at < EVERY_MS:
            return None
        (session_id, seq, ms), self._report, self._reported_at = self._report, None, now_ms
        return {"session_id": session_id, "seq": seq, "ms": ms}


def _moment_ms(frame: Frame) -> float | None:
    try:
        return datetime.fromisoformat(frame.text("timestamp")).timestamp() * 1000
    except ValueError:
        return None
