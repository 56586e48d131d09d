"""Who looks at what, over nodes: what one shares, another one knows, whatever their clocks say."""

from __future__ import annotations

from typing import Any

import pytest

from transport.push.attention import LEASE_MS, Attention

MINUTE = 60_000


class Clock:
    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


def two() -> tuple[Attention, Attention, Clock]:
    """Return what node `b` knows, whose clock is ten minutes ahead, and what `a` knows, with its clock."""
    clock = Clock(1_000_000)
    return Attention(Clock(1_600_000)), Attention(clock), clock


def focus(
    attention: Attention, connection: object, label: str, session_id: str | None, idle_ms: int = 0
) -> None:
    attention.focus(connection, f"key-{label}", label, session_id, visible=True, idle_ms=idle_ms)


def test_a_look_counts_at_the_other_node_for_what_is_left_of_it() -> None:
    there, here, clock = two()
    focus(there, object(), "phone", "trip", idle_ms=20_000)
    here.take("b", there.share())
    assert here.watchers("trip") == ["key-phone"]
    assert here.active() == ["phone"]
    clock.now_ms += LEASE_MS - 20_001
    assert here.watchers("trip") == ["key-phone"]
    clock.now_ms += 1
    assert here.watchers("trip") == []


def test_a_look_ends_with_its_connection_and_with_its_node() -> None:
    there, here, _ = two()
    connection, woken = object(), list[None]()
    here.changed = lambda: woken.append(None)
    focus(there, connection, "phone", "trip")
    here.take("b", there.share())
    there.leave(connection)
    here.take("b", there.share())
    assert here.watchers("trip") == []
    focus(there, connection, "phone", "trip")
    here.take("b", there.share())
    here.forget("b")
    assert here.watchers("trip") == []
    assert len(woken) == 4, "each time somebody may have stopped looking"
    here.forget("b")
    assert len(woken) == 4


def test_who_hears_alerts_at_one_node_is_known_at_the_other() -> None:
    there, here, _ = two()
    woken = list[None]()
    here.heard = lambda: woken.append(None)
    with there.listen(lambda _: None):
        here.take("b", there.share())
        assert (here.is_heard, len(woken)) == (True, 1)
    here.take("b", there.share())
    assert (here.is_heard, len(woken)) == (False, 1)
    with there.listen(lambda _: None):
        here.take("b", there.share())
    here.forget("b")
    assert not here.is_heard


def test_who_was_active_last_is_last_at_both() -> None:
    there, here, _ = two()
    focus(there, 1, "phone", None)
    focus(there, 2, "tablet", None)
    here.take("b", there.share())
    focus(here, 3, "mac", None)
    here.take("b", there.share())
    assert here.active() == ["mac", "tablet", "phone"], "what was shared already is not news"
    there.use("phone")
    here.take("b", there.share())
    assert here.active() == ["phone", "mac", "tablet"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"looks": []},
        {"looks": 7, "active": []},
        {"looks": [["key"]], "active": []},
        {"looks": [["key", "trip", "soon"]], "active": []},
        {"looks": [], "active": None},
    ],
)
def test_what_cannot_be_read_changes_nothing(fields: dict[str, Any]) -> None:
    there, here, _ = two()
    focus(there, 1, "phone", "trip")
    here.take("b", there.share())
    with pytest.raises((KeyError, TypeError, ValueError)):
        here.take("b", fields)
    assert (here.watchers("trip"), here.active()) == (["key-phone"], ["phone"])


def test_nobody_looks_longer_than_the_lease() -> None:
    _, here, clock = two()
    here.take("b", {"looks": [["key", "trip", 10 * MINUTE]], "active": []})
    clock.now_ms += LEASE_MS
    assert here.watchers("trip") == []


def test_a_frame_goes_to_the_pages_here_and_is_passed_on_once() -> None:
    _, here, _ = two()
    heard, sent = list[Any](), list[Any]()
    here.sent = sent.append
    with here.listen(heard.append):
        here.tell({"alert_id": "1"})
        here.tell_here({"alert_id": "2"})
    assert heard == [{"alert_id": "1"}, {"alert_id": "2"}]
    assert sent == [{"alert_id": "1"}]
