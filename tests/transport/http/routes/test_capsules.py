"""The capsules of a workspace."""

from __future__ import annotations

import os
from pathlib import Path

from tests.transport.http.calls import open_world
from transport.http.routes.capsules import find_capsules


def test_capsules_of_a_workspace(tmp_path: Path) -> None:
    def write(folder: str, text: str | bytes) -> None:
        path = tmp_path / folder
        path.mkdir(parents=True)
        (path / "capsule.json").write_bytes(text.encode() if isinstance(text, str) else text)

    assert find_capsules(tmp_path) == []
    assert find_capsules(tmp_path / "nowhere") == []
    write("b", '{"name": "beta", "title": "Beta", "purpose": "to be second"}')
    write("capsules/a", '{"title": "Alpha"}')
    write("capsules/b", '{"name": "beta", "title": "another of that name"}')
    write("c", '{"name": 7, "title": null, "purpose": ["x"]}')
    bads: list[str | bytes] = ["", "[]", "{", b"\xff\xfe", b"[" * 5000, " " * 70_000, '"x"']
    for number, bad in enumerate(bads):
        write(f"bad{number}", bad)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "capsule.json")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder" / "capsule.json").mkdir(parents=True)
    found = [(one.name, one.title, one.purpose) for one in find_capsules(tmp_path)]
    assert found == [("a", "Alpha", ""), ("beta", "Beta", "to be second"), ("c", "c", "")]


async def test_capsules_are_listed(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        assert (await world.http.get("/api/capsules")).json() == {"count": 0, "capsules": []}
        (tmp_path / "one").mkdir()
        (tmp_path / "one" / "capsule.json").write_text('{"name": "one", "title": "One"}')
        told = (await world.http.get("/api/capsules")).json()
        assert told == {"count": 1, "capsules": [{"name": "one", "title": "One", "purpose": ""}]}
