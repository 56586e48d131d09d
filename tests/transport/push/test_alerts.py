"""From events to cards: what is notified to whom, why the others are not, and how it is withdrawn."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest

from actors.events.committed import Event
from actors.events.conversation import (
    Complete,
    Delivery,
    Interrupted,
    Notice,
    TurnError,
    TurnStarted,
    UserMessage,
)
from actors.events.session import SessionUpdated
from actors.events.work import TaskFinished
from tests.transport.push.rig import Service, asked, open_rig
from transport.push.alert_state import TOO_OLD_MS
from transport.push.senders.sending import ServiceAnswer
from transport.push.settings import PushSettings, QuietHours

DONE = Complete(1, 0, "")


async def test_a_request_goes_to_one_device_then_all_then_is_withdrawn(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        for name in ("phone", "mac"):
            await rig.add(name)
        await rig.add("tv", scope="view")
        rig.attention.use("mac")
        rig.attention.use("phone")
        await rig.journal(asked())
        await rig.pass_time(1.9)
        assert rig.service.cards == [], "a rule may still allow it"
        await rig.pass_time(0.2)
        (card,) = rig.service.of("c-phone")
        assert (card.kind, card.request_id, card.title, card.body) == (
            "decision",
            "r1",
            "Trip",
            "echo asks: Bash",
        )
        assert card.buttons == ("deny", "open"), "the card does not show the input"
        assert await rig.states() == {
            "c-phone": ("sent", None),
            "c-mac": ("skipped", "not_its_turn"),
            "c-tv": ("skipped", "no_right"),
        }
        await rig.pass_time(120)
        assert [name for name, _ in rig.service.cards] == ["c-phone", "c-mac"]
        await rig.resolve(by="ipad")
        await rig.pass_time()
        await rig.pass_time(1)
        for name in ("c-phone", "c-mac"):
            first, last = rig.service.of(name)
            assert (last.alert_id, last.settled, last.buttons, last.body) == (
                first.alert_id,
                True,
                (),
                "Allowed by ipad",
            )
        assert {state for state, _ in (await rig.states()).values()} == {"withdrawn", "skipped"}
        assert [(one["state"], one.get("by_device")) for one in rig.told] == [
            ("open", None),
            ("settled", "ipad"),
        ]
        await rig.pass_time(600)
        assert len(rig.service.cards) == 4, "once each"


async def test_what_is_answered_in_time_is_told_to_nobody(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.add("phone")
        await rig.journal(asked())
        await rig.pass_time(1)
        await rig.resolve()
        await rig.pass_time(5)
        assert rig.service.cards == []
        assert await rig.states() == {"c-phone": ("skipped", "answered_first")}


async def test_a_watcher_delays_a_request_and_settles_a_turns_end(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.add("phone")
        rig.attention.focus(rig, "phone", "mac", "trip", visible=True, idle_ms=0)
        await rig.journal(asked(), DONE)
        await rig.pass_time(4)
        finished, request = await rig.why()
        assert (finished[0].how, finished[1]["c-phone"].reason) == ("seen", "watching")
        assert request[1]["c-phone"].reason == "watching"
        rig.attention.focus(rig, "phone", "mac", "trip", visible=False, idle_ms=0)
        await rig.pass_time()
        assert len(rig.service.cards) == 1, "the watcher left"


async def test_one_who_only_watches_delays_no_request(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.add("phone")
        await rig.add("tv", scope="view")
        rig.attention.focus(rig, "tv", "tv", "trip", visible=True, idle_ms=0)
        await rig.journal(asked())
        await rig.pass_time(2)
        assert len(rig.service.cards) == 1
        for second in range(4):
            rig.attention.focus(rig, "phone", "mac", "other", visible=True, idle_ms=0)
            await rig.journal(asked("r2"), session_id="other") if second == 0 else None
            await rig.pass_time(20)
        assert len(rig.service.cards) == 2, "after 45 s a device is notified"


@pytest.mark.parametrize(
    ("event", "turn_id", "kind", "body"),
    [
        (DONE, "t1", "finished", "echo has finished"),
        (TurnError("model_error", "no", retryable=True), "t1", "failed", "echo: the turn failed"),
        (
            TurnError("unknown_outcome", "?", retryable=True),
            "t1",
            "unknown",
            "An agent may have missed a message",
        ),
        (SessionUpdated(failed=True), None, "failed", "echo: the turn failed"),
        (
            TaskFinished("k", "Build", "sub", "succeeded", None, background=True),
            None,
            "background",
            "A task in the background ended: Build",
        ),
        (
            Notice("later_held", "A message for later waits for your word: x."),
            "t9",
            "late",
            "A message for later",
        ),
        (TaskFinished("k", "Build", "sub", "succeeded", None, background=True), "t1", None, ""),
        (TaskFinished("k", "Build", "sub", "cancelled", None, background=True), None, None, ""),
        (Interrupted("mac"), "t1", None, ""),
        (Notice("checkpoint", "x"), "t1", None, ""),
    ],
)
async def test_what_raises_which_alert(
    event: Event, turn_id: str | None, kind: str | None, body: str, tmp_path: Path
) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.add("phone")
        await rig.journal(event, turn_id=turn_id)
        await rig.pass_time(4)
        assert [alert.kind for alert, _ in await rig.why()] == ([] if kind is None else [kind])
        assert [card.body[: len(body)] for _, card in rig.service.cards] == ([] if kind is None else [body])


async def test_reading_writing_and_deleting_settle(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.add("phone")
        read = await rig.journal(DONE, session_id="read")
        await rig.journal(DONE, session_id="answered")
        await rig.journal(DONE, asked(), session_id="gone")
        await rig.pass_time(4)
        assert len(rig.service.cards) == 4
        await rig.store.catalog.note("read", read_seq=read)
        await rig.journal(UserMessage("m", "on"), session_id="answered", by="mac")
        await rig.store.catalog.remove("gone")
        for session_id in ("read", "gone"):
            rig.consumer.changed(session_id)
        await rig.pass_time()
        await rig.pass_time(1)
        assert sorted((alert.session_id, alert.how or "") for alert, _ in await rig.why()) == [
            ("answered", "message"),
            ("gone", "gone"),
            ("gone", "gone"),
            ("read", "read"),
        ]
        assert sum(card.settled for _, card in rig.service.cards) == 4


LATE = Notice("later_held", "A message for later waits for your word: it is over an hour late.")


async def test_a_word_on_a_message_for_later_settles_its_alert(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.add("phone")
        for turn_id in ("t1", "t2", "t3"):
            await rig.journal(LATE, turn_id=turn_id)
        await rig.pass_time(4)
        assert len(rig.service.cards) == 3
        await rig.journal(Delivery("m0", "cancelled"), TurnStarted("m0"), turn_id="t0", by="ipad")
        await rig.pass_time()
        assert [alert.how for alert, _ in await rig.why()] == [None] * 3, "another message"
        await rig.journal(Delivery("m1", "cancelled"), turn_id="t1", by="ipad")
        await rig.pass_time()
        await rig.journal(TurnStarted("m2"), turn_id="t2", by="mac")
        await rig.pass_time()
        await rig.pass_time(1)
        settled = {alert.subject: (alert.how, alert.by_device) for alert, _ in await rig.why()}
        assert settled == {"t1": ("cancelled", "ipad"), "t2": ("sent", "mac"), "t3": (None, None)}
        withdrawn = [card.body for _, card in rig.service.cards if card.settled]
        assert withdrawn == ["Cancelled by ipad", "Sent by mac"]


async def test_a_word_on_a_message_for_later_counts_after_a_restart(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.add("phone")
        await rig.journal(LATE, turn_id="t1")
        await rig.pass_time(1)
        await rig.journal(Delivery("m1", "cancelled"), turn_id="t1", by="ipad")
        rig.restart()
        await rig.consumer.begin()
        await rig.pass_time(4)
        assert [alert.how for alert, _ in await rig.why()] == ["cancelled"]
        assert rig.service.cards == [], "nobody had to be notified"


async def test_events_before_the_first_channel_raise_nothing(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.add("phone")
        await rig.journal(asked())
        rig.now_ms += TOO_OLD_MS + 1
        await rig.pass_time()
        assert await rig.why() == []


async def test_quiet_hours_end(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    from tests.storage.stores import NOW_MS

    now = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    end = now + timedelta(minutes=30)
    quiet = QuietHours(time(now.hour, now.minute), time(end.hour, end.minute), UTC, "")
    async with open_rig(tmp_path, PushSettings(quiet=quiet)) as rig:
        await rig.add("phone")
        await rig.journal(asked())
        await rig.pass_time(5)
        assert await rig.states() == {"c-phone": ("skipped", "quiet_hours")}
        await rig.pass_time(1800)
        assert len(rig.service.cards) == 1


async def test_what_services_answer(tmp_path: Path) -> None:
    """Gone, refused, busy, silent: each has its state, its reason and its end."""
    async with open_rig(tmp_path) as rig:
        await rig.add("phone")
        rig.service.answer = ServiceAnswer(429, "", 60)
        await rig.journal(asked())
        await rig.pass_time(2)
        assert (await rig.states())["c-phone"] == ("planned", "unreachable")
        await rig.pass_time(59)
        assert len(rig.service.cards) == 1
        rig.service.answer = ServiceAnswer(201)
        await rig.pass_time(2)
        assert (await rig.states())["c-phone"][0] == "sent"
        assert not any(card.repeat for _, card in rig.service.cards)
        rig.service.answer = ServiceAnswer(403, "BadJwtToken")
        await rig.journal(asked("r2"))
        await rig.pass_time(2)
        assert (await rig.states())["c-phone"] == ("failed", "refused")
        (channel,) = await rig.store.notifications.channels.listing()
        assert (channel.state, "BadJwtToken" in (channel.problem or "")) == ("failing", True)
        rig.service.answer = ServiceAnswer(410)
        await rig.journal(asked("r3"))
        await rig.pass_time(2)
        assert (await rig.states())["c-phone"] == ("failed", "gone")
        await rig.journal(asked("r4"))
        await rig.pass_time(2)
        assert (await rig.states())["c-phone"] == ("skipped", "gone")


async def test_an_unreachable_service_is_tried_five_times(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.add("phone")
        tries = 0

        def count() -> None:
            nonlocal tries
            tries += 1

        unsure = Service(answer=ServiceAnswer(None, "x", maybe=True), before=count)
        rig.service = rig.courier.senders["web"] = unsure  # type: ignore[index]
        await rig.journal(asked())
        for wait in (2, 2, 8, 30, 120, 500):
            await rig.pass_time(wait)
        assert tries == 5
        assert (await rig.states())["c-phone"] == ("failed", "unreachable")
        assert [card.repeat for _, card in rig.service.cards] == [False, True, True, True, True], "one buzz"


async def test_too_many_cards_become_one(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.add("phone")
        await rig.journal(*(asked(f"r{number}") for number in range(30)))
        await rig.pass_time(2)
        assert [card.kind for _, card in rig.service.cards].count("many") == 1
        assert len(rig.service.cards) == 21
        reasons = [deliveries["c-phone"].reason for _, deliveries in await rig.why()]
        assert reasons.count("rate_limited") == 10


async def test_a_delegates_request_says_whose_it_is(tmp_path: Path) -> None:
    import attrs

    from actors.events.work import TaskStarted

    async with open_rig(tmp_path) as rig:
        await rig.add("phone")
        await rig.journal(TaskStarted("k1", "Tidy up", "codex"), attrs.evolve(asked(), task_id="k1"))
        await rig.pass_time(2)
        assert rig.service.of("c-phone")[0].body == "codex (Tidy up) asks: Bash"


async def test_a_copy_tells_nobody(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.add("phone")
        await rig.store.notifications.channels.sleep()
        await rig.journal(asked())
        await rig.pass_time(2)
        assert (rig.service.cards, await rig.states()) == ([], {"c-phone": ("skipped", "asleep")})


async def test_what_a_device_reports(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.add("phone")
        await rig.add("mac")
        rig.attention.use("phone")
        await rig.journal(asked())
        await rig.pass_time(2)
        alert_id = rig.service.cards[0][1].alert_id
        seen = rig.store.notifications.deliveries.seen
        assert await seen(alert_id, "mac", None, "shown", 1) == [], "another key's card"
        assert await seen(alert_id, "phone", "c-mac", "shown", 1) == []
        assert await seen(alert_id, "phone", "c-phone", "shown", rig.now_ms) == ["c-phone"]
        assert (await rig.states())["c-phone"][0] == "shown"
        await rig.resolve()
        await rig.pass_time()
        assert await seen(alert_id, "phone", None, "closed", rig.now_ms) == ["c-phone"]
        await rig.pass_time(5)
        assert (await rig.states())["c-phone"][0] == "withdrawn"
        assert len(rig.service.cards) == 1, "the open page closed the card, no push did"


async def test_a_terminals_request_waits_longer(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.add("phone")
        await rig.journal(asked(), DONE, by="desk")
        await rig.pass_time(19)
        assert rig.service.cards == []
        await rig.pass_time(1)
        assert [card.kind for _, card in rig.service.cards] == ["decision"]
        assert [alert.kind for alert, _ in await rig.why()] == ["decision"]


async def test_a_card_outlives_the_config_that_it_was_sent_by(tmp_path: Path) -> None:
    """What cannot be withdrawn any more ends, and the server with it does not."""
    async with open_rig(tmp_path) as rig:
        await rig.add("phone")
        await rig.journal(asked())
        await rig.pass_time(2)
        rig.courier.senders = {}
        await rig.resolve()
        await rig.pass_time()
        await rig.pass_time(1)
        assert await rig.states() == {"c-phone": ("dropped", "no_sender")}
