"""One conversation at the desk and on a phone: what can happen to it, and what must hold after each word."""

from __future__ import annotations

import itertools
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Protocol

import attrs
import trio

from tests.e2e.agents import START_S, Agents, begin, end_of
from tests.e2e.desk import listed_at_desk
from tests.e2e.shared_server import open_http
from tests.support.device import Device, Json
from tests.support.server import ROOT
from tests.support.tui import Tui

__all__ = ["Act", "Round", "SaysTexts"]

ACTS = 5
"""Random acts of a round, after its first words at the desk."""

Act = Callable[[], Awaitable[None]]


class SaysTexts(Protocol):
    """A request to a model service."""

    @property
    def user_texts(self) -> tuple[str, ...]:
        """What a person said, oldest first."""
        ...


@attrs.define(eq=False)
class Round:
    """One conversation. `said`: every word of it, each unlike all others."""

    agents: Agents
    phone: Device
    chance: random.Random
    name: str
    said: list[str] = attrs.field(factory=list)
    acts: list[str] = attrs.field(factory=list)
    sid: str = ""
    tui: Tui | None = None
    _numbers: Iterator[int] = attrs.field(factory=itertools.count)

    async def run(self) -> None:
        """Begin at the desk, open it on the phone, and act."""
        try:
            await self.begin()
            for _ in range(ACTS):
                act = self.chance.choice(self.choices())
                self.acts.append(act.__name__)
                await act()
            self.acts.append("phone_says")
            await self.phone_says()
        finally:
            if self.tui is not None:
                self.tui.end()

    async def begin(self) -> None:
        """Say the first word at the desk, and open the conversation on the phone."""
        raise NotImplementedError

    def choices(self) -> list[Act]:
        """Return what can happen now."""
        raise NotImplementedError

    async def phone_says(self) -> None:
        """Write on the phone, and wait for the answer."""
        word = self.word()
        mine = await begin(self.phone, self.sid, word)
        ended = await end_of(self.phone, mine["turn_id"])
        assert ended["type"] == "complete", ended
        self.check(word)

    async def desk_says(self) -> None:
        """Write in the terminal, and wait until the phone has it all."""
        assert self.tui is not None
        start, word = len(self.phone.frames), self.word()
        await self.tui.say(word)
        said = await self.comes(word, start)
        await end_of(self.phone, said["turn_id"])
        self.check(word)

    async def comes(self, word: str, start: int) -> Json:
        """Return the message of the terminal that has a word, once the phone has it."""
        return await self.phone.wait_for(
            lambda frame: frame["type"] == "user_message" and word in frame["content"],
            start=start,
            limit_s=START_S,
        )

    async def desk_quits(self) -> None:
        """End the terminal's program in order."""
        await self.leave(signal.SIGTERM)

    async def desk_dies(self) -> None:
        """Kill it, so that its entry in the registry stays."""
        await self.leave(signal.SIGKILL)

    async def leave(self, sign: signal.Signals) -> None:
        """End the terminal's program by a signal."""
        assert self.tui is not None
        tui, self.tui = self.tui, None
        await trio.to_thread.run_sync(tui.end, sign)

    async def open(self, agent: str, word: str) -> None:
        """Open the conversation that has a word on the phone."""
        async with open_http(self.agents.server) as http:
            entry = await listed_at_desk(http, q=word)
            made = await http.post(f"/api/desk/sessions/{agent}/{entry['native_id']}/open")
        self.sid = made.json()["session_id"]
        await self.phone.attach(self.sid)

    def resume(self, env: Mapping[str, str]) -> Tui:
        """Take the session back to a terminal."""
        data = str(self.agents.server.data)
        command = [sys.executable, "-m", "builderos", "resume", self.sid, "--data", data]
        more = {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
        return Tui(command, self.agents.workspace, {**env, **more})

    def word(self) -> str:
        """Return a new word."""
        self.said.append(f"{self.name}-word-{next(self._numbers)}-end")
        return self.said[-1]

    def requests(self) -> Sequence[SaysTexts]:
        """Return what the model service was asked so far."""
        raise NotImplementedError

    def check(self, word: str) -> None:
        """Assert that the request with the newest word had all words before it."""
        asked = [one for one in self.requests() if any(word in text for text in one.user_texts)]
        seen = "\n".join(asked[0].user_texts)
        missing = [one for one in self.said if one not in seen]
        assert not missing, f"{self.acts}: the agent did not see {missing}"
