"""A page whose session says what the test wants: real server, real page, and events of agents that no test can start.

The page's socket passes through here. What `Stage.play` sends comes to the page as further events of its session; what
the page says is noted, and kept from the server if the test asks for that.

The server knows nothing of these events. So the stage keeps all events and gives them to a page that attaches again, as
a server does; it numbers the server's own further events behind those that it played; and what a test said of agent and
gauge holds against the server's word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from playwright.sync_api import WebSocketRoute, expect

from tests.web.browser import PHONE, Screen, Site, Size

__all__ = ["Stage", "open_stage"]

Json = dict[str, Any]


@attrs.define(eq=False)
class Stage:
    """One page at one session.

    Attributes:
        sent: the frames of the page, oldest first.
        held: kinds of frames that do not reach the server.
        changed: fields of `attached` that the server does not tell.
        ready: the same of `ready`. Its heartbeat is long: here frames wait while the test does something else.
    """

    screen: Screen
    sid: str
    sent: list[Json] = attrs.field(factory=list)
    held: set[str] = attrs.field(factory=lambda: {"decide", "revoke_grant", "configure", "interrupt"})
    changed: Json = attrs.field(factory=dict)
    ready: Json = attrs.field(factory=lambda: {"heartbeat_s": 15})
    seq: int = 0
    is_attached: bool = False
    _page_side: WebSocketRoute | None = None
    _past: list[Json] = attrs.field(factory=list)
    _own: set[str] = attrs.field(factory=set)
    _first: Json = attrs.field(factory=dict)
    _after: int | None = None
    _real: int = 0

    def tell(self, kind: str, /, **fields: Any) -> None:
        """Send a frame without `seq`."""
        body = {"type": kind, "content": "", "timestamp": "2026-01-02T03:04:05.123Z", "session_id": self.sid}
        if "seq" not in fields:
            self._own.add(kind)
        self._pass({**body, **fields})

    def _pass(self, frame: Json) -> None:
        """Give the page a frame of its session, now and whenever it attaches again."""
        self._past.append(frame)
        self._send(frame)

    def _send(self, frame: Json) -> None:
        assert self._page_side is not None
        self._page_side.send(json.dumps(frame))

    def play(self, kind: str, turn: str | None = "t1", /, **fields: Any) -> int:
        """Send the next event; return its `seq`."""
        self.seq += 1
        place = {"epoch": 1, "seq": self.seq, "first_seq": self.seq, "turn_id": turn, "device_id": "ipad"}
        self.tell(kind, **{**place, **fields})
        return self.seq

    def ask(self, text: str = "do it", turn: str = "t1") -> None:
        """Begin a turn."""
        self.play("user_message", turn, message_id=f"m-{turn}", content=text, attachments=[])
        self.play("turn_started", turn, message_id=f"m-{turn}")

    def say(self, text: str, block: str = "a", turn: str = "t1") -> None:
        """Let the agent write a block."""
        self.play("message", turn, content=text, block=block, offset=0)

    def tool(self, name: str, given: Mapping[str, Any], output: str | None = "done", **more: Any) -> str:
        """Let the agent call a tool; without an `output` it still runs."""
        call = f"c{self.seq + 1}"
        turn, parent = more.pop("turn", "t1"), more.pop("parent", None)
        self.play("tool_started", turn, tool_id=call, name=name, input=dict(given), parent_tool_id=parent)
        if output is not None:
            result = {"output": output, "is_error": False, "duration_ms": 1200, **more}
            self.play("tool_finished", turn, tool_id=call, name=name, **result)
        return call

    def request(self, tool: str, given: Mapping[str, Any], request: str = "r1", **more: Any) -> None:
        """Let the agent ask for a decision."""
        options = ["allow", "deny", "allow_session"]
        fields = {"request_id": request, "tool": tool, "input": dict(given), "options": options, **more}
        self.play("permission_requested", **fields)

    def end(self, turn: str = "t1", html: str | None = None, kind: str = "complete", **more: Any) -> None:
        """End the turn; with `html` its answer is rendered."""
        self.play(kind, turn, message_count=2, **more)
        if html is not None:
            self.tell("rendered", turn_id=turn, html=html)

    def cut(self) -> None:
        """End the page's socket; it comes back by itself."""
        assert self._page_side is not None
        self._page_side.close()

    def frames(self, kind: str) -> list[Json]:
        """Return what the page has sent of a kind."""
        return [frame for frame in self.sent if frame["type"] == kind]

    def wait_sent(self, kind: str, count: int = 1) -> Json:
        """Wait for a frame of the page; return it."""
        self._wait(lambda: len(self.frames(kind)) >= count)
        return self.frames(kind)[count - 1]

    def wait_attached(self) -> None:
        """Wait until the page knows the session."""
        self._wait(lambda: self.is_attached)

    def _wait(self, done: Callable[[], bool]) -> None:
        """Let the page's frames in until this is so."""
        for _ in range(600):
            if done():
                return
            self.screen.page.wait_for_timeout(50)
        raise AssertionError(f"it did not come; the page sent {self.sent}")

    def _from_session(self, frame: Json) -> None:
        """Pass on what the server says of this session."""
        kind, seq = frame["type"], frame.get("seq", 0)
        if kind == "attached":
            self._attach(frame)
        elif "epoch" not in frame or kind == "accepted":  # not an event; `accepted` names one
            if kind not in self._own:
                self._send(frame)
        elif seq <= self._first["head_seq"]:
            self._pass(frame)  # the history of the first attach
        elif seq > self._real:
            first = max(int(frame.get("first_seq") or seq), self._real + 1)
            self._real = seq
            place = {"first_seq": self.seq + 1, "seq": self.seq + 1 + seq - first}
            self.seq = place["seq"]
            self._pass({**frame, **place})

    def _attach(self, frame: Json) -> None:
        if not self._first:
            self._first, self.seq, self._real = frame, frame["head_seq"], frame["head_seq"]
            self._send({**frame, **self.changed})
            self.is_attached = True
            return
        replay = ("snapshot", self._first["from_seq"] - 1) if self._after is None else ("ok", self._after)
        place = {"replay": replay[0], "from_seq": replay[1] + 1, "head_seq": self.seq}
        self._send({**frame, **self.changed, **place})
        for one in self._past:
            if "seq" not in one or one["seq"] > (self._after or 0):
                self._send(one)

    def connect(self, page_side: WebSocketRoute) -> None:
        """Stand between the page and the server."""
        self._page_side = page_side
        server_side = page_side.connect_to_server()

        def from_page(message: str | bytes) -> None:
            frame: Json = json.loads(message)
            self.sent.append(frame)
            if frame["type"] == "attach" and frame["session_id"] == self.sid and self._first:
                self._after = (frame.get("after") or {}).get("seq")
                after = {"epoch": self._first["epoch"], "seq": self._real}
                message = json.dumps({**frame, "after": after})
            if frame["type"] not in self.held:
                server_side.send(message)

        def from_server(message: str | bytes) -> None:
            frame: Json = json.loads(message)
            if frame["type"] == "ready":
                message = json.dumps({**frame, **self.ready})
            elif frame.get("session_id") == self.sid:
                self._from_session(frame)
                return
            page_side.send(message)

        page_side.on_message(from_page)
        server_side.on_message(from_server)


def open_stage(
    site: Site, sid: str, *, size: Size = PHONE, changed: Json | None = None, **more: Any
) -> Stage:
    """Open an empty session whose events the test sends."""
    site.make(sid)
    screen = site.screen(size=size, **more)
    stage = Stage(screen, sid, changed=changed or {})
    screen.page.route_web_socket(re.compile("/api/ws$"), lambda page_side: stage.connect(page_side))
    screen.go(f"#key={site.key}")
    expect(screen.sessions).to_be_visible()
    screen.open(sid)
    stage.wait_attached()
    return stage
