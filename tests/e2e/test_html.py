"""Finished answers as HTML, from a real server (PROTOCOL sections 2 and 3)."""

from __future__ import annotations

from tests.e2e.shared_server import ENDLESS, Shared, open_http

HOSTILE = "**bold** <script>alert(1)</script> [x](javascript:alert(1))"


async def test_a_frame_follows_the_end_of_a_turn(shared: Shared, sid: str) -> None:
    async with shared.device() as device, shared.device() as plain:
        await device.attach(sid, agent="echo", html=True)
        await plain.attach(sid)
        await device.send(sid, HOSTILE)
        end = await device.wait_for("complete")
        frame = await device.wait_for("rendered")
        assert frame["turn_id"] == end["turn_id"]
        assert frame["session_id"] == sid
        assert "seq" not in frame
        assert "<strong>bold</strong>" in frame["html"]
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in frame["html"]
        assert "href" not in frame["html"]
        await plain.wait_for("complete")
        await plain.ask(sid, "again")
        assert not [one for one in plain.frames if one["type"] == "rendered"]


async def test_an_interrupted_answer_is_rendered(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo", html=True)
        await device.send(sid, ENDLESS)
        await device.wait_for("message")
        await device.say("interrupt", session_id=sid)
        end = await device.wait_for("interrupted")
        frame = await device.wait_for("rendered")
        assert frame["turn_id"] == end["turn_id"]
        assert "<p>w0" in frame["html"]


async def test_messages_as_html(shared: Shared, sid: str) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        await device.ask(sid, HOSTILE)
        await device.ask(sid, "/big 600000")
        url = f"/api/sessions/{sid}/messages"
        entries = (await http.get(url, params={"format": "html"})).json()["messages"]
    assert [entry["role"] for entry in entries] == ["user", "assistant"] * 2
    assert "<strong>bold</strong>" in entries[1]["html"]
    assert "<script" not in entries[1]["html"]
    assert "html" not in entries[3], "too long: the text is shown as it is"
    assert len(entries[3]["content"]) == 600_000
