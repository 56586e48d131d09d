"""What a person allows for a session, and the whole of long tool data, with the real program."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path

import orjson
import pytest
import trio
from claude_agent_sdk import PermissionUpdate
from claude_agent_sdk.types import PermissionRuleValue

from bridgehub.agents.claude.driver import ClaudeDriver
from bridgehub.agents.claude.permissions import grant_of
from bridgehub.agents.claude.translate.output import WholeOutput, read_output
from bridgehub.agents.text import Cut
from bridgehub.protocol.events import Noticed, PermissionAsked, ToolBegan, ToolEnded, TurnDone
from bridgehub.protocol.messages import Decided
from tests.bridgehub.claude_hub import open_claude_hub
from tests.standin.replies import Answer, ToolUse
from tests.standin.rig import SDK_DROPS_GENERATORS, Asked, RecordingSink, open_rig

pytestmark = pytest.mark.filterwarnings(SDK_DROPS_GENERATORS)


def bash(command: str) -> ToolUse:
    return ToolUse("Bash", {"command": command, "description": "try it"})


def answering(decided: Decided) -> RecordingSink:
    return RecordingSink(decide=lambda asked: decided)


async def test_allowed_for_the_session_is_not_asked_again(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver = rig.driver()
        for tool in (bash("python3 -c 'print(1)'"), bash("touch made.txt && echo yes")):
            rig.standin.script(Answer.of(tool), Answer.of("done"), Answer.of(tool), Answer.of("done"))
            _, first = await rig.turn(driver, "one", answering(Decided("r", "allow_session")))
            (asked,) = first.of(Asked)
            assert asked.grant is not None
            assert f"use Bash for {tool.input['command'][:5]}" in asked.grant
            _, second = await rig.turn(driver, "two")
            assert second.of(Asked) == [], tool
            assert [ended.is_error for ended in second.of(ToolEnded)] == [False]
        # A command that was not allowed is still asked for.
        rig.standin.script(Answer.of(bash("python3 -c 'print(2)'")), Answer.of("done"))
        _, third = await rig.turn(driver, "three", answering(Decided("r", "deny")))
        assert len(third.of(Asked)) == 1
        assert not list(rig.workspace.glob(".claude/*"))


async def test_what_was_allowed_for_the_session_counts_in_its_next_hub(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        run = Answer.of(bash("python3 -c 'print(1)'"))
        grants: tuple[str, ...] = ()
        for place in ("first", "second"):
            (tmp_path / place).mkdir()
            rig.standin.script(run, Answer.of("done"))
            async with open_claude_hub(rig, tmp_path / place, grants=grants) as hub:
                reader = await hub.reader()
                await reader.link.send(rig.prompt("run it"))
                if not grants:
                    asked = (await reader.read_until(PermissionAsked))[-1].event
                    assert isinstance(asked, PermissionAsked)
                    assert asked.grant == "use Bash for python3 -c 'print(1)'"
                    await reader.link.send(Decided(asked.request_id, "allow_session"))
                    grants = (asked.grant,)
                told = [item.event for item in await reader.read_until(TurnDone)]
            assert not any(isinstance(event, PermissionAsked) for event in told)
            assert [event.output for event in told if isinstance(event, ToolEnded)] == ["1"]


def test_words_for_a_grant() -> None:
    rule = PermissionRuleValue("Bash", "ls *")
    allow = PermissionUpdate("addRules", rules=[rule, PermissionRuleValue("WebFetch")], behavior="allow")
    folder = PermissionUpdate("addDirectories", directories=["/a"])
    mode = PermissionUpdate("setMode", mode="acceptEdits")
    assert grant_of([allow, folder, mode]) == (
        "use Bash for ls *; use WebFetch; use the folder /a; edit files in the workspace without asking"
    )
    assert grant_of([]) is None
    for unknown in (
        PermissionUpdate("addRules", rules=[rule], behavior="deny"),
        PermissionUpdate("setMode", mode="plan"),
        PermissionUpdate("addRules", rules=[PermissionRuleValue("Bash", "x" * 2000)], behavior="allow"),
    ):
        assert grant_of([allow, unknown]) is None


async def test_long_tool_data_is_cut_and_told_by_size_and_hash(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        content = "é" * 600_000  # a message of the program over 1 MiB, the SDK's own limit
        target = rig.workspace / "long.txt"
        rig.standin.script(
            Answer.of(ToolUse("Write", {"file_path": str(target), "content": content})),
            Answer.of("done"),
        )
        blobs = tmp_path / "blobs"
        mine = {"trusted_folders": (str(rig.workspace),), "blob_folder": str(blobs)}
        driver = rig.driver(permission_mode="bypassPermissions", **mine)
        _, sink = await rig.turn(driver, "write it")
        began = sink.of(ToolBegan)[0]
        assert isinstance(began.input, str)
        assert len(began.input.encode()) in (64 * 1024, 64 * 1024 - 1)
        whole = orjson.dumps({"file_path": str(target), "content": content})
        assert began.blob == {"size": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}
        assert target.read_text() == content
        (kept,) = blobs.iterdir()
        assert (kept.name, kept.read_bytes()) == (began.blob["sha256"], whole)
        assert kept.stat().st_mode & 0o777 == 0o600

        # A command's output, the same way.
        output = "line " * 20_000
        (rig.workspace / "lines").write_text(output)
        cat = ToolUse("Bash", {"command": "cat lines", "description": "x"})
        rig.standin.script(Answer.of(cat), Answer.of("done"))
        _, sink = await rig.turn(driver, "show it")
        (ended,) = sink.of(ToolEnded)
        assert ended.blob is not None
        assert len(ended.output) == 64 * 1024
        assert (blobs / ended.blob["sha256"]).read_text() == output

        # Of an endless one the program keeps 64 MB, and that is shown.
        endless = ToolUse("Bash", {"command": "head -c 70000000 /dev/zero", "description": "x"})
        rig.standin.script(Answer.of(endless), Answer.of("done"))
        _, sink = await rig.turn(driver, "all of it")
        blob = sink.of(ToolEnded)[0].blob
        assert blob is not None
        assert blob["size"] < 70_000_000
        (notice,) = sink.of(Noticed)
        assert (notice.code, str(70_000_000 - blob["size"]) in notice.content) == ("output_cut", True)

        # There is no room for it: that is shown, and the turn continues.
        shutil.rmtree(blobs)
        blobs.write_text("no folder")
        rig.standin.script(Answer.of(cat), Answer.of("done"))
        end, sink = await rig.turn(driver, "again")
        assert isinstance(end, TurnDone)
        assert [notice.code for notice in sink.of(Noticed)] == ["output_cut"]


MCP_SERVER = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    answers = {
        "initialize": {
            "protocolVersion": asked.get("params", {}).get("protocolVersion"),
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "talker", "version": "1"},
        },
        "tools/list": {"tools": [{"name": "talk", "inputSchema": {"type": "object", "properties": {}}}]},
        "tools/call": {"content": [{"type": "text", "text": "word " * 40_000}]},
    }
    if "id" in asked:
        result = answers.get(asked["method"], {})
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


async def test_the_workspaces_own_mcp_server_and_its_long_output(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        (rig.workspace / "talker.py").write_text(MCP_SERVER)
        talker = {"command": sys.executable, "args": [str(rig.workspace / "talker.py")]}
        (rig.workspace / ".mcp.json").write_text(json.dumps({"mcpServers": {"talker": talker}}))
        (rig.workspace / ".claude").mkdir()
        (rig.workspace / ".claude" / "settings.json").write_text('{"enableAllProjectMcpServers": true}')
        blobs = tmp_path / "blobs"
        mine = {"trusted_folders": (str(rig.workspace),), "blob_folder": str(blobs)}
        driver = rig.driver(permission_mode="bypassPermissions", **mine)
        await rig.turn(driver, "hello")
        with trio.fail_after(40):
            while not await has_server(driver):  # noqa: ASYNC110 -- it comes up beside the first turn
                await trio.sleep(0.02)
        rig.standin.script(Answer.of(ToolUse("mcp__talker__talk", {})), Answer.of("done"))
        _, sink = await rig.turn(driver, "talk")
        (ended,) = sink.of(ToolEnded)
        assert ended.blob is not None
        assert ended.output == ("word " * 40_000)[: 64 * 1024]
        assert (blobs / ended.blob["sha256"]).read_text() == "word " * 40_000


async def has_server(driver: ClaudeDriver) -> bool:
    assert driver._session is not None
    status = await driver._session._client.get_mcp_status()
    return any(server["status"] == "connected" for server in status["mcpServers"])


def test_only_the_programs_own_files_are_read(tmp_path: Path) -> None:
    projects = tmp_path / "projects"
    projects.mkdir()
    (tmp_path / "secret").write_text("x")
    (projects / "link").symlink_to(tmp_path / "secret")
    (projects / "out.txt").write_text("whole")
    for named in (tmp_path / "secret", projects / "link", projects / ".." / "secret", projects / "gone"):
        assert read_output({"persistedOutputPath": str(named)}, projects) is None
    read = read_output({"persistedOutputPath": str(projects / "out.txt"), "persistedOutputSize": 9}, projects)
    assert read == WholeOutput(Cut("whole"), 4)
    assert read_output("no structure", projects) is None


async def test_an_edit_tells_enough_to_draw_it(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        target = rig.workspace / "poem.txt"
        target.write_text("roses are red\n")
        edit = {"file_path": str(target), "old_string": "red", "new_string": "blue"}
        rig.standin.script(
            Answer.of(ToolUse("Read", {"file_path": str(target)})),
            Answer.of(ToolUse("Edit", edit)),
            Answer.of(ToolUse("Write", {"file_path": str(target), "content": "violets\n"})),
            Answer.of("done"),
        )
        driver, sink = rig.driver(permission_mode="acceptEdits"), RecordingSink()
        await rig.turn(driver, "edit it", sink)
        began = {event.name: event.input for event in sink.of(ToolBegan)}
        assert began["Edit"].items() >= edit.items()
        assert began["Write"] == {"file_path": str(target), "content": "violets\n"}
        assert not any(ended.is_error for ended in sink.of(ToolEnded))
        assert target.read_text() == "violets\n"
