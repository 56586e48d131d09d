"""Who may what on the shipped app's paths (PROTOCOL section 4): strangers, and a key of each scope."""

from __future__ import annotations

import json
from typing import Final
from uuid import uuid4

import pytest
import trio

from tests.app.line import chat, open_line
from tests.security.guarded_server import KEYS, SCOPES, STRANGERS, Guarded, code

LIMIT_S: Final = 30.0


@pytest.mark.parametrize("agent", ["claude", "codex"])
async def test_strangers_on_the_shipped_apps_paths(agent: str, guarded: Guarded) -> None:
    before = await trio.to_thread.run_sync(guarded.state)
    phone = str(uuid4())
    firsts = {who: key for who, key in STRANGERS.items() if key is not None}
    firsts |= {
        "a code": code("drive"),
        "a message": chat("hello", f"{phone}-{uuid4()}", phone),
        "a message without ids": chat("hello"),
        "a frame of version 3": json.dumps({"type": "auth", "token": KEYS["admin"]}),
        "nothing": "",
    }
    for who, first in firsts.items():
        async with open_line(await guarded.connect(), f"/api/{agent}/ws") as line:
            await line.say(first)
            with trio.fail_after(LIMIT_S):
                assert await line.text() == "error:invalid_api_key", who
                assert await line.closed() == 1000, who
            assert line.rest() == []
    assert await trio.to_thread.run_sync(guarded.state) == before


@pytest.mark.parametrize("scope", SCOPES)
async def test_scopes_on_the_shipped_apps_path(scope: str, guarded: Guarded) -> None:
    sid, phone = f"app-{scope}", f"phone-of-{scope}"
    before = await trio.to_thread.run_sync(guarded.state)
    async with open_line(await guarded.connect(), "/api/claude/ws") as line:
        with trio.fail_after(LIMIT_S):
            await line.sign_in(KEYS[scope])
            await line.say(chat("hello", sid, phone))
            text, end = await line.exchange()
    if scope in ("drive", "admin"):
        assert (text.strip(), end["type"]) == ("echo: hello", "complete")
    else:
        assert (text, end["type"]) == ("", "error")
        # A key that may decide comes as far as to its own label, as with `attach`.
        after = await trio.to_thread.run_sync(guarded.state)
        assert {**after, "label": []} == {**before, "label": []}


@pytest.mark.parametrize("scope", SCOPES)
async def test_who_decides_over_the_shipped_app(scope: str, guarded: Guarded) -> None:
    sid, phone = f"app-asks-{scope}", f"asked-phone-of-{scope}"
    async with guarded.device(KEYS["admin"]) as owner:
        await owner.attach(sid, agent="claude")
        async with open_line(await guarded.connect(), "/api/claude/ws") as line:
            with trio.fail_after(LIMIT_S):
                await line.sign_in(KEYS["drive"])
                await line.say(chat("/ask may I", sid, phone))
                await line.exchange()
                await line.drop()
        before = await trio.to_thread.run_sync(guarded.state)
        async with open_line(await guarded.connect(), "/api/claude/ws") as line:
            with trio.fail_after(LIMIT_S):
                await line.sign_in(KEYS[scope])
                await line.say(chat("deny", sid, f"{phone}-2"))
                text, end = await line.exchange()
                if scope != "view":
                    assert "may I" in text, "a word decides what was shown on this connection"
                    await line.say(chat("deny", sid, f"{phone}-2"))
                    await line.frame("complete", "peer_complete")
        if scope == "view":
            assert end["type"] == "error"
            assert (await trio.to_thread.run_sync(guarded.state))["journal"] == before["journal"]
        else:
            told = await owner.wait_for("permission_resolved", session_id=sid)
            assert (told["decision"], told["by_device"]) == ("deny", f"{phone}-2")
            await owner.wait_for("complete", session_id=sid)


def test_nothing_of_it_left_a_traceback(guarded: Guarded) -> None:
    assert "Traceback" not in guarded.words()
