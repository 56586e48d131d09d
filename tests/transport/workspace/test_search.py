"""A search that has an index does not wait for one that takes long to make."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import trio

from transport.workspace import search
from transport.workspace.matching import Names
from transport.workspace.search import FileSearch


async def test_a_search_waits_for_a_newer_index_only_if_that_is_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old.txt").touch()
    made, go_on = search.list_paths, threading.Event()
    monkeypatch.setattr(search, "FRESH_S", -1.0)
    monkeypatch.setattr(search, "PATIENCE_S", 60.0)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            files = FileSearch()
            nursery.start_soon(files.run)
            assert [one.path for one in await files.find(str(tmp_path), "txt", 5)] == ["old.txt"]
            await trio.Path(tmp_path / "new.txt").touch()
            assert len(await files.find(str(tmp_path), "txt", 5)) == 2, "it waited for a newer index"

            def slow(root: str) -> Names:
                go_on.wait(20)
                return made(root)

            monkeypatch.setattr(search, "list_paths", slow)
            files._indexes[str(tmp_path)].took_s = 61.0
            await trio.Path(tmp_path / "newer.txt").touch()
            assert len(await files.find(str(tmp_path), "txt", 5)) == 2
            go_on.set()
            nursery.cancel_scope.cancel()
