"""Section 8, Tidy and A way out: lists that are in order, and an agent that starts a new conversation."""

from __future__ import annotations

from typing import Any

import trio

from tests.e2e.shared_server import Shared, open_http


async def test_pinned_archived_and_by_workspace(shared: Shared, sid: str) -> None:
    folder = str(shared.data.parent / "home" / sid)
    await trio.Path(folder).mkdir()
    async with shared.device() as device, open_http(shared) as http:

        async def listed(**query: str) -> dict[str, Any] | None:
            found = (await http.get("/api/sessions", params={"limit": "500", **query})).json()["sessions"]
            return next((one for one in found if one["session_id"] == sid), None)

        await device.attach(sid, agent="echo", settings={"workspace": folder})
        await device.ask(sid, "hello")
        entry = await listed()
        assert entry is not None
        assert (entry["pinned"], entry["archived"], entry["workspace"]) == (False, False, folder)
        assert (entry["pending"], entry["plan"], entry["held"], entry["background"]) == (0, None, None, 0)
        start = len(device.frames)
        await device.say("organize", session_id=sid, pinned=True, archived=True)
        changed = await device.wait_for("session_changed", start=start, archived=True)
        assert changed["pinned"]
        assert await listed() is None
        assert await listed(archived="true") is not None
        assert await listed(archived="all", workspace=folder) is not None
        assert await listed(archived="all", workspace="/elsewhere") is None
        assert (await http.get("/api/sessions", params={"archived": "maybe"})).status_code == 400
        await device.ask(sid, "back")
        await device.wait_for("session_changed", archived=False, start=start)
        assert await listed() is not None


async def test_a_renewed_agent_knows_what_was_said(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        await device.say("warm", session_id=sid)
        await device.ask(sid, "hello")
        await device.say("painted", session_id=sid, seq=1, ms=5)
        await device.say("renew", session_id=sid)
        assert (await device.wait_for("notice"))["code"] == "renewed"
        end = await device.ask(sid, "/turns")
        assert device.text(sid, end["turn_id"]) == "turns=2"
        await device.send(sid, "/hang", message_id="hang")
        await device.wait_for("delivery", state="consumed", start=0, message_id="hang")
        await device.say("renew", session_id=sid)
        assert (await device.wait_for("rejected"))["code"] == "busy"
        await device.say("interrupt", session_id=sid)
