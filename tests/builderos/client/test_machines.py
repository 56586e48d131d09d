"""Where a session runs, in words."""

from __future__ import annotations

from typing import Any

import pytest

from builderos.client.machines import at_machine, machine_rows, machine_words, machines_of, wait_words
from builderos.client.wire.http import session_table

MINI = {"id": "mac-mini", "name": "Mac mini", "state": "there"}
AWAY = {"id": "cloud", "state": "away"}
HERE = {"id": "workstation", "state": "here"}


def test_words() -> None:
    assert [machine_words(one) for one in (None, HERE, MINI, AWAY)] == [
        "",
        "workstation",
        "Mac mini",
        "cloud is away",
    ]
    assert [wait_words(one) for one in (None, MINI, AWAY)] == [
        "waiting to send",
        "waiting to send",
        "waits for cloud",
    ]


def test_choice() -> None:
    machines = machines_of({"nodes": [HERE, MINI, AWAY]})
    assert machine_rows(machines) == [("workstation", "this server", HERE), ("Mac mini", "", MINI)]
    assert at_machine("/api/folders", MINI) == "/api/folders?node=mac-mini"
    assert at_machine("/api/folders", None) == "/api/folders"


@pytest.mark.parametrize(
    "answer", [{}, {"nodes": None}, {"nodes": [HERE]}, {"nodes": [HERE, {"id": 1}, "b"]}]
)
def test_nothing_to_choose(answer: dict[str, Any]) -> None:
    assert machines_of(answer) == []


def test_the_list_has_a_column_where_there_are_several() -> None:
    one = {"session_id": "trip", "agent_type": "echo", "state": "idle", "message_count": 2, "title": "Sea"}
    [headings, row] = session_table([{**one, "machine": AWAY}]).splitlines()
    assert headings.split()[-2:] == ["MACHINE", "TITLE"]
    assert row.endswith("cloud is away  Sea")
    assert "MACHINE" not in session_table([{**one, "machine": None}])
