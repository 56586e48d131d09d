"""Five hundred sessions at once, and the server dies in the middle."""

from __future__ import annotations

import pytest
import trio

from tests.e2e.shared_server import all_events, open_http
from tests.support.device import Json
from tests.support.invariants import committed_of, journal_problems, view_problems
from tests.support.server import Server, open_server

SESSIONS = 500
CONNECTIONS = 5
WORDS = "/words 10 100"
"""A second long: when the last sessions have begun, the first are still at it."""

LIMIT_S = 90.0
"""It takes some seconds."""


class Crowd:
    """One connection with a hundred sessions: what it saw, and which are through."""

    def __init__(self, server: Server, names: list[str]) -> None:
        self.server, self.names = server, names
        self.seen: dict[str, list[Json]] = {name: [] for name in names}
        self.ended: set[str] = set()

    async def begin(self, enough: trio.Event) -> None:
        """Send to every session; continue until the server dies."""
        async with self.server.device() as device:
            for name in self.names:
                await device.attach(name, agent="echo")
            for name in self.names:
                await device.say("send", session_id=name, message_id="m", content=WORDS)
            await device.wait_for("message", start=0, limit_s=LIMIT_S)
            enough.set()
            await device.wait_closed(LIMIT_S)
            self._keep(device.frames)

    async def end(self) -> None:
        """Come back to every session; send again where no answer came; stay until all are through."""
        async with self.server.device() as device:
            for name in self.names:
                seen = self.seen[name]
                after = {"epoch": 1, "seq": seen[-1]["seq"]} if seen else None
                await device.attach(name, after=after, history=1000)
                await device.say("send", session_id=name, message_id="m", content=WORDS)
            place = 0  # what came between two attachments counts too
            while len(self.ended) < len(self.names):
                await device.wait_for(lambda frame: True, start=place, limit_s=LIMIT_S)
                self._keep(device.frames[place : place + 1])
                place += 1

    def _keep(self, frames: list[Json]) -> None:
        for frame in frames:
            if "seq" in frame and "epoch" in frame:
                self.seen[frame["session_id"]].append(frame)
                if frame["type"] in ("complete", "error", "interrupted"):
                    self.ended.add(frame["session_id"])


async def test_five_hundred_sessions(tmp_path_factory: pytest.TempPathFactory) -> None:
    names = [f"s{number}" for number in range(SESSIONS)]
    share = SESSIONS // CONNECTIONS
    async with open_server(tmp_path_factory.mktemp("t")) as server:
        crowds = [Crowd(server, names[start : start + share]) for start in range(0, SESSIONS, share)]
        with trio.fail_after(LIMIT_S):
            async with trio.open_nursery() as nursery:
                begun = [trio.Event() for _ in crowds]
                for crowd, enough in zip(crowds, begun, strict=True):
                    nursery.start_soon(crowd.begin, enough)
                for enough in begun:
                    await enough.wait()
                await server.kill9()
            await server.restart()
            async with trio.open_nursery() as nursery:
                for crowd in crowds:
                    nursery.start_soon(crowd.end)
        async with open_http(server) as http:
            for crowd in crowds:
                for name in crowd.names:
                    journal = [committed_of(frame) for frame in await all_events(http, name)]
                    assert journal_problems(journal) == []
                    assert [item.event.kind for item in journal].count("complete") == 1
                    seen = [committed_of(frame) for frame in crowd.seen[name]]
                    assert view_problems(name, journal, seen) == []
