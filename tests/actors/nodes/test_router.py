"""The way to a session's home, after it has moved and the note about it was lost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from actors.commands import Author, Cancel, Envelope
from actors.nodes.mail import TailMail
from actors.nodes.notes import NodeNotes
from actors.nodes.replicas import Replicas
from actors.nodes.router import Router
from storage.errors import SessionMissing
from storage.node_records import NodeState
from tests.actors.nodes.test_notes import Posted

ENVELOPE = Envelope(Cancel("m1"), Author("key", "phone", "Phone"), lambda _: None)


class Homes:
    """The catalog's word on where the session `trip` is, and homes that take only their own sessions."""

    def __init__(self, home: str | None) -> None:
        self.home = home
        self.submitted: list[str] = []

    async def get(self, _: str) -> Any:
        return None if self.home is None else SimpleNamespace(owner=self.home)

    async def submit(self, home: str, session_id: str, _: Envelope) -> None:
        self.submitted.append(home)
        if home != self.home:
            raise SessionMissing(session_id)


def routed(homes: Homes) -> Router:
    """Return the router of node `a`."""
    post = Posted("a", {name: NodeState(name, 1, "1", is_alive=True) for name in ("a", "b", "c")})
    own = SimpleNamespace(is_live=lambda _: False)
    none: Any = SimpleNamespace()
    replicas = Replicas(post, none, none, none)
    at_home = SimpleNamespace(is_revoked=lambda _: False)
    parts: Any = (own, post, homes, none, at_home, none, homes, none, replicas, none, NodeNotes(post))
    return Router(*parts)


async def test_a_command_follows_a_session_that_moved() -> None:
    homes = Homes("b")
    router = routed(homes)
    await router.submit("trip", ENVELOPE)
    homes.home = "c"
    await router.submit("trip", ENVELOPE)
    await router.submit("trip", ENVELOPE)
    assert homes.submitted == ["b", "b", "c", "c"], "asked once where it is not, then never again"


async def test_a_session_of_a_home_that_is_away_may_have_moved() -> None:
    """Its note does not reach a node that seemed away itself."""
    homes = Homes("b")
    router = routed(homes)
    await router.submit("trip", ENVELOPE)
    homes.home = "c"
    router.post.nodes["b"] = NodeState("b", 1, "1", is_alive=False)  # type: ignore[index]
    assert await router.home_of("trip") == "c"


async def test_a_note_leads_there_at_once() -> None:
    homes = Homes("b")
    router = routed(homes)
    await router.submit("trip", ENVELOPE)
    homes.home = "c"
    shown: list[str] = []
    with router.watch(shown.append):
        router.moved("trip", "c")
    await router.submit("trip", ENVELOPE)
    assert homes.submitted == ["b", "c"]
    assert shown == ["trip"], "its entry in lists has another machine"


async def test_a_session_that_is_gone_is_missing() -> None:
    homes = Homes("b")
    router = routed(homes)
    await router.submit("trip", ENVELOPE)
    homes.home = None
    with pytest.raises(SessionMissing):
        await router.submit("trip", ENVELOPE)


async def test_mail_of_the_old_home_is_left_out() -> None:
    """It comes after the note of the new home, and says that the session's past is gone: that is so only there."""
    post, nothing = Posted("c", {}), cast("Any", None)
    async with trio.open_nursery() as nursery:
        replicas = Replicas(post, nothing, nothing, nursery)
        replicas.of("trip", "a").begin(1, 7)
        old = replicas.of("trip", "a").tail
        replica = replicas.of("trip", "b")
        assert old.epoch == 2, "its devices attach again"
        replica.begin(1, 8)
        replicas.take(TailMail("a", "trip", 2, 0))
        assert (replica.tail.epoch, replica.tail.head_seq) == (1, 8)
        nursery.cancel_scope.cancel()
