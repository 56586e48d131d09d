"""What an agent of the ACP asks for: permissions by its own options, files and commands in the workspace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from bridgehub.protocol.events import ToolBegan, ToolEnded
from bridgehub.protocol.hub_spec import Setup
from bridgehub.protocol.messages import Decided
from tests.standin.acp_rig import AcpRig, AcpSink, deciding, open_acp_rig
from tests.standin.rig import eventually


async def test_options_are_decisions_by_kind_and_the_others_labels(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        _, sink = await rig.turn(rig.driver(), "write a.txt hello", deciding("allow"))
        (asked,) = sink.asked
        assert asked.words is not None
        assert asked.words.options == (
            "allow",
            "deny",
            "allow_session",
            "Always allow in this folder",
            "Reject always",
        )
        assert asked.words.denying == ("Reject always",)
        assert (asked.words.kind, asked.words.title) == ("edit", "Write a.txt")
        assert asked.grant == f"Always allow: Write a.txt {rig.workspace}/a.txt"
        (entry,) = asked.words.diff
        assert (entry["path"], entry["status"], entry["added"]) == ("a.txt", "added", 1)
        assert entry["patch"].endswith("+hello\n")


@pytest.mark.parametrize(
    ("answer", "chosen"),
    [
        ({"decision": "allow"}, "once"),
        ({"decision": "allow_session"}, "always"),
        ({"decision": "deny"}, "no"),
        ({"decision": "cancelled"}, "cancelled"),
        ({"decision": "allow", "option": "Always allow in this folder"}, "folder"),
        ({"decision": "deny", "option": "Reject always"}, "never"),
        ({"decision": "allow", "option": "no such option"}, "cancelled"),
    ],
)
async def test_an_answer_chooses_the_agents_option(
    tmp_path: Path, answer: dict[str, Any], chosen: str
) -> None:
    async with open_acp_rig(tmp_path) as rig:
        _, sink = await rig.turn(rig.driver(), "write a.txt hello", deciding(**answer))
        (began,), (ended,) = sink.of(ToolBegan), sink.of(ToolEnded)
        assert (began.name, began.input["paths"]) == ("edit", [f"{rig.workspace}/a.txt"])
        assert (ended.output, ended.is_error) == (
            f"chose {chosen}",
            chosen not in ("once", "always", "folder"),
        )
        assert (rig.workspace / "a.txt").exists() is not ended.is_error
        assert (ended.diff is None) is ended.is_error


async def test_a_request_about_an_unknown_call_shows_its_options(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        _, sink = await rig.turn(rig.driver(), "bare", deciding("allow", option="Always allow"))
        (asked,) = sink.asked
        assert asked.words is not None
        assert asked.grant is None
        assert asked.words.options is not None
        assert "Always allow" in asked.words.options
        assert "allow_session" not in asked.words.options
        assert sink.text() == "chose always"
        assert sink.of(ToolBegan) == []


@pytest.mark.parametrize("may_bypass", [False, True])
async def test_a_plan_is_never_approved_into_bypass_unasked(tmp_path: Path, may_bypass: bool) -> None:
    async with open_acp_rig(tmp_path) as rig:
        driver = rig.driver(options={"allow_bypass": may_bypass})
        _, sink = await rig.turn(driver, "approve 1. do it", deciding("allow_session"))
        (asked,) = sink.asked
        assert asked.words is not None
        assert (asked.words.kind, asked.tool_input["plan"]) == ("plan", "1. do it")
        assert sink.text() == ("chose exit-plan-bypass" if may_bypass else "chose cancelled")


async def test_the_note_of_a_refusal_goes_along_with_the_next_message(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        driver = rig.driver()
        await rig.turn(driver, "write a.txt hello", deciding("deny", note="use b.txt"))
        await rig.turn(driver, "go on")
        assert "use b.txt" in rig.had()["blocks"][0]["text"]
        await rig.turn(driver, "go on")
        assert len(rig.had()["blocks"]) == 1


# ---- files ----


async def client(rig: AcpRig, sink: AcpSink, method: str, **params: Any) -> Any:
    """Have the agent call us; return what it was answered."""
    driver = rig.drivers[-1] if rig.drivers else rig.driver()
    _, sink = await rig.turn(driver, f"client {method} {orjson.dumps(params).decode()}", sink)
    return orjson.loads(sink.text())


async def test_files_are_read_and_written_after_a_person_allowed_it(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        path = str(rig.workspace / "notes" / "a.txt")
        sink = deciding("allow")
        assert await client(rig, sink, "fs/write_text_file", path=path, content="one\ntwo\nthree\n") is None
        (asked,) = sink.asked
        assert asked.words is not None
        assert (asked.words.kind, asked.words.title, asked.words.modes) == (
            "edit",
            "Write notes/a.txt",
            ("yolo",),
        )
        assert asked.words.diff[0]["added"] == 3
        sink = deciding("allow")
        answer = await client(rig, sink, "fs/read_text_file", path=path, line=2, limit=1)
        assert answer == {"content": "two\n"}
        assert sink.asked[0].grant == "read files in the workspace"
        denied = await client(rig, deciding("deny"), "fs/write_text_file", path=path, content="x")
        assert "did not allow" in denied["message"]
        assert (rig.workspace / "notes/a.txt").read_text() == "one\ntwo\nthree\n"


async def test_a_file_outside_the_workspace_is_an_error(
    tmp_path: Path,
) -> None:
    async with open_acp_rig(tmp_path) as rig:
        secret = rig.home / "secret"
        secret.write_text("secret")
        (rig.workspace / "link").symlink_to(secret)
        (rig.workspace / "out").symlink_to(rig.home)
        os.mkfifo(rig.workspace / "pipe")
        sink = deciding("allow")
        for path in (str(secret), "../home/secret", "link", "out/secret", "", "a\0b", ".", "x" * 5000):
            for method in ("fs/read_text_file", "fs/write_text_file"):
                answer = await client(rig, sink, method, path=path, content="mine")
                assert answer["code"] == -32602, path
                sink.events = [one for one in sink.events if one in sink.asked]
        assert sink.asked == []
        assert secret.read_text() == "secret"
        answer = await client(rig, deciding("allow"), "fs/read_text_file", path="pipe")
        assert answer["message"] == "that is not a file"


async def test_a_link_that_comes_while_a_person_is_asked_leads_nowhere(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        secret, path = rig.home / "secret", rig.workspace / "a.txt"
        secret.write_text("secret")

        def swap(_: object) -> Decided:
            path.symlink_to(secret)
            return Decided("request", "allow")

        answer = await client(rig, AcpSink(decide=swap), "fs/write_text_file", path=str(path), content="mine")
        assert answer["code"] == -32602
        assert secret.read_text() == "secret"


async def test_a_mode_that_never_asks_asks_for_no_file(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        driver = rig.driver(options={"allow_bypass": True})
        path = str(rig.workspace / "a.txt")
        params = orjson.dumps({"path": path, "content": "hello"}).decode()
        setup = Setup(permission_mode="yolo")
        _, sink = await rig.turn(driver, f"client fs/write_text_file {params}", setup=setup)
        assert sink.asked == []
        assert (rig.workspace / "a.txt").read_text() == "hello"


# ---- commands ----


async def test_an_allowed_command_runs_and_its_output_is_the_tools(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        _, sink = await rig.turn(rig.driver(), "shell pwd; exit 3", deciding("allow"))
        told = orjson.loads(sink.text())
        assert told["status"] == {"exitCode": 3, "signal": None}
        assert told["output"] == f"{rig.workspace}\n"
        assert [one.output for one in sink.of(ToolEnded)] == [f"{rig.workspace}\n"]
        (asked,) = sink.asked
        assert asked.words is not None
        assert (asked.words.kind, asked.tool_input["command"]) == ("command", "/bin/sh -c pwd; exit 3")
        _, denied = await rig.turn(rig.drivers[0], "shell pwd", deciding("deny", note="not now"))
        assert denied.text() == "the person did not allow it: not now"


async def test_a_commands_output_is_bounded(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        _, sink = await rig.turn(rig.driver(), "shell yes é | head -c 3000000", deciding("allow"))
        told = orjson.loads(sink.text())
        assert told["truncated"] is True
        assert 1_000_000 < len(told["output"].encode()) <= 1024 * 1024
        assert "\ufffd" not in told["output"]


async def test_commands_end_with_the_agent_and_with_an_interrupt(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        driver = rig.driver()
        made = await client(
            rig,
            deciding("allow"),
            "terminal/create",
            command="/bin/sh",
            args=["-c", "echo $$ > pid; sleep 1000"],
        )
        assert made == {"terminalId": "terminal-1"}
        file = rig.workspace / "pid"
        await eventually(lambda: file.exists() and bool(file.read_text()))
        process = psutil.Process(int(file.read_text()))
        await driver.aclose()
        await eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("terminal/output", {"terminalId": "no such"}),
        ("terminal/kill", {}),
        ("terminal/create", {"command": ""}),
        ("terminal/create", {"command": "ls", "cwd": "/"}),
        ("terminal/create", {"command": "no-such-program"}),
        ("fs/write_text_file", {"path": "a.txt"}),
        ("fs/read_text_file", {"path": "missing.txt"}),
    ],
)
async def test_what_cannot_be_is_one_error_and_the_turn_goes_on(
    tmp_path: Path, method: str, params: dict[str, Any]
) -> None:
    async with open_acp_rig(tmp_path) as rig:
        answer = await client(rig, deciding("allow"), method, **params)
        assert answer["code"] == -32602
        assert answer["message"]
