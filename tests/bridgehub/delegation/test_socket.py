"""The `delegate` tool beside an agent: the MCP server that Codex starts, and the hub's socket that it calls."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import orjson
import trio

from bridgehub.delegation import stdio_server
from bridgehub.delegation.mcp import codex_arguments, open_codex_turn
from bridgehub.delegation.socket import socket_path_of
from bridgehub.delegation.tasks import Delegation, TaskResult
from bridgehub.protocol.events import TaskBegan, TaskEnded, TaskProgressed
from tests.bridgehub.delegation.delegating import Cast, hang
from tests.standin.rig import RecordingSink


@attrs.define(eq=False)
class McpClient:
    """Speaks MCP with the server that Codex would start."""

    process: trio.Process
    buffer: bytes = b""
    number: int = 0

    async def send(self, **message: Any) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(orjson.dumps({"jsonrpc": "2.0", **message}) + b"\n")

    async def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        while b"\n" not in self.buffer:
            data = await self.process.stdout.receive_some()
            assert data, "the server ended"
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        message: dict[str, Any] = orjson.loads(line)
        return message

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        await self.send(id=self.number, method=method, params=params)
        answer = await self.receive()
        assert answer["id"] == self.number
        result: dict[str, Any] = answer.get("result", answer)
        return result


async def start_server(delegation: Delegation) -> McpClient:
    """Start the server as the options for Codex say it."""
    options = dict(option.split("=", 1) for option in codex_arguments(delegation)[1::2])
    table = {
        name.removeprefix("mcp_servers.builderos."): orjson.loads(text) for name, text in options.items()
    }
    assert table["default_tools_approval_mode"] == "approve"
    assert table["env.BUILDEROS_HUB"] == delegation.spec.hub_id
    process = await trio.lowlevel.open_process(
        [table["command"], *table["args"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={}, cwd="/"
    )
    return McpClient(process)


async def stop_server(client: McpClient) -> None:
    assert client.process.stdin is not None
    assert client.process.stdout is not None
    with trio.fail_after(20):
        await client.process.stdin.aclose()
        assert await client.process.wait() == 0
        await client.process.stdout.aclose()


async def test_the_server_beside_an_agent(tmp_path: Path) -> None:
    sink, delegation = RecordingSink(), Cast({"hang": hang}).delegation(tmp_path)
    arguments = {"agent": "echo", "task": "say it back", "context": None}
    with trio.fail_after(30):
        client = await start_server(delegation)
        greeting = await client.call(
            "initialize", protocolVersion="2025-03-26", capabilities={}, clientInfo={}
        )
        assert (greeting["protocolVersion"], greeting["serverInfo"]["name"]) == ("2025-03-26", "builderos")
        await client.send(method="notifications/initialized")
        (tool,) = (await client.call("tools/list"))["tools"]
        assert tool["name"] == "delegate"
        assert tool["inputSchema"]["properties"]["agent"]["enum"] == ["absent", "echo", "hang"]
        outside = await client.call("tools/call", name="delegate", arguments=arguments)
        assert outside["isError"]
        async with open_codex_turn(delegation, "t1", sink):
            assert (await trio.Path(socket_path_of(delegation.spec)).stat()).st_mode & 0o777 == 0o600
            told = await client.call("tools/call", name="delegate", arguments=arguments)
            assert told == {"content": [{"type": "text", "text": "echo: say it back "}], "isError": False}
            bad = await client.call("tools/call", name="delegate", arguments={"agent": 7})
            assert bad["isError"]
            assert (await client.call("resources/list"))["error"]["code"] == -32601
            await client.send(
                id="h", method="tools/call", params={"arguments": {"agent": "hang", "task": "x"}}
            )
            await sink.until(lambda seen: len(seen.of(TaskBegan)) == 2)
            await client.send(method="notifications/cancelled", params={"requestId": "h"})
            await sink.until(lambda seen: len(seen.of(TaskEnded)) == 2)
            assert sink.of(TaskEnded)[1].state == "cancelled"
            assert (await client.receive())["id"] == "h"
            await client.call("tools/call", name="delegate", arguments=arguments)
        assert not await trio.Path(socket_path_of(delegation.spec)).exists()
        await stop_server(client)


async def test_a_dead_caller_cancels_its_task_and_garbage_is_harmless(tmp_path: Path) -> None:
    sink, delegation = RecordingSink(), Cast({"hang": hang}).delegation(tmp_path)
    with trio.fail_after(30):
        client = await start_server(delegation)
        async with open_codex_turn(delegation, "t1", sink):
            for garbage in (b"", b"{]\n", b"7\n", b'{"agent":"echo"}\n', b"x" * 100):
                stream = await trio.open_unix_socket(str(socket_path_of(delegation.spec)))
                await stream.send_all(garbage)
                await stream.send_eof()
                assert b'"is_error":true' in await stream.receive_some()
                await stream.aclose()
            await client.send(id=1, method="tools/call", params={"arguments": {"agent": "hang", "task": "x"}})
            await sink.until(lambda seen: bool(seen.of(TaskProgressed)))
            client.process.kill()
            await client.process.wait()
            await sink.until(lambda seen: bool(seen.of(TaskEnded)))
            assert await delegation.new_task("echo", "x") == TaskResult("echo: x ")
        for end in (client.process.stdin, client.process.stdout):
            assert end is not None
            await end.aclose()


def test_the_server_needs_nothing_but_the_standard_library() -> None:
    script = (
        f"import runpy, sys; runpy.run_path({stdio_server.__file__!r}); "
        "print(len({'trio', 'attrs', 'bridgehub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, check=True)
    assert done.stdout == b"0\n"
