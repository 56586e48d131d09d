"""Every frame of version 3 by every key: who may what over a WebSocket (PROTOCOL section 3).

`FRAMES` is the table. A frame that the codec knows and the table has not fails a test. Each frame is first tried by
all who may not, and the whole state of the server must be as it was; then by each who may, and it must work.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import attrs
import pytest
import trio
from websockets.exceptions import InvalidState

from tests.security.guarded_server import KEYS, SCOPES, STRANGERS, Guarded, code
from tests.support.device import Device, Json, open_device
from transport.v3.decode import FRAME_TYPES

LIMIT_S: Final = 30.0


@attrs.frozen
class Row:
    """Who may at least, and a frame that works.

    Attributes:
        least: a scope.
        during: what runs in the session: `nothing`, `an answer` that is over, `a turn`, `a queue` (of one, behind a
            turn), `a message for later`, `a request` or `a grant`.
        fields: what the frame has; `REQUEST` stands for the open request's id, `MESSAGE` for the queued message's,
            `GRANT` for what is allowed for the session.
        `told`: the type of what a device that may gets, and fields that it has. For a frame without an answer the
            `pong` of a `ping` after it: nothing was refused before.
        acts: whether a device that only observes is refused.
        by_others: whether others get it, and not the device itself.
    """

    least: str
    during: str
    fields: Json
    told: Json
    acts: bool = True
    by_others: bool = False


FRAMES: Final = {
    # view: watches.
    "auth": Row("view", "nothing", {"token": "KEY"}, {"type": "ready"}, acts=False),
    "attach": Row("view", "nothing", {}, {"type": "attached"}, acts=False),
    "detach": Row("view", "nothing", {}, {"type": "detached"}, acts=False),
    "watch_sessions": Row("view", "nothing", {}, {"type": "session_changed"}, acts=False),
    "ping": Row("view", "nothing", {}, {"type": "pong"}, acts=False),
    "focus": Row("view", "nothing", {"visible": True, "idle_s": 0}, {"type": "pong"}, acts=False),
    "painted": Row("view", "an answer", {"seq": 2, "ms": 5}, {"type": "pong"}, acts=False),
    # approve: decides, and is somebody whose reading counts.
    "decide": Row(
        "approve",
        "a request",
        {"request_id": "REQUEST", "decision": "deny"},
        {"type": "permission_resolved", "decision": "deny"},
    ),
    "mark_read": Row(
        "approve", "an answer", {"seq": 2}, {"type": "mark_read", "read_seq": 2}, by_others=True
    ),
    "revoke_grant": Row("approve", "a grant", {"grant": "GRANT"}, {"type": "session_updated", "grants": []}),
    # drive: everything that an agent or another device notices.
    "send": Row(
        "drive",
        "nothing",
        {"message_id": "NEW", "content": "hello"},
        {"type": "accepted", "duplicate": False},
    ),
    "send_now": Row("drive", "a message for later", {"message_id": "MESSAGE"}, {"type": "turn_started"}),
    "cancel": Row("drive", "a queue", {"message_id": "MESSAGE"}, {"type": "delivery", "state": "cancelled"}),
    "interrupt": Row("drive", "a turn", {}, {"type": "interrupted"}),
    "stop_task": Row("drive", "nothing", {"task_id": "none"}, {"type": "rejected", "code": "unknown_task"}),
    "resolve": Row(
        "drive",
        "a queue",
        {"message_id": "MESSAGE", "action": "discard"},
        {"type": "rejected", "code": "not_unknown"},
    ),
    "configure": Row("drive", "nothing", {"settings": {"effort": "low"}}, {"type": "session_updated"}),
    "renew": Row("drive", "an answer", {}, {"type": "notice", "code": "renewed"}),
    "take_over": Row("drive", "nothing", {}, {"type": "pong"}),
    "organize": Row("drive", "nothing", {"pinned": True}, {"type": "session_changed", "pinned": True}),
    "warm": Row("drive", "nothing", {}, {"type": "pong"}),
    "undo": Row(
        "drive", "nothing", {"turn_id": "t", "force": True}, {"type": "rejected", "code": "no_checkpoint"}
    ),
    "rename": Row("drive", "nothing", {"title": "T"}, {"type": "session_updated", "title": "T"}),
    "draft": Row(
        "drive",
        "nothing",
        {"content": "half a sen"},
        {"type": "draft", "content": "half a sen"},
        by_others=True,
    ),
}


def test_every_frame_has_a_row() -> None:
    assert set(FRAMES) == set(FRAME_TYPES)


@attrs.frozen
class Scene:
    """A session with something that runs, by a device that may do everything."""

    sid: str
    request_id: str = ""
    message_id: str = ""
    grant: str = ""

    def frame(self, kind: str, key: str | None) -> Json:
        """Return the row's frame for this session."""
        names = {
            "REQUEST": self.request_id,
            "MESSAGE": self.message_id,
            "GRANT": self.grant,
            "NEW": uuid4().hex,
            "KEY": key or "no-key",
        }
        fields = {name: names.get(str(value), value) for name, value in FRAMES[kind].fields.items()}
        session = {} if kind in {"auth", "ping", "watch_sessions"} else {"session_id": self.sid}
        return {"type": kind, **session, **fields}


async def set_scene(owner: Device, kind: str, scope: str) -> Scene:
    sid = f"frames-{kind}-{scope}"
    await owner.attach(sid, agent="echo", device_id="mac")
    during = FRAMES[kind].during
    if during == "an answer":
        await owner.ask(sid, "hello")
    if during in ("a turn", "a queue"):
        await owner.send(sid, "/hang")
        await owner.wait_for("delivery", session_id=sid, state="consumed")
    if during == "a queue":
        message_id = uuid4().hex
        await owner.send(sid, "later", message_id=message_id)
        await owner.wait_for("delivery", session_id=sid, state="queued")
        return Scene(sid, message_id=message_id)
    if during == "a message for later":
        message_id = uuid4().hex
        tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        await owner.send(sid, "tomorrow", message_id=message_id, not_before=tomorrow)
        await owner.wait_for("delivery", session_id=sid, state="queued")
        return Scene(sid, message_id=message_id)
    if during in ("a request", "a grant"):
        await owner.send(sid, "/ask may I")
        asked = await owner.wait_for("permission_requested", session_id=sid)
        if during == "a request":
            return Scene(sid, request_id=asked["request_id"])
        await owner.say("decide", session_id=sid, request_id=asked["request_id"], decision="allow_session")
        await owner.wait_for("complete", session_id=sid)
        return Scene(sid, grant=asked["grant"])
    return Scene(sid)


async def state_of(guarded: Guarded) -> dict[str, Any]:
    return await trio.to_thread.run_sync(guarded.state)


async def say(device: Device, frame: Json) -> None:
    await device.say_raw(json.dumps(frame))


async def refused(device: Device, frame: Json) -> str:
    """Say a frame; return the code of its refusal, which names what it answers."""
    start = len(device.frames)
    await say(device, frame)
    told = await device.wait_for(lambda one: one["type"] in ("rejected", "error"), start=start)
    for name in ("message_id", "request_id"):
        if told["type"] == "rejected" and name in frame:
            assert told[name] == frame[name]
    return f"{told['type']} {told['code']}"


@pytest.mark.parametrize("kind", FRAMES)
async def test_a_frame(kind: str, guarded: Guarded) -> None:
    row = FRAMES[kind]
    good = SCOPES[SCOPES.index(row.least) :]
    async with guarded.device(KEYS["admin"]) as owner:
        scene = await set_scene(owner, kind, "nobody")
        before = await state_of(guarded)
        async with trio.open_nursery() as nursery:
            for who, key in {**STRANGERS, "a good code": code("admin")}.items():
                nursery.start_soon(stranger_is_refused, guarded, who, key, scene.frame(kind, key))
        for scope in SCOPES[: SCOPES.index(row.least)]:
            async with guarded.device(KEYS[scope]) as device:
                assert await refused(device, scene.frame(kind, KEYS[scope])) == "rejected forbidden", scope
                await device.attach(scene.sid)
                assert await refused(device, scene.frame(kind, KEYS[scope])) == "rejected forbidden", scope
        if row.acts:
            async with guarded.device(KEYS["admin"]) as device:
                assert await refused(device, scene.frame(kind, None)) == "rejected not_attached"
                await device.attach(scene.sid, observe=True)
                assert await refused(device, scene.frame(kind, None)) == "rejected observer"
        assert await state_of(guarded) == before, "a refused frame changed something"
        for scope in good:
            await works(guarded, owner, kind, scope)


async def stranger_is_refused(guarded: Guarded, who: str, key: str | None, frame: Json) -> None:
    """Bring the key in the header and say the frame, and in a first frame; and the frame alone."""
    for in_frame in (False,) if key is None else (False, True):
        async with open_device(guarded.url, key, wait_ready=False, frame_key=in_frame) as device:
            with suppress(InvalidState):  # the server said good-bye to the key already
                await say(device, frame)
            assert await device.wait_closed(LIMIT_S) == 4401, who
            assert [(one["type"], one["code"]) for one in device.frames] == [("error", "unauthorized")], who


async def works(guarded: Guarded, owner: Device, kind: str, scope: str) -> None:
    row = FRAMES[kind]
    scene = await set_scene(owner, kind, scope)
    async with guarded.device(KEYS[scope]) as device:
        if kind != "attach":
            await device.attach(scene.sid)
        hearer = owner if row.by_others else device
        start = len(hearer.frames)
        frame = scene.frame(kind, KEYS[scope])
        await say(device, frame)
        if kind == "watch_sessions":
            await owner.send(scene.sid, "hello")
        if row.told["type"] == "pong" and kind != "ping":
            await device.say("ping")
        told = await hearer.wait_for(row.told["type"], start=start, limit_s=LIMIT_S)
        assert {name: told.get(name) for name in row.told} == row.told, scope
        if told["type"] == "pong":
            assert {one["type"] for one in device.frames[start:]}.isdisjoint({"rejected", "error"}), scope
        if kind == "attach":
            entries = {one["device_id"]: one["observe"] for one in told["devices"]}
            assert entries[scope] == (scope == "view"), "a key that may only look attaches observing"
    if kind in ("send", "send_now", "watch_sessions", "decide"):
        await owner.wait_for("complete", session_id=scene.sid)  # so that nothing runs beside the next row


@pytest.mark.parametrize("more", [{"mode": "edits"}, {"input": {"plan": "# Rest"}}])
async def test_a_decision_that_does_more_than_allow_needs_drive(more: Json, guarded: Guarded) -> None:
    sid = f"plan-{min(more)}"
    async with guarded.device(KEYS["drive"]) as driver, guarded.device(KEYS["approve"]) as approver:
        await driver.attach(sid, agent="echo")
        await driver.send(sid, "/plan # Build")
        asked = await driver.wait_for("permission_requested")
        await approver.attach(sid)
        before = await state_of(guarded)
        frame = {"type": "decide", "session_id": sid, "request_id": asked["request_id"], "decision": "allow"}
        assert await refused(approver, {**frame, **more}) == "rejected forbidden"
        assert await state_of(guarded) == before
        await say(driver, {**frame, **more})
        resolved = await approver.wait_for("permission_resolved")
        assert {name: resolved[name] for name in more} == more
        await driver.wait_for("complete")


@pytest.mark.parametrize("scope", SCOPES)
async def test_who_may_make_a_session(scope: str, guarded: Guarded) -> None:
    sid = f"made-by-{scope}"
    before = await state_of(guarded)
    async with guarded.device(KEYS[scope]) as device:
        await device.say("attach", session_id=sid)
        assert (await device.wait_for("error"))["code"] == "unknown_session"
        await device.say("attach", session_id=sid, agent="nobody")
        assert (await device.wait_for("error"))["code"] == "unknown_agent"
        if scope in ("drive", "admin"):
            assert (await device.attach(sid, agent="echo"))["head_seq"] == 0
        else:
            frame = {"type": "attach", "session_id": sid, "agent": "echo"}
            assert await refused(device, frame) == "rejected forbidden"
            assert await state_of(guarded) == before


async def test_a_label_gives_nobody_anothers_rights(guarded: Guarded) -> None:
    """A `device_id` is a word inside one key: it neither brings rights nor another key's name."""
    async with guarded.device(KEYS["admin"]) as owner, guarded.device(KEYS["view"]) as viewer:
        await owner.attach("labels", agent="echo", device_id="mac")
        await owner.ask("labels", "hello")
        for label in ("admin", "drive", "first", "mac", "paired", "time-limit", "desk"):
            before = await state_of(guarded)
            frame = {"type": "attach", "session_id": "labels", "device_id": label}
            assert await refused(viewer, frame) == "rejected forbidden", label
            assert await state_of(guarded) == before
        attached = await viewer.attach("labels", device_id="glasses")
        assert {one["device_id"]: one["observe"] for one in attached["devices"]}["glasses"] is True
        send = {"type": "send", "session_id": "labels", "message_id": "m1", "content": "no"}
        assert await refused(viewer, send) == "rejected forbidden"
        async with guarded.device(KEYS["drive"]) as driver:
            assert await refused(driver, {**frame, "device_id": "glasses"}) == "rejected forbidden"
            await driver.attach("labels", device_id="watch")
            await driver.send("labels", "hello again")
            said = await owner.wait_for("user_message", content="hello again")
            assert said["device_id"] == "watch"
            await owner.wait_for("complete", start=0, turn_id=said["turn_id"])


async def test_another_good_key_in_mid_connection_is_the_end(guarded: Guarded) -> None:
    async with guarded.device(KEYS["view"]) as device:
        await device.say("auth", token=KEYS["admin"])
        assert await device.wait_closed() == 4401


def test_no_frame_left_a_traceback(guarded: Guarded) -> None:
    assert "Traceback" not in guarded.words()
