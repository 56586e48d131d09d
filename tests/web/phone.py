"""A device beside the browser: version 3 over the `websockets` library, without Trio."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from websockets.sync.client import ClientConnection, connect

from tests.e2e.shared_server import Shared

__all__ = ["Phone", "make_session", "open_phone"]

LIMIT_S = 30.0

Json = dict[str, Any]


class Phone:
    """One connection. `frames` is all that came."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.frames: list[Json] = []

    def say(self, kind: str, **fields: Any) -> None:
        self._socket.send(json.dumps({"type": kind, **fields}))

    def wait_for(self, kind: str, test: Callable[[Json], bool] = lambda _: True) -> Json:
        """Return the next frame of a kind that passes the test. TimeoutError after `LIMIT_S`."""
        return self._next(lambda frame: frame["type"] == kind and test(frame))

    def _next(self, test: Callable[[Json], bool]) -> Json:
        end = time.monotonic() + LIMIT_S  # heartbeats come all the time
        while True:
            frame: Json = json.loads(self._socket.recv(timeout=max(0.0, end - time.monotonic())))
            self.frames.append(frame)
            if test(frame):
                return frame

    def attach(self, session_id: str, agent: str | None = "echo", **more: Any) -> Json:
        self.say("attach", session_id=session_id, **({"agent": agent} if agent else {}), **more)
        return self.wait_for("attached")

    def send(self, session_id: str, content: str, **more: Any) -> str:
        message_id = uuid4().hex
        self.say("send", session_id=session_id, message_id=message_id, content=content, **more)
        self.wait_for("accepted")
        return message_id

    def ask(self, session_id: str, content: str) -> Json:
        """Send and wait for the turn's end."""
        message_id = self.send(session_id, content)
        turn = self.wait_for("turn_started", lambda one: one["message_id"] == message_id)["turn_id"]
        ends = ("complete", "error", "interrupted")
        return self._next(lambda frame: frame["type"] in ends and frame.get("turn_id") == turn)


@contextmanager
def open_phone(url: str, key: str) -> Iterator[Phone]:
    """Connect and sign in."""
    address = url.replace("http", "ws", 1) + "/api/ws"
    with connect(
        address,
        additional_headers={"X-API-Key": key},
        proxy=None,
        compression=None,
        max_size=2**20,
        max_queue=None,  # else nothing reads the answer to our close behind frames that the test left alone
        ping_interval=None,
        open_timeout=LIMIT_S,
    ) as socket:
        phone = Phone(socket)
        phone.wait_for("ready")
        yield phone


def make_session(server: Shared, session_id: str, *messages: str, agent: str = "echo") -> None:
    """Make a session with these turns in it."""
    with open_phone(server.url, server.key) as phone:
        phone.attach(session_id, agent)
        for message in messages:
            phone.ask(session_id, message)
