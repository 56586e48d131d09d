"""The full-screen client without a server: frames go in as if they came over the wire, and a pilot presses keys."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import orjson
from textual.pilot import Pilot

from builderos.client.wire.frames import decode
from builderos.client.wire.server import NoServerError, Server
from builderos.terminal.app import TerminalApp
from builderos.terminal.client import Client
from builderos.terminal.keep import Keep
from builderos.terminal.screens.session import SessionScreen

__all__ = ["Sent", "Stage", "no_server", "on_stage"]

TIME: Final = "2026-11-29T12:00:00.000Z"
NOW_MS: Final = 1_795_953_600_000


def no_server() -> Server:
    raise NoServerError("there is none in this test")


class Sent:
    """Stands for the link: keeps what the client sends."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []

    def send(self, frame: str) -> None:
        self.frames.append(orjson.loads(frame))

    def expect(self, within_s: float) -> None:
        """Stands for doubting the connection."""

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the frames of a kind, without their type."""
        return [
            {name: one[name] for name in one if name != "type"} for one in self.frames if one["type"] == kind
        ]


@attrs.define(eq=False)
class Stage:
    """One terminal on a stage. `seq` is that of the last event."""

    app: TerminalApp
    pilot: Pilot[str]
    link: Sent
    session_id: str = "trip"
    seq: int = 0

    @property
    def screen(self) -> SessionScreen:
        return next(one for one in reversed(self.app.screen_stack) if isinstance(one, SessionScreen))

    def frame(self, kind: str, /, **fields: Any) -> None:
        """Let a frame come that has no seq."""
        self._come({"type": kind, "content": "", "timestamp": TIME, "session_id": self.session_id, **fields})

    def event(self, kind: str, /, **fields: Any) -> None:
        """Let the next event come."""
        self.seq += 1
        self.frame(kind, epoch=1, seq=self.seq, **fields)

    def attached(self, **fields: Any) -> None:
        known = {
            "epoch": 1,
            "head_seq": self.seq,
            "from_seq": self.seq + 1,
            "replay": "snapshot",
            "agent_type": "echo",
            "title": "",
            "state": "idle",
            "settings": {"workspace": "/code/trip"},
            "queue": [],
            "pending": [],
            "devices": [],
            "read_seq": 0,
        }
        self.frame("attached", **{**known, **fields})

    def turn(
        self,
        text: str,
        *pieces: str,
        turn_id: str = "t1",
        device_id: str = "ipad",
        end: str = "complete",
        message_id: str = "",
    ) -> None:
        """Let a whole turn come."""
        message_id = message_id or f"m-{turn_id}"
        self.event("user_message", message_id=message_id, content=text, device_id=device_id, turn_id=turn_id)
        self.event("turn_started", message_id=message_id, turn_id=turn_id)
        offset = 0
        for piece in pieces:
            self.event("message", content=piece, block="b1", offset=offset, turn_id=turn_id)
            offset += len(piece)
        if end:
            self.event(end, turn_id=turn_id)

    async def shown(self) -> str:
        """Return the text of the screen, once it is drawn."""
        await self.settle()
        return "\n".join(line.rstrip() for line in self.lines())

    async def settle(self) -> None:
        """Let everything be drawn."""
        await self.pilot.pause()
        self.app._draw()
        await self.pilot.pause()

    def lines(self) -> list[str]:
        """Return the lines of the screen as they are."""
        strips = self.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip) for strip in strips]

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settle()

    def _come(self, body: Mapping[str, Any]) -> None:
        self.app.client.wire._take(decode(orjson.dumps(body)))


def on_stage(
    folder: Path,
    act: Callable[[Stage], Awaitable[None]],
    *,
    size: tuple[int, int] = (80, 24),
    attach: bool = True,
    **how: Any,
) -> None:
    """Run a test on a terminal of its own, in an event loop of asyncio. `how` goes to `Client`."""

    async def run() -> None:
        counter = iter(range(10_000))
        keep = Keep(folder, "here")
        client = Client(
            no_server, keep, random.Random(1), lambda: f"id-{next(counter)}", lambda: NOW_MS, **how
        )
        client.open("trip")
        link = Sent()
        client.wire._link = link  # type: ignore[assignment]
        client.wire.state = "live"
        app = TerminalApp(client)
        client.view = app
        async with app.run_test(size=size) as pilot:
            stage = Stage(app, pilot, link)
            if attach:
                stage.attached()
            await stage.settle()
            await act(stage)

    asyncio.run(run())
