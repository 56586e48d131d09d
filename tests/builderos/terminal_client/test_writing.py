"""Files that go with a message, a text that is searched for, and what another device is writing."""

from __future__ import annotations

from pathlib import Path

import pytest

from builderos.client.state import RefusedError
from builderos.terminal.client import Client
from builderos.terminal.keep import Keep
from tests.builderos.terminal_client.stage import Stage, on_stage


def test_a_file_goes_with_the_next_message_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def upload(self: Client, path: Path) -> str:
        if path.name == "none.png":
            raise RefusedError("unreadable", "none.png cannot be read: No such file.")
        return f"http://here/uploads/{path.name}?sig=1"

    monkeypatch.setattr(Client, "upload", upload)

    async def act(stage: Stage) -> None:
        await stage.press(*"/attach /x/[b]one.png", "enter")
        assert "with [b]one.png" in await stage.shown()
        await stage.press(*"/attach /x/none.png", "enter")
        await stage.press(*"/attach '/x/two b.pdf'", "enter")
        assert "with [b]one.png, two b.pdf" in await stage.shown()
        await stage.press(*"look", "enter")
        await stage.press(*"more", "enter")
        first, second = stage.link.of("send")
        assert [one["url"] for one in first["attachments"]] == [
            "http://here/uploads/[b]one.png?sig=1",
            "http://here/uploads/two b.pdf?sig=1",
        ]
        assert second.get("attachments") in (None, [])
        kept = Keep(tmp_path, "here").waiting()
        assert [len(one.files or ()) for one in kept] == [2, 0], "a later run of the client sends them too"
        await stage.press(*"/attach /x/one.png", "enter")
        await stage.press(*"/detach", "enter")
        await stage.press(*"last", "enter")
        assert not stage.link.of("send")[-1].get("attachments")

    on_stage(tmp_path, act)


def test_a_text_is_found_from_the_newest_place_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Client) -> None:
        """Stands for a server that has no more."""

    monkeypatch.setattr(Client, "load_older", nothing)

    async def act(stage: Stage) -> None:
        for number in range(30):
            needle = " the Needle" if number in (3, 20) else ""
            stage.turn(f"question {number}", f"answer {number}\n\nand{needle} more\n", turn_id=f"t{number}")
        await stage.press(*"/find the needle", "enter")
        shown = await stage.shown()
        assert "and the Needle more" in shown
        assert "question 21" in shown
        await stage.press("ctrl+f")
        shown = await stage.shown()
        assert "and the Needle more" in shown
        assert "question 4" in shown
        stage.turn("meanwhile", "something else", turn_id="t40")
        assert "question 4" in await stage.shown(), "what comes does not move what was found"
        await stage.press("ctrl+f")
        await stage.press("ctrl+f")
        await stage.press(*"nowhere", "enter")
        assert "question 4" in await stage.shown()

    on_stage(tmp_path, act)


def test_what_another_device_writes_can_be_taken(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        stage.frame("draft", content="fix the", by_device="ipad")
        assert "ipad is writing" in await stage.shown()
        await stage.press(*"/draft", "enter")
        assert stage.screen.composer.text == "fix the"
        stage.frame("draft", content="", by_device="ipad")
        assert "is writing" not in await stage.shown()

    on_stage(tmp_path, act)
