"""What the tests of real agents share: the pinned programs of `make test-agents`, each on a stand-in of its service."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.real_agents.services import Service, open_service
from tests.standin.acp_rig import AcpRig
from tests.standin.anthropic import StandIn, open_standin
from tests.support.server import ROOT

__all__ = ["OPENCODE", "env_of", "open_gemini", "open_opencode", "open_qwen", "opencode_home"]

PROGRAMS = ROOT / "build" / "agents" / "node_modules" / ".bin"
OPENCODE = PROGRAMS / "opencode"

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
        **env_of(home),
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    }


@asynccontextmanager
async def open_opencode(folder: Path) -> AsyncIterator[tuple[AcpRig, StandIn]]:
    """Open a rig whose drivers run the real opencode; they end with the block."""
    async with open_standin() as standin:
        env = opencode_home(folder / "home", standin.url)
        async with _open_rig(folder, env, [str(OPENCODE), "acp"]) as rig:
            yield rig, standin


@asynccontextmanager
async def open_gemini(folder: Path) -> AsyncIterator[tuple[AcpRig, Service]]:
    """Open a rig whose drivers run the real Gemini CLI. Its model is pinned: else it asks one which to take."""
    async with open_service("gemini") as service:
        settings = folder / "home" / ".gemini" / "settings.json"
        settings.parent.mkdir(parents=True)
        security = {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}}
        settings.write_text(json.dumps({"security": security, "general": {"disableAutoUpdate": True}}))
        env = {**env_of(folder / "home"), "GEMINI_API_KEY": "standin", "GOOGLE_GEMINI_BASE_URL": service.url}
        command = [str(PROGRAMS / "gemini"), "--acp", "--model", "gemini-2.5-pro"]
        async with _open_rig(folder, env, command) as rig:
            yield rig, service


@asynccontextmanager
async def open_qwen(folder: Path) -> AsyncIterator[tuple[AcpRig, Service]]:
    """Open a rig whose drivers run the real Qwen Code."""
    async with open_service("chat") as service:
        settings = folder / "home" / ".qwen" / "settings.json"
        settings.parent.mkdir(parents=True)
        security = {"auth": {"selectedType": "openai"}, "folderTrust": {"enabled": False}}
        settings.write_text(json.dumps({"security": security, "general": {"disableAutoUpdate": True}}))
        own = {"OPENAI_API_KEY": "standin", "OPENAI_BASE_URL": f"{service.url}/v1", "OPENAI_MODEL": "standin"}
        async with _open_rig(folder, env_of(folder / "home") | own, [str(PROGRAMS / "qwen"), "--acp"]) as rig:
            yield rig, service


def env_of(home: Path) -> dict[str, str]:
    """Return the least that a program needs, with `home` as its home."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}


@asynccontextmanager
async def _open_rig(folder: Path, env: dict[str, str], command: list[str]) -> AsyncIterator[AcpRig]:
    workspace = folder / "workspace"
    workspace.mkdir()
    rig = AcpRig(
        home=folder / "home",
        workspace=workspace.resolve(),
        hub_id=uuid.uuid4().hex,
        env=env,
        command=command,
        limit_s=TURN_LIMIT_S,
        start_s=TURN_LIMIT_S - 10,
    )
    async with rig.closing():
        yield rig
