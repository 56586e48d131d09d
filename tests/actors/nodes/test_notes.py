"""Notes between nodes: who gets them, and what is left out."""

from __future__ import annotations

from typing import Any

import attrs
import trio

from actors.nodes.mail import NodeMail, NoteMail, decode_mail
from actors.nodes.notes import NodeNotes
from storage.node_records import NodeState


@attrs.define(eq=False)
class Posted:
    """Keeps what is posted, instead of `actors.nodes.ports.Post`."""

    node: str
    nodes: dict[str, NodeState]
    silent_s: float = 0.0
    mail: list[tuple[str, NodeMail]] = attrs.field(factory=list)

    def post(self, node: str, body: bytes, *, within_s: float = 0, bulk: bool = False) -> trio.Event:
        self.mail.append((node, decode_mail(body)))
        return trio.Event()

    async def is_fresh(self, within_s: float, wait_s: float) -> bool:
        await trio.lowlevel.checkpoint()
        return True


def four_nodes() -> Posted:
    states = [
        NodeState("a", 1, "1", is_alive=True),
        NodeState("b", 1, "1", is_alive=True, is_first=True),
        NodeState("c", 1, "1", is_alive=True),
        NodeState("d", 1, "1", is_alive=False, is_first=True),
    ]
    return Posted("a", {one.id: one for one in states})


def test_a_note_goes_to_the_others_that_are_well() -> None:
    post = four_nodes()
    NodeNotes(post).let_know("moved", {"session": "trip"})
    assert post.mail == [(node, NoteMail("a", "moved", {"session": "trip"})) for node in ("b", "c")]


def test_a_note_for_the_first_node_goes_there_alone() -> None:
    post = four_nodes()
    NodeNotes(post).let_know("looks", {}, first_only=True)
    assert [node for node, _ in post.mail] == ["b"]
    post.node, post.mail = "b", []
    NodeNotes(post).let_know("looks", {}, first_only=True)
    assert post.mail == [], "it is this one"


def test_what_cannot_be_read_is_left_out() -> None:
    notes, heard = NodeNotes(four_nodes()), list[Any]()
    notes.hear("moved", lambda node, fields: heard.append((node, fields["session"])))
    notes.take(NoteMail("b", "moved", {}))
    notes.take(NoteMail("b", "something of a newer version", {"session": "trip"}))
    notes.take(NoteMail("b", "moved", {"session": "trip"}))
    assert heard == [("b", "trip")]
