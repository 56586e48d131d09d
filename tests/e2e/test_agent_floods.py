"""An agent's program that floods a whole server with 100 MB of answer: one clear error, nothing left, and on it goes.

The programs are liars: they speak the protocol, and flood as long as a file named `flood` lies in the workspace.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import psutil
import trio

from tests.bridgehub.agents.claude.test_broken import LIAR
from tests.bridgehub.agents.codex.test_failures import BEGIN, BEGUN, DONE
from tests.e2e.agents import begin, end_of
from tests.support.server import open_server, processes_of

PIECES = 10_000

CODEX = f"""
import os
def on_turn():
    {BEGUN}
    piece = {{"threadId": "01a2033a-5186-7871-8b90-30cba945faa1", "turnId": "u", "itemId": "i", "delta": "x" * 10000}}
    for _ in range({PIECES} if os.path.exists("flood") else 1):
        tell(method="item/agentMessage/delta", params=piece)
    {DONE}
serve(on_turn)
"""

CLAUDE = f"""
    import os
    for _ in range({PIECES} if os.path.exists("flood") else 1):
        piece("x" * 10000)
    done()
"""

RELAY = f"""
import json, os
times = {PIECES} if os.path.exists("flood") else 1
print("JARVIS_PAYLOAD=" + json.dumps({{"ok": True, "data": {{"output": "x" * 10000 * times}}}}))
"""


def is_running(data: Path, program: str) -> bool:
    """Tell whether a process of the data folder runs that program. Blocks."""
    for process in processes_of(data):
        with suppress(psutil.Error, OSError):  # it went while it was looked at
            if program in process.cmdline():
                return True
    return False


async def test_a_flood_ends_its_turn_and_the_next_works(place: Path) -> None:
    programs = {
        "codex": BEGIN.format(python=sys.executable) + CODEX,
        "claude": LIAR.format(python=sys.executable, body=CLAUDE, initialize="pass"),
        "relay": f"#!{sys.executable}\n{RELAY}",
    }
    for name, text in programs.items():
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    config = f'[agents.codex]\nkind = "codex"\ncli_path = "{place}/codex"\n'
    config += f'[agents.claude]\nkind = "claude"\ncli_path = "{place}/claude"\n'
    config += '[agents.relay]\nkind = "bridgehub/1.0"\ndirection = "codex_to_claude"\n'
    config += f'command = ["{place}/relay"]\n'
    workspace = place / "workspace"
    workspace.mkdir()
    arguments = ("--workspace", str(workspace))
    async with open_server(place, config=config, arguments=arguments) as server, server.device() as device:
        before = psutil.Process(server.pid).memory_info().rss
        for name in programs:
            (workspace / "flood").touch()
            await device.attach(name, agent=name)
            said = await begin(device, name, "go")
            end = await end_of(device, said["turn_id"])
            assert (end["type"], end["code"]) == ("error", "agent_protocol"), end
            with trio.fail_after(40):
                while await trio.to_thread.run_sync(is_running, server.data, f"{place}/{name}"):
                    pass
            (workspace / "flood").unlink()
            said = await begin(device, name, "and now?")
            assert (await end_of(device, said["turn_id"]))["type"] == "complete"
            assert device.text(name, said["turn_id"]) == "x" * 10_000
        assert psutil.Process(server.pid).memory_info().rss - before < 200_000_000
