"""Section 11 with a program and an ntfy topic as channels: what a real server says them, and what a button does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import httpx
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.builderos.terminal import open_terminal
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
        await until(lambda: any(one["state"] == "settled" for one in told(file)))
        cards = [
            one for one in told(file) if not one["repeat"]
        ]  # the server may have died before it noted the first
        assert [(one["alert_id"], one["state"]) for one in cards[:2]] == [
            (card["alert_id"], "open"),
            (card["alert_id"], "settled"),
        ]
        async with httpx.AsyncClient(base_url=server.url, headers={"X-API-Key": server.key}) as http:
            why = (await http.get("/api/notifications/why?session_id=trip")).json()["alerts"]
            asked = next(one for one in why if one["kind"] == "decision")
            assert (asked["how"], len(asked["deliveries"])) == ("deny", 1)
            assert asked["deliveries"][0]["content"]


async def test_an_alert_needs_no_channel(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server, server.device() as device, server.device() as watcher:
        await watcher.say("watch_sessions")
        await device.attach("trip", agent="echo")
        await device.send("trip", "/ask tidy up")
        request = await device.wait_for("permission_requested")
        opened = await watcher.wait_for("alert")
        assert (opened["state"], opened["kind"], opened["request_id"]) == (
            "open",
            "decision",
            request["request_id"],
        )
        await device.say("decide", session_id="trip", request_id=request["request_id"], decision="deny")
        settled = await watcher.wait_for("alert", state="settled")
        assert (settled["alert_id"], settled["by_device"]) == (opened["alert_id"], "first")


async def test_attach_counts_as_looking_and_a_script_does_not(tmp_path: Path) -> None:
    file = tmp_path / "told"
    async with open_server(tmp_path, config=CONFIG.format(file=file)) as server, server.device() as device:
        await device.attach("trip", agent="echo")
        await device.say("watch_sessions")
        await device.ask("trip", "hello")
        (card,) = await lines_of(file, 1)
        assert (card["kind"], card["state"]) == ("finished", "open"), "its connection is open all the time"
        async with open_terminal(server, "other", "--agent", "echo") as terminal:
            await terminal.type("hello there")
            await terminal.see("— complete —")
            settled = await device.wait_for("alert", session_id="other")
            assert settled["state"] == "settled", "it was never open: somebody looks"


NTFY = """
[push]
origin = "https://box.example.org"

[push.ntfy.phone]
url = "{url}/topic"
detail = "request"
actions = true
"""


@attrs.define(eq=False)
class Topic:
    """Keeps what an ntfy server would show."""

    url: str = ""
    shown: list[dict[str, Any]] = attrs.field(factory=list)
    cleared: list[str] = attrs.field(factory=list)

    async def take(self, request: Request) -> Response:
        if request.method == "PUT":
            self.cleared.append(request.url.path)
            return JSONResponse({})
        self.shown.append(await request.json())
        return JSONResponse({"sequence_id": self.shown[-1]["sequence_id"]})


@asynccontextmanager
async def open_topic() -> AsyncIterator[Topic]:
    topic, config = Topic(), Config()
    config.bind = ["127.0.0.1:0"]
    app = Starlette(routes=[Route("/{rest:path}", topic.take, methods=["POST", "PUT"])])
    async with trio.open_nursery() as nursery:
        (topic.url,) = await nursery.start(partial(serve, app, config))  # type: ignore[arg-type]
        yield topic
        nursery.cancel_scope.cancel()


async def test_a_button_of_ntfy_answers_a_request_once(tmp_path: Path) -> None:
    async with open_topic() as topic, open_server(tmp_path, config=NTFY.format(url=topic.url)) as server:
        async with server.device() as device, httpx.AsyncClient(base_url=server.url) as http:
            await device.attach("trip", agent="echo")
            await device.say("focus", session_id="trip", visible=False)
            await device.send("trip", "/ask tidy up")
            await device.wait_for("permission_requested")
            await until(lambda: bool(topic.shown))
            (card,) = topic.shown
            assert card["click"] == "https://box.example.org/#/s/trip"
            allow, deny = card["actions"]
            assert (allow["label"], deny["label"]) == ("Allow", "Deny")
            path = allow["url"].removeprefix("https://box.example.org")
            assert (await http.get(path)).status_code == 401, "a preview of the link answers nothing"
            assert (await http.post(path.replace("=allow", "=deny"))).status_code == 401
            answer = await http.post(path)
            assert (answer.status_code, answer.json()["by_device"]) == (200, "ntfy.phone")
            resolved = await device.wait_for("permission_resolved")
            assert (resolved["decision"], resolved["by_device"]) == ("allow", "ntfy.phone")
            again = await http.post(deny["url"].removeprefix("https://box.example.org"))
            assert (again.status_code, again.json()["error"]["code"]) == (409, "already_resolved")
            await until(lambda: bool(topic.cleared))
        assert topic.cleared == [f"/topic/{card['sequence_id']}/clear"]
