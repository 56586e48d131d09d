"""The full-screen client where several machines share one list."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import OptionList

from builderos.client.wire.frames import decode
from builderos.terminal.client import Client
from builderos.terminal.widgets.picker import Picker
from tests.builderos.terminal_client.stage import TIME, Stage, on_stage

HERE = {"id": "workstation", "state": "here"}
MINI = {"id": "mac-mini", "name": "Mac mini", "state": "there"}
AWAY = {**MINI, "state": "away"}
CLOUD = {"id": "cloud", "state": "away"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Answer the calls of the client as a server with three machines does; return their paths."""
    paths: list[str] = []

    async def call(self: Client, method: str, path: str, body: object = None) -> Mapping[str, Any]:
        paths.append(path)
        if path == "/api/nodes":
            return {"nodes": [HERE, MINI, CLOUD]}
        if path.startswith("/api/folders"):
            there = [{"name": "bread", "path": "/srv/bread", "git": None}]
            return {"path": "/srv", "folders": there, "recent": [{**there[0], "path": "/srv/cake"}]}
        if path.startswith("/api/desk/sessions?"):
            return {"sessions": [{"agent": "claude", "native_id": "n1", "title": "Bread of the mini"}]}
        return {"session_id": "desk-1"}

    monkeypatch.setattr(Client, "call", call)
    return paths


async def picker(stage: Stage, title: str) -> list[str]:
    """Wait for the picker of this title; return its rows."""
    for _ in range(100):
        await stage.settle()
        screen = stage.app.screen
        if isinstance(screen, Picker) and title in await stage.shown():
            return [str(one.prompt) for one in screen.query_one(OptionList).options]
    raise AssertionError(f"{title}: {await stage.shown()}")


def test_status_and_list_name_the_machine(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        assert "mini" not in await stage.shown()
        stage.attached(machine=MINI)
        assert "echo · Mac mini" in await stage.shown()
        entry = {"agent_type": "echo", "title": "Bread", "state": "idle", "last_activity": TIME}
        stage.frame("session_changed", **entry, machine=AWAY)
        assert "echo · Mac mini is away" in await stage.shown()
        stage.app.show_list()
        await stage.pilot.pause()
        assert "echo · Mac mini is away" in await stage.shown()

    on_stage(tmp_path, act, size=(100, 24))


def test_a_message_waits_for_its_machine(tmp_path: Path) -> None:
    """It stays in the outbox, on disk too, and goes out when the machine is back, with its id."""

    async def act(stage: Stage) -> None:
        stage.attached(machine=AWAY)
        await stage.press(*"bake it", "enter")
        [sent] = stage.link.of("send")
        stage.frame("rejected", message_id=sent["message_id"], code="machine_away")
        shown = await stage.shown()
        assert "waits for Mac mini" in shown
        assert "failed" not in shown
        assert [one.message_id for one in stage.app.client.keep.waiting()] == [sent["message_id"]]
        stage.frame("session_changed", title="Bread", machine=MINI)
        assert stage.link.of("send") == [sent, sent]
        assert "waiting to send" in await stage.shown()
        stage.frame("accepted", message_id=sent["message_id"], seq=1, duplicate=False)
        stage.turn("bake it", "Baked.", device_id="terminal", message_id=sent["message_id"])
        shown = await stage.shown()
        assert "waiting to send" not in shown
        assert stage.app.client.keep.waiting() == []

    on_stage(tmp_path, act)


def test_messages_of_another_session_wait_too(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        stage.attached(machine=AWAY)
        await stage.press(*"bake it", "enter")
        [sent] = stage.link.of("send")
        stage.app.open("other")
        await stage.settle()
        stage.frame("rejected", message_id=sent["message_id"], code="machine_away")
        entry = {"session_id": "trip", "title": "Bread", "machine": MINI}
        stage.frame("session_changed", **entry)
        assert stage.link.of("send") == [sent, sent]
        assert stage.app.client.sessions.entries["trip"]["machine"] == MINI

    on_stage(tmp_path, act)


def test_a_new_session_asks_for_the_machine_first(tmp_path: Path, asked: list[str]) -> None:
    async def act(stage: Stage) -> None:
        said = b'{"type": "ready", "content": "", "timestamp": "", "agents": ["echo"]}'
        stage.app.client.wire.ready = decode(said)
        stage.app.show_list()
        await stage.pilot.pause()
        await stage.press("ctrl+n")
        rows = await picker(stage, "on which machine?")
        assert rows == ["workstation  this server", "Mac mini"]
        await stage.press(*"mini", "enter")
        assert await picker(stage, "which agent?") == ["echo"]
        await stage.press("enter")
        rows = await picker(stage, "In which folder?")
        assert rows == ["The server's workspace", "/srv/cake  recent", "/srv/bread"]
        assert asked[-1] == "/api/folders?node=mac-mini"
        await stage.press(*"bread", "enter")
        await stage.settle()
        made = stage.link.of("attach")[-1]
        assert made["agent"] == "echo"
        assert made["settings"] == {"workspace": "/srv/bread", "node": "mac-mini"}

    on_stage(tmp_path, act, is_own=True)


def test_the_desk_of_another_machine(tmp_path: Path, asked: list[str]) -> None:
    async def act(stage: Stage) -> None:
        await stage.press(*"/desk", "enter")
        await picker(stage, "Terminals of which machine?")
        await stage.press(*"mini", "enter")
        await picker(stage, "Sessions that began in a terminal")
        assert asked[-1] == "/api/desk/sessions?limit=100&node=mac-mini"
        await stage.press("enter")
        await stage.settle()
        assert asked[-1] == "/api/desk/sessions/claude/n1/open?node=mac-mini"
        assert stage.app.client.conversation is not None
        assert stage.app.client.conversation.session_id == "desk-1"

    on_stage(tmp_path, act)
