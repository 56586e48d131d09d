"""A hub in the test's own process that drives the real Claude Code program against a rig's stand-in."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from bridgehub.agents.claude.driver import ClaudeDriver, make_driver
from bridgehub.protocol.hub_spec import HubSpec
from tests.bridgehub.hub_harness import OpenHub, open_hub
from tests.standin.rig import ClaudeRig

__all__ = ["open_claude_hub"]


def open_claude_hub(rig: ClaudeRig, folder: Path, **changes: Any) -> AbstractAsyncContextManager[OpenHub]:
    """Open the hub; `changes` of its spec. Its driver is among the rig's, the newest last."""
    spec = rig.spec(**changes)

    def make(spec: HubSpec) -> ClaudeDriver:
        driver = make_driver(spec)
        rig.drivers.append(driver)
        return driver

    same = (
        "env",
        "workspace",
        "agent_session_id",
        "permission_mode",
        "grants",
        "blob_folder",
        "agent_memory",
    )
    return open_hub(folder, make, **{name: getattr(spec, name) for name in same})
