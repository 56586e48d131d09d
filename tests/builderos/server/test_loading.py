"""A server loads nothing for what its user does not use: that costs time at each start, and memory for good."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import trio
import trio_websocket

from tests.support.server import ROOT
from transport.v3.decode import SUBPROTOCOL

_MODULES = """
import gc
import sys
from bridgehub.protocol.codec import converter
from builderos.__main__ import main

before = gc.get_threshold()
status = main()
UNUSED = {unused}
print(gc.get_threshold() == before, gc.isenabled(), gc.get_freeze_count(), converter.cache_info().currsize)
print(*sorted(name for name in sys.modules if name.startswith(UNUSED)))
sys.exit(status)
"""

_THREADS = """
import sys
import threading
from builderos.__main__ import main

found = set()

def hook(event, given):
    if event == "import" and given[0].startswith({unused}) and threading.current_thread() is threading.main_thread():
        found.add(given[0])

sys.addaudithook(hook)
status = main()
print("transport.http.openapi.document" in sys.modules, "transport.ios.connection" in sys.modules)
print("transport.push.engine" in sys.modules, "transport.push.senders.web_push" in sys.modules, found)
sys.exit(status)
"""

UNUSED = (
    "asyncio",
    "bridgehub.agents.acp.",
    "bridgehub.agents.json_rpc.program",
    "bridgehub.desk.acp",
    "bridgehub.workspace.undo",
    "builderos.export",
    "difflib",
    "email",
    "hypercorn",
    "importlib.metadata",
    "python_multipart",
    "segno",
    "starlette",
    "tomllib",
    "transport.http.app",
    "transport.http.openapi",
    "transport.http.routes",
    "transport.ios",
    "transport.push.engine",
    "transport.push.senders.services",
    "transport.push.senders.web_push",
    "zoneinfo",
)


async def output_of(
    code: str, tmp_path: Path, use: Callable[[str], Awaitable[None]] | None = None
) -> list[str]:
    """Return the last two lines of a server that runs in this code; it ends once it was used."""
    arguments = ("serve", "--port", "0", "--data", str(tmp_path / "d"))
    out = b""
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", code.format(unused=UNUSED), *arguments], stdout=subprocess.PIPE, cwd=ROOT
        )
        assert process.stdout is not None
        async with process.stdout:
            async for chunk in process.stdout:
                if b"\n  Sessions " not in out and b"\n  Sessions " in out + chunk:
                    found = re.search(rb"http://127.0.0.1:(\d+)", out + chunk)
                    assert found is not None
                    if use is not None:
                        await use(found[0].decode())
                    process.terminate()
                out += chunk
        assert await process.wait() == 0
    return out.decode().splitlines()[-2:]


async def test_a_plain_server_loads_only_what_it_uses(tmp_path: Path) -> None:
    # The doctor's checks of agents know the names of those that speak the ACP.
    assert await output_of(_MODULES, tmp_path) == ["True True 0 0", "bridgehub.agents.acp.known"]


async def test_what_is_loaded_later_stops_nobody(tmp_path: Path) -> None:
    """It is loaded on a thread: some of it takes a twentieth of a second, in which no device would hear anything."""

    async def use(url: str) -> None:
        key = (tmp_path / "d" / "api-key").read_text().strip()
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}) as http:
            for path in ("/api/openapi.json", "/api/notifications", "/metrics"):
                assert (await http.get(path)).status_code == 200
        place = url.replace("http", "ws")
        async with trio_websocket.open_websocket_url(f"{place}/api/claude/ws") as app:
            await app.send_message("hello")
        headers = [(b"Authorization", f"Bearer {key}".encode())]
        async with trio_websocket.open_websocket_url(
            f"{place}/api/ws", subprotocols=[SUBPROTOCOL], extra_headers=headers
        ) as device:
            for frame in (
                {"type": "watch_sessions"},
                {"type": "attach", "session_id": "trip", "agent": "echo"},
                {"type": "send", "session_id": "trip", "message_id": "m1", "content": "/ask may I"},
            ):
                await device.send_message(json.dumps(frame))
            while json.loads(await device.get_message())["type"] != "alert":
                pass

    at_start = "{'bridgehub.agents.acp.known'}"
    assert await output_of(_THREADS, tmp_path, use) == ["True True", f"True True {at_start}"]
