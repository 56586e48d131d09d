"""An agent that is asked for its conversations may fail in any way: the others are listed, and no log has its words."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import attrs
import pytest

from bridgehub.desk.acp_conversations import AcpConversations, sessions_of
from tests.standin.acp_rig import open_acp_rig

DIES = "import sys; sys.stderr.write('token=sk-secret'); sys.exit(3)"


async def test_an_agent_that_cannot_be_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with open_acp_rig(tmp_path) as rig:
        spec = rig.driver().spec
        dies = attrs.evolve(spec, options={"command": [sys.executable, "-c", DIES]})
        agents = {
            "dies": AcpConversations(dies, lambda: "run", str(tmp_path)),
            "silent": AcpConversations(spec, lambda: "run", str(tmp_path), (sys.executable, "-c", "")),
            "missing": AcpConversations(spec, lambda: "run", str(tmp_path), ("/nowhere/python",)),
        }
        assert await sessions_of(agents, None) == []
    assert "AcpExited" in caplog.text or "ProgramExited" in caplog.text
    assert "sk-secret" not in caplog.text
