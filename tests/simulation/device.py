"""A device of a history: connects, attaches, sends what its plan says, and comes back whenever it is cut off.

It does what a good client does: it sends a message with the same id again until it was answered, comes back with its
position, and believes nothing but frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import orjson
import trio

from tests.simulation.chaos import Chaos
from tests.simulation.plan import MODES, Act, DevicePlan, MessagePlan
from tests.simulation.view import DeviceView
from tests.simulation.wires import Wire
from transport.v3.events import timestamp

__all__ = ["FramesIn", "Outgoing", "SimDevice"]

RETRY_S = 0.7
"""How long a device waits before it tries again what was refused for a cause that passes."""

RETRIES_MOST = 2
"""How often a person has a message tried again whose outcome is unknown."""

PASSING = frozenset({"storage", "shutting_down", "not_attached", "machine_away"})
"""Refusals after which the same message is sent again."""


@attrs.define(eq=False)
class Outgoing:
    """A message of this device. `copies`: how many were sent and not answered; `refused` for good with this code."""

    frame: dict[str, Any]
    copies: int = 0
    accepted: int | None = None
    refused: str | None = None
    lost: bool = False


@attrs.define(eq=False)
class FramesIn:
    """WebSocket frames out of bytes: unmasked, whole texts, as the server writes them."""

    held: bytearray = attrs.field(factory=bytearray)

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return (opcode, payload) of each frame that is complete."""
        held, found = self.held, []
        held += data
        while len(held) >= 2:
            size, start = held[1], 2
            if size == 126:
                size, start = int.from_bytes(held[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(held[2:10], "big"), 10
            if len(held) < start + size:
                break
            found.append((held[0] & 0x0F, bytes(held[start : start + size])))
            del held[: start + size]
        return found


@attrs.define(eq=False)
class SimDevice:
    """A simulated device.

    Attributes:
        connect: gives a wire to a server that serves, None if there is none.
        in_journal: returns whether a message is in the journal at this moment.
        sent_now: the messages for later that its person sent before their time, or tried to.
    """

    chaos: Chaos
    plan: DevicePlan
    connect: Callable[[str], Wire | None]
    in_journal: Callable[[str, str], bool]
    views: dict[str, DeviceView] = attrs.field(factory=dict)
    outgoing: dict[str, Outgoing] = attrs.field(factory=dict)
    wire: Wire | None = None
    closing: bool = False
    sent_now: set[str] = attrs.field(factory=set)
    _attached: set[str] = attrs.field(factory=set)
    _retries: dict[str, int] = attrs.field(factory=dict)
    _asked: dict[str, list[int | None]] = attrs.field(factory=dict)
    _nursery: trio.Nursery | None = None

    def __attrs_post_init__(self) -> None:
        self.views = {name: DeviceView(name) for name in self.plan.sessions}

    async def run(self) -> None:
        """Stay connected until cancelled."""
        async with trio.open_nursery() as self._nursery:
            while True:
                wire = self.connect(self.plan.name)
                if wire is not None:
                    await self._converse(wire)
                await trio.sleep(0.1)

    async def _converse(self, wire: Wire) -> None:
        self.wire, frames = wire, FramesIn()
        self._attached.clear()
        self._asked.clear()
        for outgoing in self.outgoing.values():
            outgoing.lost = outgoing.lost or outgoing.copies > 0
            outgoing.copies = 0
        try:
            for session_id in self.plan.sessions:
                await self._attach(session_id)
            while True:
                data = await wire.near.receive_some()
                for opcode, payload in frames.feed(data):
                    if opcode != 1:
                        return
                    await self._take(orjson.loads(payload))
                if not data:
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.wire = None
            wire.near.close()

    # ---- what a person does ----

    async def send_message(self, message: MessagePlan) -> None:
        """Send a message, now and until it was answered."""
        more = {"mode": "steer" if message.steer else "queue"}
        if message.later_s is not None:
            more["not_before"] = timestamp(self.chaos.now_ms() + int(message.later_s * 1000))
        await self.send(message.session_id, message.message_id, **more)

    async def send(self, session_id: str, message_id: str, **more: Any) -> None:
        """The same with words of one's own."""
        frame = {"type": "send", "session_id": session_id, "message_id": message_id, "content": message_id}
        self.outgoing[message_id] = Outgoing({**frame, **more})
        await self._try(self.outgoing[message_id])

    async def act(self, act: Act) -> None:
        """Do something besides, where it is possible at all."""
        view, session_id = self.views[act.session_id], act.session_id
        match act.kind:
            case "interrupt":
                await self._say(type="interrupt", session_id=session_id)
            case "interrupt_this" if view.running is not None:
                await self._say(type="interrupt", session_id=session_id, turn_id=view.running)
            case "cancel":
                for message_id in _picked(view.queued, act.target):
                    await self._say(type="cancel", session_id=session_id, message_id=message_id)
            case "decide":
                for request_id in _picked(view.pending, act.target):
                    await self.decide(session_id, request_id, act.target)
            case "send_now":
                for message_id in _picked(view.queued, act.target):
                    self.sent_now.add(message_id)
                    await self._say(type="send_now", session_id=session_id, message_id=message_id)
            case "resolve":
                action = "retry" if act.target % 2 else "discard"
                for message_id in _picked(view.unknown, act.target):
                    await self._say(
                        type="resolve", session_id=session_id, message_id=message_id, action=action
                    )
            case "repeat":
                for message_id in _picked(self.outgoing, act.target):
                    await self._try(self.outgoing[message_id], again=True)
            case "stale_send":
                head = {"epoch": 1, "seq": act.target}
                await self.send(session_id, f"stale-{self.plan.name}-{len(self.outgoing)}", if_head=head)
            case _:
                await self._act_lightly(act, view)

    async def _act_lightly(self, act: Act, view: DeviceView) -> None:
        session_id = act.session_id
        match act.kind:
            case "rename":
                await self._say(type="rename", session_id=session_id, title=f"title {act.target}")
            case "mark_read":
                await self._say(type="mark_read", session_id=session_id, seq=view.position or 0)
            case "draft":
                await self._say(type="draft", session_id=session_id, content=f"draft {act.target}")
            case "configure":
                settings = {"model": f"model-{act.target}"}
                await self._say(type="configure", session_id=session_id, settings=settings)
            case "set_mode":
                settings = {"permission_mode": MODES[act.target % len(MODES)]}
                await self._say(type="configure", session_id=session_id, settings=settings)
            case "warm":
                await self._say(type="warm", session_id=session_id)
            case "detach":
                await self._say(type="detach", session_id=session_id)
            case "attach" if self.wire is not None:
                await self._attach(session_id)
            case _:
                pass

    async def decide(self, session_id: str, request_id: str, number: int) -> None:
        """Answer a request."""
        decision = ("allow", "deny", "allow_session")[number % 3]
        frame = {"session_id": session_id, "request_id": request_id, "decision": decision}
        if self.plan.mode is not None:
            frame["mode"] = self.plan.mode
        await self._say(type="decide", **frame)

    # ---- the wire ----

    async def _say(self, **frame: Any) -> bool:
        if self.wire is None:
            return False
        self.chaos.note(f"{self.plan.name} says {frame}")
        try:
            await self.wire.near.send_all(orjson.dumps(frame) + b"\n")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    async def _attach(self, session_id: str) -> None:
        view, plan = self.views[session_id], self.plan
        self._asked.setdefault(session_id, []).append(view.position)
        frame: dict[str, Any] = {
            "type": "attach",
            "session_id": session_id,
            "agent": "plan",
            "history": plan.history,
            "pace_ms": 0 if self.closing else plan.pace_ms,
            "observe": plan.observe,
        }
        if view.position is not None:
            frame["after"] = {"epoch": view.epoch, "seq": view.position}
        await self._say(**frame)

    async def _try(self, outgoing: Outgoing, *, again: bool = False) -> None:
        waits = outgoing.accepted is None and outgoing.refused is None
        if (waits or again) and outgoing.frame["session_id"] in self._attached:
            outgoing.copies += 1
            await self._say(**outgoing.frame)

    async def _later(self, wait_s: float, what: Callable[[], Any]) -> None:
        await trio.sleep(wait_s)
        await what()

    def _soon(self, wait_s: float, what: Callable[[], Any]) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._later, wait_s, what)

    # ---- what the server says ----

    async def _take(self, frame: dict[str, Any]) -> None:
        self.chaos.note(f"{self.plan.name} hears {frame}")
        if "seq" in frame and "first_seq" in frame:
            self._take_event(frame)
            return
        match frame["type"]:
            case "attached":
                await self._take_attached(frame)
            case "accepted":
                self._take_accepted(frame)
            case "rejected" if "message_id" in frame:
                self._take_rejected(frame)
            case "detached":
                self._attached.discard(frame["session_id"])
                self._soon(0.2, lambda: self._attach(frame["session_id"]))
            case "error" if frame["code"] == "bad_frame":
                self.chaos.complain(f"{self.plan.name} was told of a bad frame: {frame}")
            case "error" | "rejected" if self._is_refused_attach(frame):
                self._asked[frame["session_id"]].clear()  # this one's answer, or the session's own trouble
                self._soon(RETRY_S, lambda: self._attach(frame["session_id"]))
            case _:
                pass

    def _is_refused_attach(self, frame: dict[str, Any]) -> bool:
        session_id = frame.get("session_id")
        answers = "request_id" not in frame and "message_id" not in frame
        return answers and session_id not in self._attached and bool(self._asked.get(session_id or ""))

    def _take_event(self, frame: dict[str, Any]) -> None:
        session_id = frame["session_id"]
        wrong = self.views[session_id].take(frame)
        if wrong is not None:
            self.chaos.complain(f"{self.plan.name} in {session_id}: {wrong}")
        outgoing = self.outgoing.get(frame["message_id"]) if frame["type"] == "user_message" else None
        if outgoing is not None and outgoing.copies and outgoing.accepted is None and not outgoing.lost:
            self.chaos.complain(f"{frame['message_id']} was shown to its sender before it was accepted")
        if frame["type"] == "permission_requested":
            self._plan_decision(session_id, frame["request_id"])
        unknown = frame["type"] == "delivery" and frame["state"] == "unknown"
        if unknown and self.plan.resolves is not None and not self.plan.observe:
            tried = self._retries.get(frame["message_id"], 0)
            self._retries[frame["message_id"]] = tried + 1
            action = self.plan.resolves if tried < RETRIES_MOST else "discard"  # some die each time
            resolve = {"type": "resolve", "session_id": session_id, "action": action}
            self._soon(0.1, lambda: self._say(**resolve, message_id=frame["message_id"]))

    def _plan_decision(self, session_id: str, request_id: str) -> None:
        wait_s = 0.0 if self.closing else self.plan.decides_s
        if wait_s is not None and not self.plan.observe:
            self._soon(wait_s, lambda: self.decide(session_id, request_id, len(request_id)))

    async def _take_attached(self, frame: dict[str, Any]) -> None:
        session_id = frame["session_id"]
        known = self._asked[session_id]
        asked = known.pop(0) if known else frame["from_seq"] - 1
        wrong = self.views[session_id].attached(frame, asked)
        if wrong is not None:
            self.chaos.complain(f"{self.plan.name} in {session_id}: {wrong}")
        self._attached.add(session_id)
        for request_id in self.views[session_id].pending:
            self._plan_decision(session_id, request_id)
        for outgoing in list(self.outgoing.values()):
            if outgoing.frame["session_id"] == session_id and not outgoing.copies:
                await self._try(outgoing)

    def _take_accepted(self, frame: dict[str, Any]) -> None:
        outgoing = self.outgoing[frame["message_id"]]
        outgoing.copies = max(0, outgoing.copies - 1)
        if outgoing.accepted not in (None, frame["seq"]):
            self.chaos.complain(f"{frame['message_id']} was accepted twice, last as {frame['seq']}")
        if not frame["duplicate"] and outgoing.accepted is not None:
            self.chaos.complain(f"{frame['message_id']} was accepted as new twice")
        outgoing.accepted = frame["seq"]
        if not self.in_journal(frame["session_id"], frame["message_id"]):
            self.chaos.complain(f"{frame['message_id']} was accepted before it was in the journal")

    def _take_rejected(self, frame: dict[str, Any]) -> None:
        outgoing = self.outgoing.get(frame["message_id"])
        if outgoing is None or outgoing.copies == 0:
            return  # a cancel or a resolve
        outgoing.copies -= 1
        fresh = outgoing.accepted is None and not outgoing.copies and not outgoing.lost
        if fresh and self.in_journal(frame["session_id"], frame["message_id"]):
            self.chaos.complain(f"{frame['message_id']} was rejected ({frame['code']}) and is in the journal")
        if frame["code"] in PASSING:
            self._soon(RETRY_S, lambda: self._try(outgoing))
        elif outgoing.accepted is None:
            outgoing.refused = frame["code"]


def _picked(names: dict[str, Any], target: int) -> list[str]:
    known = list(names)
    return [known[target % len(known)]] if known else []
