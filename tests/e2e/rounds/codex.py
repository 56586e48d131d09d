"""Rounds with Codex, where a terminal and a phone share one program."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from builderos.commands.resume import program_of
from tests.e2e.agents import START_S, begin, end_of
from tests.e2e.desk import CODEX_READY, QUIET
from tests.e2e.rounds.base import Act, Round, SaysTexts
from tests.e2e.shared_server import open_http
from tests.standin.openai import codex_env
from tests.support.tui import Tui

__all__ = ["TAKEN_BACK", "CodexRound"]

ARRIVES_S = 5.0
"""How long a word of the terminal may take to the phone, before it is looked for in the record."""

TAKEN_BACK = "the terminal took a word back"


class CodexRound(Round):
    """A terminal that joins the hub's program, and one that runs alone between two turns."""

    def env(self) -> dict[str, str]:
        """Return the terminal's environment."""
        return codex_env(self.agents.codex.url, str(self.agents.home), QUIET)

    async def begin(self) -> None:
        word = self.word()
        await self._alone(word)
        await self.open("codex", word)

    def choices(self) -> list[Act]:
        if self.tui is None:
            return [self.phone_says, self.desk_joins, self.desk_joins, self.desk_alone]
        shared = [self.phone_says, self.desk_says, self.both_say, self.both_say]
        return [*shared, self.desk_quits, self.desk_dies]

    async def desk_joins(self) -> None:
        """Join the session, whose program is started for that if it does not run."""
        self.tui = self.resume(self.env())
        await self.tui.wait(CODEX_READY)

    async def desk_alone(self) -> None:
        """Take the session back, and write in a program of its own."""
        async with open_http(self.agents.server) as http:
            given = await http.post(f"/api/sessions/{self.sid}/give-back")
            assert given.status_code == 200, given.text
        start, word = len(self.phone.frames), self.word()
        await self._alone("resume", given.json()["native_id"], word)
        said = await self.phone.wait_for("user_message", content=word, start=start, limit_s=START_S)
        await end_of(self.phone, said["turn_id"])
        self.check(word)

    async def both_say(self) -> None:
        """Write on both at once: each word begins a turn, or comes into that of the other.

        Codex's terminal sometimes takes its word back into its box, if a turn of another client begins at that moment
        (seen with 0.163.0). Such a word is in no record and counts as not said; it may go with the next one.
        """
        assert self.tui is not None
        start, here, there = len(self.phone.frames), self.word(), self.word()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._types, self.tui, there)
            mine = await begin(self.phone, self.sid, here)
        ended = await end_of(self.phone, mine["turn_id"])
        assert ended["type"] == "complete", ended
        said = None
        with trio.move_on_after(ARRIVES_S):
            said = await self.comes(there, start)
        if said is None and not await trio.to_thread.run_sync(self._is_recorded, there):
            self.said.remove(there)
            self.acts.append(TAKEN_BACK)
            return
        said = said or await self.comes(there, start)
        ended = await end_of(self.phone, said["turn_id"])
        assert ended["type"] == "complete", ended

    def _is_recorded(self, word: str) -> bool:
        """Tell whether Codex or the model service has ever had a word."""
        records = (self.agents.home / ".codex" / "sessions").rglob("*.jsonl")
        asked = (text for one in self.requests() for text in one.user_texts)
        return any(word in one.read_text() for one in records) or any(word in text for text in asked)

    async def _types(self, tui: Tui, text: str) -> None:
        """Type a line while the terminal draws something else too, so that the line is not there in one piece."""
        start = tui.place
        tui.press(text)
        await tui.wait("end", since=start)
        tui.press("\r")

    async def _alone(self, *words: str) -> None:
        command = [str(program_of("codex", None)), "exec", "--skip-git-repo-check", *words]
        with trio.fail_after(START_S):
            await trio.run_process(
                command, env=self.env(), cwd=self.agents.workspace, capture_stdout=True, capture_stderr=True
            )

    def requests(self) -> Sequence[SaysTexts]:
        return self.agents.codex.requests
