"""When a hub's events are acknowledged: pieces together, anything else at once."""

from __future__ import annotations

import math

from actors.session.ack_pacer import ACK_EVENTS, ACK_LENGTH, ACK_S, AckPacer
from bridgehub.protocol.events import Consumed, TextPiece
from bridgehub.protocol.messages import Reported


def piece(seq: int, length: int = 5) -> Reported:
    return Reported(seq, seq, TextPiece("t", "text", "b", "x" * length))


def test_a_piece_waits_and_later_ones_go_with_it() -> None:
    pacer = AckPacer()
    pacer.received([piece(1)])
    assert pacer.committed(1, 10.0)
    assert pacer.due_at == 10.0 + ACK_S
    pacer.received([piece(2)])
    assert not pacer.committed(2, 10.01)
    assert pacer.due_at == 10.0 + ACK_S
    assert pacer.take().seq == 2
    assert pacer.due_at == math.inf
    assert not pacer.committed(2, 11.0)


def test_many_pieces_do_not_wait() -> None:
    pacer = AckPacer()
    pacer.received([piece(seq) for seq in range(1, ACK_EVENTS + 1)])
    assert pacer.committed(ACK_EVENTS, 10.0)
    assert pacer.due_at == -math.inf


def test_much_text_does_not_wait() -> None:
    pacer = AckPacer()
    pacer.received([piece(1, ACK_LENGTH - 1)])
    pacer.received([piece(2, 1)])
    assert pacer.committed(1, 10.0)
    assert pacer.due_at == 10.0 + ACK_S
    assert pacer.committed(2, 10.0)
    assert pacer.due_at == -math.inf


def test_another_event_does_not_wait_once_it_is_committed() -> None:
    pacer = AckPacer()
    pacer.received([piece(1), Reported(2, 2, Consumed("t"))])
    assert pacer.committed(1, 10.0)
    assert pacer.due_at == 10.0 + ACK_S
    assert pacer.committed(2, 10.0)
    assert pacer.take().seq == 2
    pacer.received([piece(3)])
    assert pacer.committed(3, 10.0)
    assert pacer.due_at == 10.0 + ACK_S
