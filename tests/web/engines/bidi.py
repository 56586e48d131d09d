"""A connection that speaks WebDriver BiDi: commands in order, events kept for those who ask."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import ClientConnection, connect

__all__ = ["Bidi", "BidiError", "open_bidi"]

ANSWER_S = 60.0
"""The longest wait for an answer: longer than a page's script may wait."""

Json = dict[str, Any]


class BidiError(Exception):
    """The browser refused a command."""


class Bidi:
    """One connection. `events` has what came by itself, read with each answer."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.events: list[Json] = []

    def command(self, method: str, **params: Any) -> Json:
        """Send a command and return its result. BidiError if the browser refuses it."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        end = time.monotonic() + ANSWER_S
        while True:
            left = max(0.0, end - time.monotonic())
            try:
                frame: Json = json.loads(self._socket.recv(timeout=left))
            except TimeoutError:
                raise BidiError(f"{method}: no answer within {ANSWER_S:g} s") from None
            if frame.get("id") != number:
                self.events.append(frame)
            elif frame["type"] == "error":
                raise BidiError(f"{method}: {frame['error']}: {frame['message'][:500]}")
            else:
                result: Json = frame["result"]
                return result


@contextmanager
def open_bidi(url: str) -> Iterator[Bidi]:
    """Connect to the browser's address."""
    with connect(
        url, proxy=None, compression=None, max_size=None, max_queue=None, ping_interval=None
    ) as socket:
        yield Bidi(socket)
