"""Section 9: checkpoints, changes, undo, seen from outside, with an agent that lets the test do the work."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import httpx
import pytest
import trio

from tests.e2e.shared_server import all_events, hubs_of, open_http
from tests.support.device import Device, Json
from tests.support.server import Server, open_server


@attrs.frozen
class At:
    """A server, a device that drives the session `s` in `workspace`, and HTTP."""

    server: Server
    device: Device
    http: httpx.AsyncClient
    workspace: Path

    async def turn(self, work: dict[str, str | None], *, session_id: str = "s") -> Json:
        """Run a turn in which these files are written, or removed for None; return its checkpoint after it."""
        start = len(self.device.frames)
        await self.device.send(session_id, "/ask work")
        asked = await self.device.wait_for("permission_requested", start=start, session_id=session_id)
        for name, text in work.items():
            path = self.workspace / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        await self.device.say(
            "decide", session_id=session_id, request_id=asked["request_id"], decision="allow"
        )
        return await self.device.wait_for("checkpoint", start=start, session_id=session_id, position="after")

    async def undo(self, **what: object) -> Json:
        """Ask for an undo; return `undone` or the refusal."""
        start = len(self.device.frames)
        await self.device.say("undo", session_id="s", **what)
        return await self.device.wait_for(lambda frame: frame["type"] in {"undone", "rejected"}, start=start)

    def content(self) -> dict[str, str]:
        """Return the workspace's files."""
        files = (path for path in self.workspace.rglob("*") if path.is_file() and ".git" not in path.parts)
        return {str(path.relative_to(self.workspace)): path.read_text() for path in files}


@asynccontextmanager
async def working(place: Path, *, config: str = "") -> AsyncIterator[At]:
    """Open them on a new workspace."""
    workspace = place / "w"
    workspace.mkdir()
    async with (
        open_server(place, arguments=("--workspace", str(workspace)), config=config) as server,
        server.device() as device,
        open_http(server) as http,
    ):
        await device.attach("s", agent="echo")
        yield At(server, device, http, workspace)


def git(folder: Path, *arguments: str) -> bytes:
    identity = {"GIT_CONFIG_GLOBAL": "/dev/null", "PATH": os.environ["PATH"], "HOME": str(folder)}
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, env=identity).stdout


async def test_a_turn_is_saved_before_and_after(place: Path) -> None:
    async with working(place) as at:
        (at.workspace / "old.txt").write_text("one\ntwo\n")
        after = await at.turn({"new.txt": "1\n2\n", "old.txt": "one\n2\n"})
        events = await all_events(at.http, "s")
    (before,) = [one for one in events if one["type"] == "checkpoint" and one["position"] == "before"]
    turn_id = next(one["turn_id"] for one in events if one["type"] == "turn_started")
    assert before["turn_id"] is after["turn_id"] is None
    assert before["of_turn"] == after["of_turn"] == turn_id
    assert (after["files"], after["added"], after["removed"]) == (2, 3, 1)
    assert not after["late"]
    assert "files" not in before
    end = next(one for one in events if one["type"] == "complete")
    handed = next(one for one in events if one["type"] == "delivery" and one["state"] == "handed")
    assert handed["seq"] < before["seq"] < end["seq"] < after["seq"]


async def test_changes_of_a_turn_and_between_checkpoints(place: Path) -> None:
    async with working(place) as at:
        git(at.workspace, "init", "-q")
        (at.workspace / "a.txt").write_text("".join(f"{n}\n" for n in range(20)))
        first = await at.turn({"a.txt": "".join(f"{n}\n" for n in range(20) if n != 9)})
        (at.workspace / "person.txt").write_text("mine\n")
        second = await at.turn({"b.txt": "b\n", "person.txt": "mine\ntheirs\n"})
        url = "/api/sessions/s/changes"
        of_first = (await at.http.get(url, params={"turn": first["of_turn"]})).json()
        of_second = (await at.http.get(url, params={"turn": second["of_turn"]})).json()
        between = (
            await at.http.get(url, params={"from": first["checkpoint_id"], "to": second["checkpoint_id"]})
        ).json()
        (at.workspace / "b.txt").unlink()
        since = (await at.http.get(url)).json()
        one = (await at.http.get(url, params={"path": "person.txt"})).json()
        missing = await at.http.get(url, params={"turn": "nothing"})
        half = await at.http.get(url, params={"from": first["checkpoint_id"]})
    assert [(file["path"], file["status"], file["added"], file["removed"]) for file in of_first["files"]] == [
        ("a.txt", "modified", 0, 1)
    ]
    assert "@@ -7,7 +7,6 @@" in of_first["files"][0]["patch"]
    assert of_first["to"] == first["checkpoint_id"]
    told = {file["path"]: (file["status"], file["added"]) for file in of_second["files"]}
    assert told == {"b.txt": ("added", 1), "person.txt": ("modified", 1)}, "the person's own line is theirs"
    assert {file["path"]: file["added"] for file in between["files"]} == {"b.txt": 1, "person.txt": 2}
    assert {file["path"] for file in since["files"]} == {"a.txt", "person.txt"}
    assert since["to"] is None
    assert [file["path"] for file in one["files"]] == ["person.txt"]
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "no_checkpoint")
    assert half.status_code == 400


async def test_an_undo_takes_back_the_turn_and_keeps_what_came_later(place: Path) -> None:
    lines = [f"{n}\n" for n in range(30)]
    async with working(place) as at:
        (at.workspace / "code.txt").write_text("".join(lines))
        (at.workspace / "gone.txt").write_text("keep me\n")
        (at.workspace / "both.txt").write_text("start\n")
        before = at.content()
        after = await at.turn(
            {
                "code.txt": "".join(["agent\n", *lines]),
                "gone.txt": None,
                "dir/new.txt": "new\n",
                "both.txt": "agent\n",
            }
        )
        with (at.workspace / "code.txt").open("a") as file:
            file.write("person\n")
        (at.workspace / "both.txt").write_text("person\n")
        undone = await at.undo(turn_id=after["of_turn"])
        content = at.content()
        events = await all_events(at.http, "s")
        started = next(one for one in events if one["type"] == "undo_started")
        again = await at.undo(turn_id=after["of_turn"])
        redone = await at.undo(undo_id=undone["undo_id"])
        after_redo = at.content()
    assert undone["type"] == "undone"
    assert set(undone["files"]) == {"code.txt", "gone.txt", "dir/new.txt"}
    assert undone["conflicts"] == ["both.txt"]
    assert content == {**before, "code.txt": "".join([*lines, "person\n"]), "both.txt": "person\n"}
    assert not (at.workspace / "dir").exists() or after_redo
    assert started["turn_id"] == after["of_turn"]
    assert started["undo_id"] == undone["undo_id"]
    assert started["checkpoint_id"]
    assert (again["type"], again["code"]) == ("rejected", "nothing_to_undo")
    assert again["conflicts"] == ["both.txt"]
    assert redone["type"] == "undone"
    assert after_redo["code.txt"] == "".join(["agent\n", *lines, "person\n"])
    assert "gone.txt" not in after_redo


async def test_messages_wait_for_the_undo_and_a_turn_refuses_it(place: Path) -> None:
    async with working(place) as at:
        after = await at.turn({"a.txt": "a\n"})
        start = len(at.device.frames)
        await at.device.send("s", "/hang")
        await at.device.wait_for("turn_started", start=start)
        busy = await at.undo(turn_id=after["of_turn"], force=True)
        await at.device.say("interrupt", session_id="s")
        await at.device.wait_for("interrupted")
        undone = await at.undo(turn_id=after["of_turn"])
        end = await at.device.ask("s", "hello")
    assert (busy["type"], busy["code"]) == ("rejected", "busy")
    assert undone["files"] == ["a.txt"]
    assert end["type"] == "complete"


async def test_another_session_in_the_same_folder_is_named(place: Path) -> None:
    async with working(place) as at:
        after = await at.turn({"a.txt": "a\n"})
        await at.device.attach("other", agent="echo")
        await at.device.send("other", "/hang")
        await at.device.wait_for("turn_started", session_id="other")
        busy = await at.undo(turn_id=after["of_turn"])
        forced = await at.undo(turn_id=after["of_turn"], force=True)
        await at.device.say("interrupt", session_id="other")
        await at.device.wait_for("interrupted", session_id="other")
    assert (busy["code"], busy["by_session"]) == ("busy", "other")
    assert forced["files"] == ["a.txt"]


async def test_the_persons_repository_stays_as_it_is(place: Path) -> None:
    async with working(place) as at:
        git(at.workspace, "init", "-q")
        (at.workspace / "a.txt").write_text("a\n")
        git(at.workspace, "add", "-A")
        git(at.workspace, "commit", "-qm", "x")
        (at.workspace / "staged.txt").write_text("s\n")
        git(at.workspace, "add", "staged.txt")
        (at.workspace / "a.txt").write_text("changed\n")
        hook = at.workspace / ".git/hooks/reference-transaction"
        hook.write_text(f"#!/bin/sh\ntouch {place}/ran\n")
        hook.chmod(0o755)
        before = snapshot_of(at.workspace / ".git")
        after = await at.turn({"a.txt": "agent\n", "staged.txt": None})
        await at.http.get("/api/sessions/s/changes")
        await at.undo(turn_id=after["of_turn"])
        assert snapshot_of(at.workspace / ".git") == before
    assert not (place / "ran").exists()
    assert at.content()["a.txt"] == "changed\n"
    assert at.content()["staged.txt"] == "s\n"


def snapshot_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return every file below a folder, with its time."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


async def test_checkpoints_can_be_switched_off(place: Path) -> None:
    async with working(place, config="checkpoints = false\n") as at:
        await at.device.ask("s", "hello")
        refused = await at.undo(turn_id="t")
        changes = await at.http.get("/api/sessions/s/changes")
        events = await all_events(at.http, "s")
    assert not [one for one in events if one["type"] in {"checkpoint", "notice"}]
    assert refused["code"] == "no_checkpoint"
    assert changes.status_code == 404
    assert not (at.server.data / "checkpoints").exists()


@pytest.mark.parametrize("moment", ["before the end", "after the end"])
async def test_a_killed_server_loses_no_checkpoint(place: Path, moment: str) -> None:
    async with working(place) as at:
        device, server = at.device, at.server
        await device.send("s", "/ask work")
        asked = await device.wait_for("permission_requested")
        (at.workspace / "a.txt").write_text("a\n")
        await device.say("decide", session_id="s", request_id=asked["request_id"], decision="allow")
        await device.wait_for("complete" if moment == "after the end" else "permission_resolved")
        await server.kill9()
        await server.restart()
        async with server.device() as again, open_http(server) as http:
            await again.attach("s", agent="echo")
            with trio.fail_after(40):
                while True:
                    events = await all_events(http, "s")
                    ended = [
                        one for one in events if one["type"] == "checkpoint" and one["position"] == "after"
                    ]
                    if ended:
                        break
                    await trio.sleep(0.05)
            changes = (await http.get("/api/sessions/s/changes", params={"turn": ended[0]["of_turn"]})).json()
    assert [file["path"] for file in changes["files"]] == ["a.txt"]


async def test_a_dead_hub_leaves_a_late_checkpoint_to_the_next_one(place: Path) -> None:
    async with working(place) as at:
        device = at.device
        await device.send("s", "/ask work")
        await device.wait_for("permission_requested")
        (at.workspace / "a.txt").write_text("a\n")
        hub = hubs_of(at.server.data)["s"]
        hub.kill()
        failed = await device.wait_for("error")
        start = len(device.frames)
        await device.send("s", "hello")
        late = await device.wait_for("checkpoint", start=start, position="after")
        changes = (await at.http.get("/api/sessions/s/changes", params={"turn": failed["turn_id"]})).json()
        undone = await at.undo(turn_id=failed["turn_id"], force=True)
    assert late["late"] is True
    assert late["of_turn"] == failed["turn_id"]
    assert [file["path"] for file in changes["files"]] == ["a.txt"]
    assert undone["type"] in {"undone", "rejected"}


async def test_a_server_that_dies_during_an_undo_finishes_it_once(place: Path) -> None:
    async with working(place) as at:
        names = [f"{number}.txt" for number in range(200)]
        after = await at.turn(dict.fromkeys(names, "agent\n"))
        start = len(at.device.frames)
        await at.device.say("undo", session_id="s", turn_id=after["of_turn"])
        await at.device.wait_for("undo_started", start=start)
        await at.server.kill9()
        await at.server.restart()
        async with at.server.device() as again, open_http(at.server) as http:
            await again.attach("s", history=50)
            undone = await again.wait_for("undone", start=0)
            events = await all_events(http, "s")
    assert undone["conflicts"] == []
    assert set(undone["files"]) == set(names)
    assert at.content() == {}
    assert len([one for one in events if one["type"] == "undo_started"]) == 1
    assert len([one for one in events if one["type"] == "undone"]) == 1
