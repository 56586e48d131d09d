"""Which thread a Codex session continues."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

from bridgehub.agents.codex.live.sockets import daemon_socket
from bridgehub.agents.codex.start import Thread, join_daemon
from tests.bridgehub.hub_harness import make_spec


@pytest.mark.parametrize(
    ("memory", "thread"),
    [
        ({}, Thread()),
        ({"thread_id": "a"}, Thread("a")),
        ({"fork": {"thread": "a", "turn": "b"}}, Thread("a", "b")),
        ({"thread_id": "own", "fork": {"thread": "a", "turn": "b"}}, Thread("own")),
        ({"thread_id": 3, "fork": {"thread": "a"}}, Thread()),
        ({"fork": "a"}, Thread()),
        ({"fork": {"conversation": "a", "message": "b"}}, Thread()),
    ],
)
def test_a_thread_is_resumed_forked_or_begun(memory: dict[str, Any], thread: Thread) -> None:
    assert Thread.of(memory) == thread


async def test_a_program_of_a_terminal_that_says_nothing_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is stopped: the system accepts connections for it."""
    monkeypatch.setattr("bridgehub.agents.codex.start.JOIN_DAEMON_S", 0.05)
    with tempfile.TemporaryDirectory() as home, socket.socket(socket.AF_UNIX) as stopped:
        place = Path(daemon_socket(Path(home)))
        place.parent.mkdir()
        stopped.bind(os.fspath(place))
        os.chmod(place, 0o600)
        stopped.listen()
        spec = make_spec(tmp_path, env={"CODEX_HOME": home})
        assert await join_daemon(spec, Thread("01a2033a-5186-7871-8b90-30cba945faa0")) is None
