"""Histories of one alert at random: people look, leave and decide while the clock runs. Sentences say what must hold."""

from __future__ import annotations

from unittest.mock import patch

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.tables.notifications.alerts import Alert
from transport.push import routing_state
from transport.push.alert_state import grace_ms
from transport.push.attention import LEASE_MS, Attention
from transport.push.routing_state import WATCHED, WATCHED_MS, ChannelPlace, World, route

PLACES = (ChannelPlace("p", "phone"), ChannelPlace("m", "mac"))
ESCALATE_MS = 120_000
ASKING = ("decision", "unknown", "late")
LOUD = (*ASKING, "failed")

ACTS = st.one_of(
    st.tuples(st.just("look"), st.sampled_from(["phone", "mac"])),
    st.tuples(st.just("look elsewhere"), st.sampled_from(["phone", "mac"])),
    st.tuples(st.just("leave"), st.sampled_from(["phone", "mac"])),
    st.tuples(st.just("settle"), st.just("")),
    st.tuples(st.just("wait"), st.sampled_from(["500", "2000", "5000", "46000", "61000", "130000"])),
)


@attrs.define(eq=False)
class History:
    """One alert, the real ladder and the real attention, and a clock that the test moves."""

    alert: Alert
    now_ms: int = 0
    attention: Attention = attrs.field(init=False)
    settled_ms: int | None = None
    first_look_ms: int | None = None
    notified: list[tuple[int, str]] = attrs.field(factory=list)
    wrong: list[str] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.attention = Attention(lambda: self.now_ms)

    @property
    def is_watched(self) -> bool:
        return bool(self.attention.watchers("trip"))

    def act(self, what: str, who: str) -> None:
        """Do one thing, and let the ladder see it."""
        match what:
            case "look" | "look elsewhere":
                session_id = "trip" if what == "look" else "other"
                self.attention.focus(who, who, who, session_id, visible=True, idle_ms=0)
            case "leave":
                self.attention.leave(who)
            case "settle":
                self.settled_ms = self.now_ms
            case _:
                self._wait(int(who))
        self._climb()

    def _wait(self, ms: int) -> None:
        until = self.now_ms + ms
        while self.settled_ms is None and self.alert.due_at_ms is not None and self.alert.due_at_ms <= until:
            self.now_ms = max(self.now_ms, self.alert.due_at_ms)
            self._climb()
        self.now_ms = until

    def _climb(self) -> None:
        """Take the steps that `AlertConsumer` takes at such a moment."""
        if self.settled_ms is not None:
            return
        left = self.alert.step == WATCHED and not self.is_watched
        is_due = self.alert.due_at_ms is not None and self.alert.due_at_ms <= self.now_ms
        if not (left or is_due):
            return
        watched = self.is_watched
        world = World(
            now_ms=self.now_ms,
            places=PLACES,
            watched=watched,
            active=self.attention.active(),
            escalate_ms=ESCALATE_MS,
        )
        after = route(self.alert, world)
        new = [one.channel_id for one in after.told if one.reason is None]
        if watched and self.first_look_ms is None:
            self.first_look_ms = self.now_ms
        self._judge(new, watched=watched)
        self.notified += [(self.now_ms, one) for one in new]
        if after.settle is not None:
            self.settled_ms = self.now_ms
        self.alert = attrs.evolve(self.alert, step=after.step, due_at_ms=after.due_at_ms)

    def _judge(self, new: list[str], *, watched: bool) -> None:
        if not new:
            return
        kind, now_ms = self.alert.kind, self.now_ms
        if now_ms < grace_ms(kind, None):
            self.wrong.append("a device is notified within the grace")
        if watched and kind not in ASKING and not self.notified:
            self.wrong.append("a device is notified of what somebody sees")
        looked_ms = self.first_look_ms
        if watched and not self.notified and looked_ms is not None and now_ms < looked_ms + WATCHED_MS:
            self.wrong.append("a device is notified while somebody may still decide")
        if self.notified and now_ms < self.notified[0][0] + ESCALATE_MS:
            self.wrong.append("a second device is notified too early")
        if self.notified and kind not in LOUD:
            self.wrong.append("a second device is notified of a turn's end")

    def judge_the_end(self) -> None:
        """Judge what is left once all was done."""
        late_ms = grace_ms(self.alert.kind, None) + WATCHED_MS
        if self.settled_ms is None and self.now_ms >= late_ms and not self.notified:
            self.wrong.append("nobody is notified of what nobody settled")
        both = {name for _, name in self.notified}
        over = bool(self.notified) and self.now_ms >= self.notified[0][0] + ESCALATE_MS
        if over and self.settled_ms is None and self.alert.kind in LOUD and both != {"p", "m"}:
            self.wrong.append("the other devices are never notified")


def wrongs(kind: str, acts: list[tuple[str, str]]) -> list[str]:
    """Return which sentences do not hold in a history."""
    due_ms = grace_ms(kind, None)
    history = History(Alert("a", "trip", 5, kind, "r1", None, 0, 0, due_ms, None, None, None))
    for act in acts:
        history.act(*act)
    history.judge_the_end()
    return history.wrong


kinds = st.sampled_from(["decision", "finished", "failed", "unknown", "background", "late"])


@settings(max_examples=200)
@given(kinds, st.lists(ACTS, max_size=12))
def test_each_sentence_holds(kind: str, acts: list[tuple[str, str]]) -> None:
    assert wrongs(kind, acts) == []


def test_a_look_counts_for_a_minute() -> None:
    """A device that was left alone for a minute does not hold a notification back."""
    seen = ("look", "mac")
    assert LEASE_MS == 60_000
    history = History(Alert("a", "trip", 5, "decision", "r1", None, 0, 0, 62_000, None, None, None))
    for act in (seen, ("wait", "62000")):
        history.act(*act)
    assert history.notified == [(62_000, "m")]


@pytest.mark.parametrize(
    ("name", "value", "acts", "sentence"),
    [
        (
            "WATCHED_MS",
            5_000,
            [("look", "mac"), ("wait", "46000")],
            "a device is notified while somebody may still decide",
        ),
        (
            "WATCHED_MS",
            10**9,
            [("look", "mac"), ("wait", "46000"), ("look", "mac"), ("wait", "5000")],
            "nobody is notified of what nobody settled",
        ),
        (
            "_LOUD",
            frozenset(),
            [("look elsewhere", "mac"), ("wait", "130000")],
            "the other devices are never notified",
        ),
        ("_ASKING", frozenset({"failed", "finished"}), [("look", "mac"), ("wait", "61000")], None),
    ],
)
def test_a_planted_bug_breaks_a_sentence(
    name: str, value: object, acts: list[tuple[str, str]], sentence: str | None
) -> None:
    kind = "decision" if sentence is not None else "finished"
    with patch.object(routing_state, name, value):
        found = wrongs(kind, acts)
    assert found == [sentence or "a device is notified of what somebody sees"]
    assert wrongs(kind, acts) == []
