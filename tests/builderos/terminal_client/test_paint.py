"""The delay that the full-screen client reports: what it is, when it goes out, and for which session."""

from __future__ import annotations

from typing import Any

import orjson

from builderos.client.wire.frames import Frame, decode
from builderos.terminal.wire.paint import EVERY_MS, Paint

NOW = 1_767_323_045_000
"""2026-01-02T03:04:05Z, by the server's clock."""


def frame(kind: str, **fields: Any) -> Frame:
    known = {"type": kind, "content": "", "timestamp": "2026-01-02T03:04:05.000Z", "session_id": "trip"}
    return decode(orjson.dumps({**known, **fields}))


def event(seq: int) -> Frame:
    return frame("message", epoch=1, seq=seq, first_seq=seq)


def test_the_clocks_need_not_agree() -> None:
    paint, wrong = Paint(), 5000
    paint.begin(frame("ready"), 0.04, NOW + wrong + 20)
    paint.take(event(1))
    paint.drawn(NOW + wrong + 70)
    assert paint.report("trip", NOW) == {"session_id": "trip", "seq": 1, "ms": 70}
    assert paint.report("trip", NOW + 9000) is None, "once"


def test_the_newest_goes_out_at_most_every_two_seconds() -> None:
    paint = Paint()
    for seq in (1, 2, 3):
        paint.take(event(seq))
        paint.drawn(NOW + seq)
    first = paint.report("trip", NOW)
    assert first is not None
    assert first["seq"] == 3
    paint.take(event(4))
    assert paint.report("trip", NOW + EVERY_MS) is None, "not drawn yet"
    paint.drawn(NOW + 4)
    assert paint.report("trip", NOW + EVERY_MS - 1) is None
    assert paint.report("cake", NOW + EVERY_MS) is None, "another session"
    assert paint.report("trip", NOW + EVERY_MS) is not None


def test_the_past_and_what_cannot_be_true_do_not_count() -> None:
    paint = Paint()
    paint.take(frame("attached", head_seq=7))
    for seq, later_ms in ((7, 5), (8, 4_000_000)):
        paint.take(event(seq))
        paint.drawn(NOW + later_ms)
        assert paint.report("trip", NOW) is None
    paint.take(event(9))
    paint.drawn(NOW - 3)
    assert paint.report("trip", NOW) == {"session_id": "trip", "seq": 9, "ms": 0}
    paint.take(event(10))
    paint.drawn(NOW)
    paint.forget()
    assert paint.report("trip", NOW + EVERY_MS) is None
