"""When a hub's events are acknowledged: pieces together, anything else at once."""

from __future__ import annotations

import math

from actors.session.ack_pacer import ACK_EVENTS, ACK_LENGTH, ACK_S, GATHER_MOST_S, LATE_S, AckPacer, Lateness
from bridgehub.protocol.events import Consumed, TextPiece
from bridgehub.protocol.messages import Ack, Reported


def piece(seq: int, length: int = 5) -> Reported:
    return Reported(seq, seq, TextPiece("t", "text", "b", "x" * length))


def test_a_piece_waits_and_later_ones_go_with_it() -> None:
    pacer = AckPacer(Lateness())
    pacer.received([piece(1)])
    assert pacer.committed(1, 10.0)
    assert pacer.due_at == 10.0 + ACK_S
    pacer.received([piece(2)])
    assert not pacer.committed(2, 10.01)
    assert pacer.due_at == 10.0 + ACK_S
    assert pacer.take(10.1).seq == 2
    assert pacer.due_at == math.inf
    assert not pacer.committed(2, 11.0)


def test_many_pieces_do_not_wait() -> None:
    pacer = AckPacer(Lateness())
    pacer.received([piece(seq) for seq in range(1, ACK_EVENTS + 1)])
    assert pacer.committed(ACK_EVENTS, 10.0)
    assert pacer.due_at == -math.inf


def test_much_text_does_not_wait() -> None:
    pacer = AckPacer(Lateness())
    pacer.received([piece(1, ACK_LENGTH - 1)])
    pacer.received([piece(2, 1)])
    assert pacer.committed(1, 10.0)
    assert pacer.due_at == 10.0 + ACK_S
    assert pacer.committed(2, 10.0)
    assert pacer.due_at == -math.inf


def test_another_event_does_not_wait_once_it_is_committed() -> None:
    pacer = AckPacer(Lateness())
    pacer.received([piece(1), Reported(2, 2, Consumed("t"))])
    assert pacer.committed(1, 10.0)
    assert pacer.due_at == 10.0 + ACK_S
    assert pacer.committed(2, 10.0)
    assert pacer.take(10.1).seq == 2
    pacer.received([piece(3)])
    assert pacer.committed(3, 10.0)
    assert pacer.due_at == 10.0 + ACK_S


def test_hubs_gather_while_acknowledgements_come_late() -> None:
    pacer = AckPacer(Lateness())
    told = []
    for late_s in (0.0, 0.02, 0.02, 0.0, 0.0, 0.0, 0.0, 0.0):
        pacer.committed(pacer.take(0.0).seq + 1, now=1.0)
        told.append(pacer.take(1.0 + ACK_S + late_s).gather_ms)
    assert told[0] == 0
    assert told[1] == told[2] == round(1000 * GATHER_MOST_S)
    assert told[-1] == 0


def test_what_one_session_has_shown_the_next_one_tells_its_hub() -> None:
    lateness = Lateness()
    one, other = AckPacer(lateness), AckPacer(lateness)
    one.committed(1, now=1.0)
    one.take(1.0 + ACK_S + 0.02)
    other.received([Reported(1, 1, Consumed("t"))])
    other.committed(1, now=3.0)
    assert other.take(3.0).gather_ms == round(1000 * GATHER_MOST_S)


def test_a_machine_that_is_a_little_late_is_not_busy() -> None:
    pacer = AckPacer(Lateness())
    for seq in range(1, 20):
        pacer.committed(seq, now=1.0)
        assert pacer.take(1.0 + ACK_S + LATE_S / 2).gather_ms == 0


def test_a_test_can_have_pieces_gathered_anyhow() -> None:
    pacer = AckPacer(Lateness(forced_gather_ms=7))
    pacer.committed(1, now=1.0)
    assert pacer.take(1.0) == Ack(1, 7)
