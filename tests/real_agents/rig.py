"""What the tests of real agents share: the pinned programs of `make test-agents`, each on a stand-in of its service."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.standin.acp_rig import AcpRig
from tests.standin.anthropic import StandIn, open_standin
from tests.standin.driver_rig import make_folders
from tests.support.server import ROOT

__all__ = ["OPENCODE", "open_opencode", "opencode_home"]

OPENCODE = ROOT / "build" / "agents" / "node_modules" / ".bin" / "opencode"

TURN_LIMIT_S = 120.0
"""A turn of a test; opencode is there in 2 s, on a busy machine in over 20."""

MODELS = {"small": {"name": "Small"}, "large": {"name": "Large"}}


def opencode_home(home: Path, url: str) -> dict[str, str]:
    """Write opencode's configuration below `home`; return its environment."""
    provider = {
        "npm": "@ai-sdk/anthropic",
        "options": {"baseURL": f"{url}/v1", "apiKey": "standin"},
        "models": MODELS,
    }
    config = {
        "provider": {"standin": provider},
        "model": "standin/small",
        "small_model": "standin/small",
        "permission": {"edit": "ask", "bash": "ask"},
        "autoupdate": False,
        "share": "disabled",
    }
    folder = home / ".config" / "opencode"
    folder.mkdir(parents=True)
    (folder / "opencode.json").write_text(json.dumps(config))
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    }


@asynccontextmanager
async def open_opencode(folder: Path) -> AsyncIterator[tuple[AcpRig, StandIn]]:
    """Open a rig whose drivers run the real opencode; they end with the block."""
    home, workspace = make_folders(folder)
    async with open_standin() as standin:
        rig = AcpRig(
            home=home,
            workspace=workspace.resolve(),
            hub_id=uuid.uuid4().hex,
            env=opencode_home(home, standin.url),
            command=[str(OPENCODE), "acp"],
            limit_s=TURN_LIMIT_S,
        )
        async with rig.closing():
            yield rig, standin
