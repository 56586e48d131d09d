"""What a Claude session's next hub gets: nothing that is not understood becomes an argument of the program."""

from __future__ import annotations

from typing import Any

import pytest

from bridgehub.agents.claude.memory import Memory, RecordPosition

ID, OTHER = "0b7ad4b4-2f4f-4a39-9d0f-6f1f6f0c9f52", "0f6a1f43-52a0-4f0b-9d55-3f0f6f0c9f52"


def test_a_memory_is_read_as_it_was_told() -> None:
    memory = Memory(is_cleared=True, folders=("/a",), fork=RecordPosition(ID, OTHER))
    assert Memory.of(memory.told()) == memory
    assert Memory.of(memory.with_files(["/b/c"]).told()).fork == RecordPosition(ID, OTHER)


@pytest.mark.parametrize(
    "fork",
    [
        None,
        3,
        {},
        {"conversation": ID},
        {"conversation": ID, "message": "--dangerously-skip-permissions"},
        {"conversation": "../x", "message": OTHER},
        {"conversation": ID, "message": 7},
        {"thread": "codex", "turn": "1"},
    ],
)
def test_what_is_no_position_is_left_out(fork: Any) -> None:
    assert Memory.of({"fork": fork}).fork is None
