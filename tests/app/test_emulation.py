"""The emulation shows what was seen of the app itself: which gaps lose text, which handshake loses `ready`."""

from __future__ import annotations

import json
import random
from statistics import median

import attrs
import pytest

from tests.app.emulation import Phone, Profile, jitter_of


@attrs.define(eq=False)
class Nothing:
    """A network that only notes what was sent."""

    sent: list[tuple[int, str]] = attrs.field(factory=list)
    opened: list[int] = attrs.field(factory=list)
    pings: int = 0
    deletes: int = 0

    def open(self, socket: int) -> None:
        self.opened.append(socket)

    def send(self, socket: int, text: str) -> None:
        self.sent.append((socket, text))

    def ping(self, socket: int) -> None:
        self.pings += 1

    def close(self, socket: int) -> None:
        pass

    def delete_session(self, session_id: str) -> None:
        self.deletes += 1


def frame(kind: str, content: str = "", **more: object) -> str:
    return json.dumps({"type": kind, "content": content, "timestamp": "t", **more})


def phone_on(air: Nothing, profile: Profile | None = None, seed: int | None = None) -> Phone:
    jitter = (lambda: 0.0) if seed is None else jitter_of(random.Random(seed))
    return Phone(air, profile or Profile.claude(), "KEY", "s", "d", jitter)


def shown(gap_s: float, seed: int | None, profile: Profile | None = None) -> int:
    """Return how much of 20 frames of 200 characters is on the screen at the end."""
    phone = phone_on(Nothing(), profile, seed)
    phone.on_open(0)
    phone.type("go")
    for number in range(20):
        phone.advance(1 + number * gap_s)
        phone.on_text(0, frame("message", f"{number:03d}" + "x" * 197))
    phone.advance(1 + 20 * gap_s)
    phone.on_text(0, frame("complete"))
    phone.advance(60)
    return len(phone.seen)


@pytest.mark.parametrize(("gap_ms", "seen"), [(50, 200), (120, 4000), (250, 4000)])
def test_frames_too_close_are_lost(gap_ms: int, seen: int) -> None:
    assert abs(shown(gap_ms / 1000, None) - seen) <= 200
    assert shown(gap_ms / 1000, None, Profile.codex()) == 4000


def test_with_jitter_only_wide_gaps_are_safe() -> None:
    assert median(shown(0.12, seed) for seed in range(8)) < 4000
    assert all(shown(0.25, seed) == 4000 for seed in range(20))


@pytest.mark.parametrize(("ready_at", "seen"), [(0.11, False), (0.4, True)])
def test_a_ready_before_the_flag_is_reset_is_lost(ready_at: float, seen: bool) -> None:
    air = Nothing()
    phone = phone_on(air)
    phone._spawn(phone._connect())
    phone.advance(0.0)
    phone.on_open(0)
    phone.advance(0.1)
    assert air.sent == [(0, "KEY")]
    phone.on_text(0, "authenticated")
    if not seen:
        phone.on_text(0, frame("ready"))
    phone.advance(0.25)
    assert json.loads(air.sent[1][1])["working_directory"]
    if seen:
        phone.on_text(0, frame("ready"))
    phone.advance(20)
    assert phone.ready_after == [seen]


def test_a_new_tab_has_a_silent_twin_and_says_the_key_twice() -> None:
    air = Nothing()
    phone = phone_on(air)
    phone.new_tab()
    phone.advance(0.0)
    phone.on_open(0)
    phone.on_open(1)
    phone.advance(0.2)
    assert air.opened == [0, 1]
    assert air.sent == [(1, "KEY"), (1, "KEY")]


def test_a_ready_that_names_the_directory_is_dropped() -> None:
    phone = phone_on(Nothing())
    phone.on_text(0, frame("ready", features={"working_directory": True}))
    phone.advance(1)
    assert phone._flag is False


def test_the_reconnect_says_no_key() -> None:
    air = Nothing()
    phone = phone_on(air)
    phone.on_open(0)
    phone.on_close(0, 1006)
    phone.advance(3)
    phone.on_open(0)
    phone.advance(60)
    assert len(air.opened) == 1
    assert air.sent == []
    phone.type("hello")
    assert json.loads(air.sent[0][1])["content"] == "hello"


def test_a_frame_without_its_three_strings_is_a_bubble() -> None:
    phone = phone_on(Nothing())
    phone.on_text(0, json.dumps({"type": "message", "content": None, "timestamp": "t"}))
    phone.advance(1)
    assert phone.errors == []
    phone.on_open(0)
    phone.type("hello")
    phone.on_text(0, json.dumps({"type": "message", "content": "x", "timestamp": 5}))
    phone.advance(2)
    assert phone.errors == ["Error: Invalid message format"]


def test_a_tab_is_closed_twice() -> None:
    air = Nothing()
    phone = phone_on(air)
    phone.new_tab()
    phone.advance(0)
    phone.close_tab()
    assert air.deletes == 2
