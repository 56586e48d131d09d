"""The commands of `builderos attach` that steer a session: settings, messages for later, forks, tidying."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import attrs
import trio

from builderos.client.moments import FORMS, clock_time, moment_of, wire_moment
from builderos.client.state import RefusedError
from builderos.client.steering import SETTINGS, Scheduled, Steering
from builderos.client.terminal import one_line
from builderos.client.wire.follower import Follower
from builderos.client.wire.http import call
from builderos.client.wire.server import LinkLostError, NoServerError, Server

__all__ = ["HELP", "OWN_COMMANDS", "Orders"]

OWN_DEFAULT: Final = "-"
"""What is typed for the agent's own default."""

_TIDY: Final = {
    "/pin": {"pinned": True},
    "/unpin": {"pinned": False},
    "/archive": {"archived": True},
    "/unarchive": {"archived": False},
}

_HELP: Final = {
    "/interrupt": "stops the turn",
    "/cancel": "takes your last message back; /cancel N takes back number N of /queue",
    "/mode [MODE]": "changes what the agent may do without asking; alone it lists the modes",
    "/model [MODEL]": "changes the model; alone it lists the models",
    "/effort [EFFORT]": f"changes the effort; {OWN_DEFAULT} instead of a word gives a setting back to the agent",
    "/plan": "has the agent plan first and change nothing",
    "/status": "shows settings, context, cost and limits",
    "/later TIME TEXT": f"sends TEXT at TIME: {FORMS}",
    "/queue": "lists the messages for later",
    "/sendnow [N]": "sends message N of that list now",
    "/fork [TITLE]": "makes a new session with the history up to the last turn that ended",
    "/renew": "has the agent start again, with the conversation as text",
    "/takeover [force]": "ends the program that has the session open in a terminal",
    "/pin, /unpin": "puts the session at the top of the list, or back",
    "/archive, /unarchive": "takes the session out of the list, or back",
    "/changes [all]": "shows what the last turn changed, or everything",
    "/undo [force]": "takes the last turn's changes back; /redo takes that back",
    "/files [PATH]": "shows a folder or a file; /files ?NAME finds names",
    "/quit": "leaves",
}

HELP: Final = "\n".join(
    [
        *(f"  {command:<22}{meaning}" for command, meaning in _HELP.items()),
        "  Any other line is sent, commands of the agent such as /compact too. //model sends the agent's own /model.",
    ]
)

OWN_COMMANDS: Final = sorted(
    {
        "/help",
        "/redo",
        *(word.strip(",") for command in _HELP for word in command.split() if word.startswith("/")),
    }
)


@attrs.define(eq=False)
class Orders:
    """Carries such commands out.

    Attributes:
        find: returns where the server is.
        say: shows a line.
        send: sends a message, at once or at a moment of the protocol.
        clock: milliseconds since 1970 in UTC.
    """

    steering: Steering
    find: Callable[[], Server]
    say: Callable[[str], None]
    send: Callable[[Follower, str, str | None], Awaitable[None]]
    clock: Callable[[], int]

    async def obey(self, follower: Follower, line: str) -> bool:
        """Carry out a line that is such a command; tell whether it was."""
        await trio.lowlevel.checkpoint()
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        if word.removeprefix("/") in SETTINGS and word.startswith("/"):
            await self._configure(follower, word.removeprefix("/"), rest)
        elif word == "/later":
            await self._later(follower, rest)
        elif word == "/sendnow":
            await self._with_scheduled(follower, "send_now", rest)
        elif word == "/cancel" and rest:
            await self._with_scheduled(follower, "cancel", rest)
        elif word == "/fork":
            await self._fork(follower, rest)
        elif line in _TIDY:
            if await self.act(follower, "organize", **_TIDY[line]):
                self.say(f"— {line.removeprefix('/')}: done —")
        elif line == "/renew":
            await self.act(follower, "renew")
        elif line in ("/takeover", "/takeover force"):
            await self.act(follower, "take_over", force=line.endswith("force"))
        elif line == "/plan":
            await self._plan(follower)
        elif line == "/status":
            self.say(f"— {self.steering.status()} —")
        elif line == "/queue":
            self.say(self._queue())
        else:
            return False
        return True

    async def act(self, follower: Follower, kind: str, **fields: Any) -> bool:
        """Give the server a command; tell, and say if not, whether it could go out."""
        went_out = await follower.act(kind, **fields)
        if not went_out:
            self.say("— not connected; try again in a moment —")
        return went_out

    async def _configure(self, follower: Follower, name: str, wanted: str) -> None:
        choices = self.steering.choices(name)
        if not wanted:
            known = ", ".join(one_line(one) for one in choices) or "the agent has named none yet"
            self.say(f"— {self.steering.status()} —\n— /{name}: {known} —")
            return
        value = None if wanted == OWN_DEFAULT else wanted
        await self.act(follower, "configure", settings={SETTINGS[name]: value})

    async def _plan(self, follower: Follower) -> None:
        mode = self.steering.plan_mode()
        if mode is None:
            self.say("— this agent has named no mode for planning; /mode lists what it has —")
        else:
            await self.act(follower, "configure", settings={SETTINGS["mode"]: mode})

    async def _later(self, follower: Follower, rest: str) -> None:
        typed, _, text = rest.partition(" ")
        at = moment_of(typed, datetime.fromtimestamp(self.clock() / 1000).astimezone())
        if at is None or not text.strip():
            self.say(f"— not sent: it is /later TIME TEXT, and TIME is {FORMS} —")
            return
        await self.send(follower, text.strip(), wire_moment(at))

    async def _with_scheduled(self, follower: Follower, kind: str, number: str) -> None:
        found = self._scheduled(number)
        if found is None:
            self.say("— there is no such message for later; /queue lists them —")
        else:
            await self.act(follower, kind, message_id=found.message_id)

    def _scheduled(self, number: str) -> Scheduled | None:
        waiting = list(self.steering.scheduled.values())
        if not number:
            return waiting[0] if len(waiting) == 1 else None
        place = int(number) if number.isascii() and number.isdigit() and len(number) < 4 else 0
        return waiting[place - 1] if 1 <= place <= len(waiting) else None

    def _queue(self) -> str:
        waiting = self.steering.scheduled.values()
        lines = [
            f"  {place} {clock_time(one.not_before)} {one.brief}" for place, one in enumerate(waiting, 1)
        ]
        return "\n".join(lines) or "— no message waits for its time —"

    async def _fork(self, follower: Follower, title: str) -> None:
        session_id, turn_id = follower.follow.session_id, self.steering.last_turn
        if turn_id is None:
            self.say("— no turn has ended yet, so there is nothing to fork —")
            return
        body = {"after_turn": turn_id, **({"title": title} if title else {})}
        path = f"/api/sessions/{quote(session_id, safe='')}/fork"
        try:
            made = await trio.to_thread.run_sync(lambda: call(self.find(), "POST", path, body))
        except (LinkLostError, NoServerError, RefusedError) as error:
            self.say(f"— not forked: {one_line(str(error))} —")
            return
        self.say(f"— forked: builderos attach {one_line(str(made.get('session_id')))} —")
