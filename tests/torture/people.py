"""The people of a town: one who talks in each session, and others who only look on, all over connections that break."""

from __future__ import annotations

import random
from typing import Any

import attrs

from actors.events.committed import Committed
from tests.support.device import Device, Json
from tests.support.invariants import Problem, committed_of
from tests.torture.town import Town

__all__ = ["Looker", "Talker"]

FINAL = frozenset({"answered", "failed", "interrupted", "cancelled"})

MOST_WAITING = 3
"""Messages that a talker has under way at once."""

DROP = 0.004
"""How likely a talker loses the connection at an event."""

QUIET_S = 30.0
"""Heartbeats come twice a second: a connection that is silent for so long is dead."""


def any_frame(frame: Json) -> bool:
    return True


@attrs.define(eq=False)
class Talker:
    """One person in one session: sends, decides, interrupts, takes back, tries again, and keeps what was promised.

    Attributes:
        seen: the session's events, over all connections.
        accepted: the seq of each message that was accepted.
        unanswered: messages that were sent and not answered yet; they are sent again under their ids.
        refused: those of them that found their session out of reach; they are sent again too.
        states: the newest delivery state of each message.
        kinds: what each message asks for.
    """

    town: Town
    session_id: str
    agent: str
    dice: random.Random
    seen: list[Committed] = attrs.field(factory=list)
    accepted: dict[str, int] = attrs.field(factory=dict)
    unanswered: dict[str, str] = attrs.field(factory=dict)
    states: dict[str, str] = attrs.field(factory=dict)
    kinds: dict[str, str] = attrs.field(factory=dict)
    ends: dict[str, int] = attrs.field(factory=dict)
    refused: set[str] = attrs.field(factory=set)
    _number: int = 0
    _turn_runs: bool = False

    @property
    def done(self) -> bool:
        """Whether all is said, and all of it is over."""
        over = all(self.states.get(message_id) in FINAL for message_id in self.accepted)
        return self.town.draining and not self.unanswered and over and not self._turn_runs

    async def run(self) -> None:
        """Talk until the town drains and every message of this session is over."""
        while not self.done:
            await self.town.connected(self.dice, self._visit)

    async def _visit(self, device: Device) -> None:
        after = {"epoch": 1, "seq": self.seen[-1].seq} if self.seen else None
        attached = await device.attach(self.session_id, agent=self.agent, after=after, history=1000)
        self._check(attached, after)
        self.refused.clear()
        for message_id, content in tuple(self.unanswered.items()):
            await self._say(device, "send", message_id=message_id, content=content)
        for pending in attached["pending"]:
            await self._decide(device, pending["request_id"])
        await self._look_after(device)
        while not self.done:
            frame = await device.wait_for(any_frame, limit_s=QUIET_S)
            self.town.saw(self.session_id, frame)
            await self._hear(device, frame)
            if self.dice.random() < DROP:
                self.town.drops += 1
                await device.drop()
                return

    def _check(self, attached: Json, after: Json | None) -> None:
        if attached["epoch"] != 1 or (after is not None and attached["replay"] != "ok"):
            self.town.problems.append(
                Problem("lost", f"{self.session_id}: a place is not known any more: {attached}")
            )

    async def _say(self, device: Device, kind: str, **fields: Any) -> None:
        await device.say(kind, session_id=self.session_id, **fields)

    async def _hear(self, device: Device, frame: Json) -> None:
        kind = frame["type"]
        if "seq" in frame and "epoch" in frame:
            self.seen.append(committed_of(frame))
        if kind == "accepted":
            self._accepted(frame)
        elif kind == "rejected" and "message_id" in frame and frame["message_id"] in self.unanswered:
            if self.town.refuses(frame["code"]):
                self.refused.add(frame["message_id"])
            else:
                self.town.problems.append(Problem("lost", f"{self.session_id}: {frame}"))
        elif kind == "delivery":
            self.states[frame["message_id"]] = frame["state"]
            await self._delivered(device, frame["message_id"], frame["state"])
        elif kind == "permission_requested":
            await self._decide(device, frame["request_id"])
        elif kind == "turn_started":
            self._turn_runs = True
        elif kind in ("complete", "error", "interrupted"):
            self._turn_runs = False
            self.ends[kind] = self.ends.get(kind, 0) + 1
            await self._talk(device)
        elif kind == "heartbeat":
            await self._look_after(device)

    def _accepted(self, frame: Json) -> None:
        message_id, seq = frame["message_id"], frame["seq"]
        self.unanswered.pop(message_id, None)
        self.refused.discard(message_id)
        if self.accepted.setdefault(message_id, seq) != seq:
            self.town.problems.append(Problem("doubled", f"{message_id} was accepted as two: {frame}"))

    async def _delivered(self, device: Device, message_id: str, state: str) -> None:
        if state == "unknown":
            await self._resolve(device, message_id)
        elif state == "consumed" and self.kinds.get(message_id) == "endless" and self.dice.random() < 0.7:
            await self._say(device, "interrupt")
        elif state == "queued" and self.dice.random() < 0.1:
            await self._say(device, "cancel", message_id=message_id)

    async def _decide(self, device: Device, request_id: str) -> None:
        decision = self.dice.choice(["allow", "deny", "allow_session"])
        await self._say(device, "decide", request_id=request_id, decision=decision)

    async def _resolve(self, device: Device, message_id: str) -> None:
        action = "retry" if self.dice.random() < 0.7 else "discard"
        await self._say(device, "resolve", message_id=message_id, action=action)

    async def _look_after(self, device: Device) -> None:
        """Do again what a crash may have swallowed: an act has no answer but its event."""
        again, self.refused = sorted(self.refused), set()
        for message_id in again:
            await self._say(device, "send", message_id=message_id, content=self.unanswered[message_id])
        for message_id, state in self.states.items():
            if state == "unknown":
                await self._resolve(device, message_id)
            elif state == "consumed" and self.kinds.get(message_id) == "endless":
                await self._say(device, "interrupt")
        await self._talk(device)

    async def _talk(self, device: Device) -> None:
        under_way = sum(state not in FINAL for state in self.states.values()) + len(self.unanswered)
        while not self.town.draining and under_way < MOST_WAITING:
            self._number += 1
            under_way += 1
            message_id = f"{self.session_id}-{self._number}"
            content = self._words(message_id)
            self.unanswered[message_id] = content
            await self._say(device, "send", message_id=message_id, content=content)

    def _words(self, message_id: str) -> str:
        if self.agent == "relay":
            verb = self.dice.choice(["say", "say", "leave", "hold"])
            self.kinds[message_id] = "endless" if verb == "hold" else "short"
            return f"{verb} {message_id}"
        words = self.dice.choice(
            [
                "some words",
                "/words 30 1",
                "/words 300 0",
                "/ask may I",
                "/task dig",
                "/big 300000",
                "/hang",
                "/turns",
            ]
        )
        self.kinds[message_id] = "endless" if words == "/hang" else "short"
        return words


@attrs.define(eq=False)
class Looker:
    """Somebody who follows every session on one connection, and loses it again and again."""

    name: str
    town: Town
    session_ids: tuple[str, ...]
    dice: random.Random
    seen: dict[str, list[Committed]] = attrs.field(factory=dict)

    @property
    def done(self) -> bool:
        """Whether the town is still, and all of it was seen."""
        heads = self.town.heads
        return heads is not None and all(
            session_id in self.seen and self.seen[session_id][-1].seq >= head
            for session_id, head in heads.items()
        )

    async def run(self) -> None:
        """Look on until everything was seen."""
        while not self.done:
            await self.town.connected(self.dice, self._visit)

    async def _visit(self, device: Device) -> None:
        for session_id in self.session_ids:
            seen = self.seen.get(session_id)
            after = {"epoch": 1, "seq": seen[-1].seq} if seen else None
            pace_ms = self.dice.choice([0, 0, 5, 50])
            asked: dict[str, Any] = {"after": after, "history": 1000, "observe": True, "pace_ms": pace_ms}
            attached = await device.attach(session_id, **asked)
            if after is not None and attached["replay"] != "ok":
                self.town.problems.append(
                    Problem("lost", f"{self.name} has no place in {session_id}: {attached}")
                )
        left, place = self.dice.randint(1, 300), 0
        while not self.done:
            if left == 0 and self.town.heads is None:
                self.town.drops += 1
                await device.drop()
                return
            left -= 1
            await device.wait_for(any_frame, start=place, limit_s=QUIET_S)
            self._note(device.frames[place])
            place += 1

    def _note(self, frame: Json) -> None:
        if "seq" in frame and "epoch" in frame:
            self.seen.setdefault(frame["session_id"], []).append(committed_of(frame))
