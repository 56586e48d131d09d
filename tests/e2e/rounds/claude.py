"""Rounds with Claude Code, where one program at a time has the conversation."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from tests.e2e.agents import START_S, begin, end_of
from tests.e2e.desk import CLAUDE, READY, claude_env
from tests.e2e.rounds.base import Act, Round, SaysTexts
from tests.standin.replies import Answer, Text
from tests.support.tui import Tui

__all__ = ["ClaudeRound"]


class ClaudeRound(Round):
    """Two programs in turn, and for a moment at once."""

    async def begin(self) -> None:
        workspace = self.agents.workspace
        self.tui = Tui([CLAUDE], workspace, claude_env(self.agents) | {"TERM": "xterm-256color"})
        await self.tui.wait(READY)
        word = self.word()
        await self.tui.say(word)
        await self.tui.wait(f"1 user messages; last: {word}")
        await self.open("claude", word)

    def choices(self) -> list[Act]:
        if self.tui is None:
            return [self.phone_says, self.desk_resumes, self.desk_opens_in_our_turn]
        return [self.phone_says, self.desk_says, self.desk_says, self.desk_quits, self.desk_dies]

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
            await self.desk_quits()
        await super().phone_says()

    async def desk_resumes(self) -> None:
        """Take the session back to a terminal."""
        self.tui = self.resume(claude_env(self.agents))
        await self.tui.wait(READY)

    async def desk_opens_in_our_turn(self) -> None:
        """Open it by the program's own command while an answer is written here, and write there.

        The terminal does not know that turn. The next message from the phone brings it.
        """
        gate, word, start = trio.Event(), self.word(), len(self.phone.frames)
        self.agents.claude.script(Answer.of(Text.of("one ", gate, "two")))
        mine = await begin(self.phone, self.sid, word)
        await self.phone.wait_for("message", turn_id=mine["turn_id"], start=start, limit_s=START_S)
        native_id = self.sid.removeprefix("desk-claude-")
        env = claude_env(self.agents) | {"TERM": "xterm-256color"}
        self.tui = Tui([CLAUDE, "--resume", native_id], self.agents.workspace, env)
        await self.tui.wait(READY)
        gate.set()
        assert (await end_of(self.phone, mine["turn_id"]))["type"] == "complete"
        there = self.word()
        await self.tui.say(there)
        said = await self.phone.wait_for("user_message", content=there, start=start, limit_s=START_S)
        await end_of(self.phone, said["turn_id"])
        self.acts.append("phone_says")
        await self.phone_says()

    def requests(self) -> Sequence[SaysTexts]:
        return self.agents.claude.requests
