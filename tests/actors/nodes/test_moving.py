"""The new home's side of a move, without the old home."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from actors.errors import NodeCallRefused
from actors.nodes.moving import Moving


class Home:
    """The old home, which lets go if `lets_go` is set, and all else that the new home uses."""

    def __init__(self) -> None:
        self.lets_go = trio.Event()
        self.owner = "a"
        self.forgotten: list[str] = []
        self.started: list[str] = []

    async def get(self, session_id: str) -> Any:
        return SimpleNamespace(session_id=session_id, owner=self.owner)

    async def ask(self, node: str, name: str, _: object) -> None:
        assert (node, name) == ("a", "let_go")
        await self.lets_go.wait()
        self.owner = "b"

    async def forget(self, session_id: str) -> None:
        self.forgotten.append(session_id)

    async def check(self, _: object) -> None:
        """Whatever comes can work here."""


def moving_to_b(home: Home) -> Moving:
    own: Any = SimpleNamespace(deps=SimpleNamespace(catalog=home), start=home.started.append)
    machines: Any = SimpleNamespace(own="b", has=lambda node: node in {"a", "b"}, ask=home.ask)
    nothing: Any = None
    made = Moving(own, machines, nothing, lambda _session, _home: None)
    made.check, made.forget = home.check, home.forget
    return made


async def test_one_move_of_a_session_at_a_time() -> None:
    """A second one, that is slower, would remove the checkpoints that the session made here meanwhile."""
    home = Home()
    moving = moving_to_b(home)
    async with trio.open_nursery() as nursery:

        async def move() -> None:
            assert await moving.move("trip", "b", force=False, by="phone")

        nursery.start_soon(move)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(NodeCallRefused) as refused:
            await moving.move("trip", "b", force=True, by="tablet")
        assert refused.value.code == "busy"
        home.lets_go.set()
    assert (home.forgotten, home.started) == (["trip"], ["trip"])
    assert not await moving.move("trip", "b", force=False, by="tablet"), "it is here"
