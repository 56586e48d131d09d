"""A stage keeps what it played: a page that attaches again gets every event once, in order, the server's own too."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from playwright.sync_api import WebSocketRoute

from tests.web.browser import Screen
from tests.web.stage import Stage

Json = dict[str, Any]


class Side:
    """One end of a socket that passes through a stage. `sent` is what the stage sent to it."""

    def __init__(self) -> None:
        self.sent: list[Json] = []
        self.say: Callable[[str], None] = lambda _: None

    def send(self, message: str) -> None:
        self.sent.append(json.loads(message))

    def on_message(self, handler: Callable[[str], None]) -> None:
        self.say = handler

    def connect_to_server(self) -> Side:
        self.server = Side()
        return self.server


def connect(stage: Stage, after: int | None = None) -> Side:
    """Let a page connect and attach."""
    page = Side()
    stage.connect(cast("WebSocketRoute", page))
    place: Json = {} if after is None else {"after": {"epoch": 1, "seq": after}}
    page.say(json.dumps({"type": "attach", "session_id": "s", **place}))
    return page


def tell(page: Side, kind: str, seq: int | None = None, **more: Any) -> None:
    """Let the server say something; with `seq` it is an event."""
    place: Json = {} if seq is None else {"epoch": 1, "seq": seq, "first_seq": seq}
    page.server.say(json.dumps({"type": kind, "session_id": "s", **place, **more}))


def attached(page: Side, head: int, start: int, replay: str = "ok") -> None:
    tell(page, "attached", epoch=1, head_seq=head, from_seq=start, replay=replay)


def events(page: Side) -> list[str]:
    """Return the events that the page takes; AssertionError if one is missing before another."""
    seq = 0
    kinds: list[str] = []
    for frame in page.sent:
        if frame["type"] == "attached":
            seq = frame["from_seq"] - 1
        elif "epoch" in frame and frame["seq"] > seq:
            assert frame["first_seq"] == seq + 1
            seq = frame["seq"]
            kinds.append(frame["type"])
    return kinds


def test_a_page_that_attaches_again_has_every_event() -> None:
    stage = Stage(cast("Screen", None), "s")
    first = connect(stage)
    attached(first, 0, 1, "snapshot")
    stage.play("user_message")
    second = connect(stage, after=0)
    assert second.server.sent[-1]["after"] == {"epoch": 1, "seq": 0}
    attached(second, 0, 1)
    tell(second, "accepted", message_id="m", epoch=1, seq=1)
    tell(second, "user_message", 1)
    tell(second, "message", 4, first_seq=2)
    stage.play("tool_started")
    assert events(second) == ["user_message", "user_message", "message", "tool_started"]
    third = connect(stage)
    assert third.server.sent[-1]["after"] == {"epoch": 1, "seq": 4}
    attached(third, 5, 5)
    tell(second, "complete", 5)
    tell(third, "complete", 5)
    assert events(third) == ["user_message", "user_message", "message", "tool_started", "complete"]
