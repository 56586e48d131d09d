"""The real Claude Code and Codex change files by edit tools and by shell; changes and undo show and take back both."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tests.e2e.shared_server import all_events, open_http
from tests.e2e.test_claude import START_S, open_place
from tests.e2e.test_codex import open_place as open_codex_place
from tests.standin.openai import shell
from tests.standin.openai_replies import patch
from tests.standin.replies import Answer, ToolUse
from tests.support.device import Device, Json
from tests.support.server import Server

SHELL = (
    "printf 'new\\n' > made.txt; rm gone.txt; chmod +x tool.sh; mv old.txt moved.txt; ln -s moved.txt link; "
    "mkdir -p deep && printf x > deep/er.txt"
)
LINES = [f"{n}\n" for n in range(30)]


def prepare(folder: Path) -> None:
    (folder / "code.txt").write_text("".join(LINES))
    (folder / "gone.txt").write_text("gone\n")
    (folder / "tool.sh").write_text("#!/bin/sh\n")
    (folder / "old.txt").write_text("".join(f"old {n}\n" for n in range(9)))


def listed(folder: Path) -> dict[str, tuple[bool, str]]:
    """Return each file: whether it is a program, and its content or where it leads."""
    found: dict[str, tuple[bool, str]] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = (False, f"-> {os.readlink(path)}")
        elif path.is_file() and not name.startswith("."):
            found[name] = (bool(path.stat().st_mode & stat.S_IXUSR), path.read_text())
    return found


async def saved(device: Device, sid: str, content: str) -> Json:
    """Send a message, allow what is asked, and return the checkpoint after its turn."""
    start = len(device.frames)
    assert (await device.send(sid, content))["type"] == "accepted"
    while True:
        found = await device.wait_for(
            lambda one: (
                one["type"] == "permission_requested"
                or (one["type"], one.get("position")) == ("checkpoint", "after")
            ),
            start=start,
            limit_s=2 * START_S,
        )
        if found["type"] == "checkpoint":
            return found
        start = device.frames.index(found) + 1
        await device.say("decide", session_id=sid, request_id=found["request_id"], decision="allow")


async def check_and_undo(server: Server, device: Device, folder: Path, after: Json) -> Json:
    """Hold the changes of a turn to what was done, then take it back while the person's own line stays."""
    async with open_http(server) as http:
        told = (await http.get("/api/sessions/trip/changes", params={"turn": after["of_turn"]})).json()
        events = await all_events(http, "trip")
    assert {file["path"]: file["status"] for file in told["files"]} == {
        "code.txt": "modified",
        "made.txt": "added",
        "written.txt": "added",
        "gone.txt": "deleted",
        "tool.sh": "mode",
        "moved.txt": "renamed",
        "link": "added",
        "deep/er.txt": "added",
    }
    (before,) = [one for one in events if one["type"] == "checkpoint" and one["position"] == "before"]
    first_tool = next(one for one in events if one["type"] == "tool_finished")
    assert before["seq"] < first_tool["seq"]
    with (folder / "code.txt").open("a") as file:
        file.write("person\n")
    start = len(device.frames)
    await device.say("undo", session_id="trip", turn_id=after["of_turn"])
    undone = await device.wait_for(lambda one: one["type"] in {"undone", "rejected"}, start=start)
    assert undone["type"] == "undone", undone
    assert undone["conflicts"] == []
    diffs = [diff for one in events if one["type"] == "tool_finished" for diff in one.get("diff", ())]
    assert {diff["path"] for diff in diffs} == {"code.txt", "written.txt"}
    return next(diff for diff in diffs if diff["path"] == "code.txt")


def expected(folder: Path) -> dict[str, tuple[bool, str]]:
    other = folder.parent / "expected"
    other.mkdir()
    prepare(other)
    (other / "code.txt").write_text("".join([*LINES, "person\n"]))
    return listed(other)


async def test_claude_code(place: Path) -> None:
    async with open_place(place) as it, it.server.device() as device:
        prepare(it.workspace)
        path = str(it.workspace / "code.txt")
        read = ToolUse("Read", {"file_path": path})
        edit = ToolUse("Edit", {"file_path": path, "old_string": "3\n4\n", "new_string": "3\nfour\n"})
        write = ToolUse("Write", {"file_path": str(it.workspace / "written.txt"), "content": "w\n"})
        bash = ToolUse("Bash", {"command": SHELL, "description": "x"})
        it.standin.script(*map(Answer.of, (read, edit, write, bash)), Answer.of("done"))
        await device.attach("trip", agent="free")
        after = await saved(device, "trip", "work")
        assert not device.events("trip", "checkpoint")[0]["late"]
        diff = await check_and_undo(it.server, device, it.workspace, after)
        assert (diff["added"], diff["removed"]) == (1, 1)
        assert "\n-4\n+four\n" in diff["patch"]
        assert "@@ -2," in diff["patch"]
        assert listed(it.workspace) == expected(it.workspace)
        it.standin.script(Answer.of("I see"))
        await saved(device, "trip", "go on")
        told = it.standin.requests[-1].user_texts[-1]
        assert told.endswith("go on")
        assert "took changes back" in told
        assert "'deep/er.txt'" in told
        it.standin.script(Answer.of("yes"))
        await saved(device, "trip", "and on")
        assert it.standin.requests[-1].user_texts[-1] == "and on"


async def test_a_request_of_claude_code_shows_what_it_would_change(place: Path) -> None:
    async with open_place(place) as it, it.server.device() as device:
        prepare(it.workspace)
        path = str(it.workspace / "code.txt")
        edit = ToolUse("Edit", {"file_path": path, "old_string": "20\n", "new_string": "twenty\n"})
        it.standin.script(Answer.of(ToolUse("Read", {"file_path": path})), Answer.of(edit), Answer.of("done"))
        await device.attach("trip", agent="claude")
        await device.send("trip", "work")
        asked = await device.wait_for("permission_requested", limit_s=START_S)
        await device.say("decide", session_id="trip", request_id=asked["request_id"], decision="deny")
        await device.wait_for("complete", limit_s=START_S)
    (diff,) = asked["diff"]
    assert diff["path"] == "code.txt"
    assert "@@ -18,7 +18,7 @@\n 17\n 18\n 19\n-20\n+twenty\n 21\n" in diff["patch"]


PATCH = """*** Begin Patch
*** Update File: code.txt
@@
 3
-4
+four
 5
*** Add File: written.txt
+w
*** End Patch"""


async def test_codex(place: Path) -> None:
    async with open_codex_place(place) as it, it.server.device() as device:
        prepare(it.workspace)
        it.standin.script(Answer.of(patch(PATCH)), Answer.of(shell(SHELL)), Answer.of("done"))
        await device.attach("trip", agent="codex")
        after = await saved(device, "trip", "work")
        diff = await check_and_undo(it.server, device, it.workspace, after)
        assert (diff["added"], diff["removed"]) == (1, 1)
        assert diff["patch"].startswith(
            "diff --git a/code.txt b/code.txt\n--- a/code.txt\n+++ b/code.txt\n@@ -"
        )
        assert listed(it.workspace) == expected(it.workspace)
