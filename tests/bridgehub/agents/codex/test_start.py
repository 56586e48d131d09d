"""Which thread a Codex session continues."""

from __future__ import annotations

from typing import Any

import pytest

from bridgehub.agents.codex.start import Thread


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
