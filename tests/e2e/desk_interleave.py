"""Rounds of random acts at the desk and on a phone, with the real Claude Code; no word may be missing from what it sees.

The suite runs a few. `python -m tests.e2e.desk_interleave 50 --seed 7` runs as many as wanted.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import attrs
import trio

from tests.e2e.agents import START_S, Agents, begin, end_of, open_agents
from tests.e2e.desk import CLAUDE, READY, claude_env
from tests.e2e.world import open_http
from tests.support.device import Device, Json
from tests.support.server import ROOT
from tests.support.tui import Tui, claude_home

__all__ = ["run_rounds"]

ACTS = 5
"""Random acts of a round, after its first words at the desk."""


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

    async def run(self) -> None:
        """Begin at the desk, open it on the phone, and act."""
        try:
            await self._begin()
            for _ in range(ACTS):
                acts = [self.phone_says]
                acts += [self.desk_says, self.desk_says, self.desk_quits, self.desk_dies]
                if self.tui is None:
                    acts = [self.phone_says, self.desk_resumes]
                act = self.chance.choice(acts)
                self.acts.append(act.__name__)
                await act()
            self.acts.append("phone_says")
            await self.phone_says()
        finally:
            if self.tui is not None:
                self.tui.end()

    async def _begin(self) -> None:
        workspace = self.agents.workspace
        self.tui = Tui([CLAUDE], workspace, claude_env(self.agents) | {"TERM": "xterm-256color"})
        await self.tui.wait(READY)
        word = self._word()
        await self.tui.say(word)
        await self.tui.wait(f"1 user messages; last: {word}")
        async with open_http(self.agents.server) as http:
            found: list[Json] = []
            with trio.fail_after(START_S):  # noqa: ASYNC912 - asks at least once
                while not found:  # the program shows an answer before its record has it
                    found = (await http.get("/api/desk/sessions", params={"q": word})).json()["sessions"]
            made = await http.post(f"/api/desk/sessions/claude/{found[0]['native_id']}/open")
        self.sid = made.json()["session_id"]
        await self.phone.attach(self.sid)

    async def phone_says(self) -> None:
        """Write on the phone; what is open in a terminal is taken over first."""
        if self.tui is not None:
            start = len(self.phone.frames)
            refused = await self.phone.send(self.sid, "not now")
            assert refused["code"] == "open_elsewhere", refused
            await self.phone.say("take_over", session_id=self.sid, force=True)
            await self.phone.wait_for(
                lambda frame: frame["type"] == "session_changed" and frame["where"] is None, start=start
            )
            self.tui.end()
            self.tui = None
        word = self._word()
        mine = await begin(self.phone, self.sid, word)
        ended = await end_of(self.phone, mine["turn_id"])
        assert ended["type"] == "complete", ended
        self._check(word)

    async def desk_says(self) -> None:
        """Write in the terminal, and wait until the phone has it all."""
        assert self.tui is not None
        start, word = len(self.phone.frames), self._word()
        await self.tui.say(word)
        said = await self.phone.wait_for("user_message", content=word, start=start, limit_s=START_S)
        await end_of(self.phone, said["turn_id"])
        self._check(word)

    async def desk_quits(self) -> None:
        """End the terminal's program in order."""
        assert self.tui is not None
        self.tui.end()
        self.tui = None
        await trio.lowlevel.checkpoint()

    async def desk_dies(self) -> None:
        """Kill it, so that its entry in the registry stays."""
        assert self.tui is not None
        self.tui.end(signal.SIGKILL)
        self.tui = None
        await trio.lowlevel.checkpoint()

    async def desk_resumes(self) -> None:
        """Take the session back to a terminal."""
        command = [
            sys.executable,
            "-m",
            "builderos",
            "resume",
            self.sid,
            "--data",
            str(self.agents.server.data),
        ]
        env = claude_env(self.agents) | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
        self.tui = Tui(command, self.agents.workspace, env)
        await self.tui.wait(READY)

    def _word(self) -> str:
        self.said.append(f"{self.name}-word-{len(self.said)}-end")
        return self.said[-1]

    def _check(self, word: str) -> None:
        """Assert that the request with the newest word had all words before it."""
        requests = [
            one for one in self.agents.claude.requests if any(word in text for text in one.user_texts)
        ]
        seen = "\n".join(requests[0].user_texts)
        missing = [one for one in self.said if one not in seen]
        assert not missing, f"{self.acts}: the agent did not see {missing}"


async def run_rounds(folder: Path, count: int, seed: int) -> None:
    """Run rounds one after another on one server."""
    async with open_agents(folder) as agents, agents.server.device() as phone:
        claude_home(agents.home, agents.workspace)
        await phone.say("watch_sessions")
        for number in range(count):
            one = Round(agents, phone, random.Random(seed + number), f"r{seed + number}")
            try:
                await one.run()
            except BaseException as error:
                error.add_note(f"seed {seed + number}, acts {one.acts}")
                raise


def main() -> None:
    """Run the rounds that the command line asks for."""
    parser = argparse.ArgumentParser(description="Random acts at the desk and on a phone.")
    parser.add_argument("rounds", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    failed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.rounds):
        try:
            with tempfile.TemporaryDirectory(prefix="desk-") as folder:
                trio.run(run_rounds, Path(folder), 1, seed)
        except Exception:
            failed += 1
            traceback.print_exc()
        else:
            print(f"seed {seed}: ok", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
