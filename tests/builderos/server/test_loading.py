"""A server loads nothing for what its user does not use: that costs time at each start, and memory for good."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import trio

from tests.support.server import ROOT

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

UNUSED = (
    "asyncio",
    "bridgehub.agents.acp.",
    "bridgehub.agents.json_rpc.program",
    "bridgehub.desk.acp",
    "builderos.export",
    "hypercorn",
    "python_multipart",
    "segno",
    "starlette",
    "transport.http.app",
    "transport.http.openapi",
    "transport.http.routes",
    "transport.ios",
    "transport.push.engine",
)


async def test_a_plain_server_loads_only_what_it_uses(tmp_path: Path) -> None:
    with trio.fail_after(30):
        process = await trio.lowlevel.open_process(
            [
                *(sys.executable, "-c", _MODULES.format(unused=UNUSED)),
                *("serve", "--port", "0", "--data", str(tmp_path / "d")),
            ],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert process.stdout is not None
        out = b""
        async with process.stdout:
            async for chunk in process.stdout:
                if b"\n  Sessions " not in out and b"\n  Sessions " in out + chunk:
                    process.terminate()
                out += chunk
        assert await process.wait() == 0
    # The doctor's checks of agents know the names of those that speak the ACP.
    assert out.decode().splitlines()[-2:] == ["True True 0 0", "bridgehub.agents.acp.known"]
