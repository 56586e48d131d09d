"""Section 11 with a program as the channel: what a real server says it, and that the end of a request is notified too."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from tests.storage.stores import until
from tests.support.server import open_server

CONFIG = """
[push.command.me]
command = ["sh", "-c", "cat >> {file}"]
detail = "request"
"""


def told(file: Path) -> list[dict[str, object]]:
    """Return what the program was notified so far."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def lines_of(file: Path, count: int) -> list[dict[str, object]]:
    """Wait for so many lines."""
    await until(lambda: len(told(file)) >= count)
    return told(file)


async def test_a_program_is_told_of_a_request_and_of_its_end(tmp_path: Path) -> None:
    file = tmp_path / "told"
    async with open_server(tmp_path, config=CONFIG.format(file=file)) as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.say("watch_sessions")
            await device.say("focus", session_id="trip", visible=False)
            await device.send("trip", "/ask tidy up")
            request = await device.wait_for("permission_requested")
            (card,) = await lines_of(file, 1)
            assert (card["kind"], card["state"], card["request_id"]) == (
                "decision",
                "open",
                request["request_id"],
            )
            assert "tidy up" in str(card["body"]), "the whole request, as the config says"
            opened = await device.wait_for("alert", state="open")
            await server.kill9()
        await server.restart()
        async with server.device() as device:
            await device.attach("trip")
            await device.say("watch_sessions")
            await device.say("focus", session_id=None, visible=False)
            await device.say("decide", session_id="trip", request_id=request["request_id"], decision="deny")
            settled = await device.wait_for("alert", state="settled")
            assert (settled["alert_id"], settled["request_id"]) == (opened["alert_id"], opened["request_id"])
        cards = await lines_of(file, 2)
        assert [(one["alert_id"], one["state"]) for one in cards[:2]] == [
            (card["alert_id"], "open"),
            (card["alert_id"], "settled"),
        ]
        async with httpx.AsyncClient(base_url=server.url, headers={"X-API-Key": server.key}) as http:
            why = (await http.get("/api/notifications/why?session_id=trip")).json()["alerts"]
            asked = next(one for one in why if one["kind"] == "decision")
            assert (asked["how"], len(asked["deliveries"])) == ("deny", 1)
            assert asked["deliveries"][0]["content"]
