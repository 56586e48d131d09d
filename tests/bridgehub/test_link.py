"""Who may connect to a hub, and what becomes of its events when links come and go."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from actors.errors import HubFenced, HubLost, HubProtocolError
from bridgehub.hub import HubLimits
from bridgehub.protocol.events import Consumed, TextPiece, TurnDone
from bridgehub.protocol.messages import Detach, Prompt, Stop
from tests.bridgehub.hub_harness import ENDS, Reader, open_hub, prompt, text_of, until


async def test_a_turn_goes_both_ways(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as opened:
        reader = await opened.reader()
        welcome = reader.link.welcome
        assert (welcome.hub_id, welcome.last_turn_id, welcome.running) == ("hub1", None, False)
        events = await reader.turn("t1", "good day")
        assert text_of(events) == "echo: good day "
        assert isinstance(events[0].event, Consumed)
        assert events[-1].event == TurnDone("t1")
        again = (await opened.connect(last_seq=reader.position)).welcome
        assert (again.last_turn_id, again.running) == ("t1", False)


async def test_a_prompt_is_taken_once(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as opened:
        reader = await opened.reader()
        await reader.turn("t1", "once")
        await reader.link.send(prompt("t1", "once"))
        events = await reader.turn("t2", "twice")
        assert text_of(events) == "echo: twice "


async def test_an_older_owner_is_fenced_and_does_no_harm(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as opened:
        reader = await opened.reader(owner_epoch=5)
        with pytest.raises(HubFenced):
            await opened.connect(owner_epoch=4)
        assert text_of(await reader.turn("t1", "still here")) == "echo: still here "


async def test_the_same_owner_displaces_its_own_link(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as opened:
        first = await opened.reader()
        await first.turn("t1", "one")
        second = Reader(await opened.connect(last_seq=first.position), first.position)
        with pytest.raises(HubLost), trio.fail_after(20):
            await first.read()
        assert text_of(await second.turn("t2", "two")) == "echo: two "


async def test_many_links_at_once_leave_one(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as opened:
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(_connect_if_possible, opened.connect)
        reader = await opened.reader(owner_epoch=2)
        assert text_of(await reader.turn("t1", "alone")) == "echo: alone "


async def _connect_if_possible(connect: Callable[[], Awaitable[object]]) -> None:
    with suppress(HubLost):  # displaced before its welcome
        await connect()


@pytest.mark.parametrize(("version", "session"), [(99, "trip"), (1, "other")])
async def test_a_stranger_is_refused(tmp_path: Path, version: int, session: str) -> None:
    async with open_hub(tmp_path) as opened:
        with pytest.raises(HubProtocolError, match="refused"):
            await opened.connect(version=version, session=session)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\n\n\n",
        b"\x00\xff\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b'{"type":"stop"}\n',
        b"x" * (9 << 20),
        b'{"type":',
    ],
)
async def test_garbage_to_the_socket_does_no_harm(tmp_path: Path, garbage: bytes) -> None:
    async with open_hub(tmp_path) as opened:
        reader = await opened.reader()
        stream = await trio.open_unix_socket(opened.hub.spec.socket)
        with suppress(trio.BrokenResourceError):  # it had enough before the end
            await stream.send_all(garbage)
        await stream.aclose()
        assert text_of(await reader.turn("t1", "unharmed")) == "echo: unharmed "


async def test_garbage_on_a_link_ends_that_link_only(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as opened:
        reader = await opened.reader()
        await reader.link._stream.send_all(b"garbage\n")
        with pytest.raises(HubLost), trio.fail_after(20):
            await reader.read()
        assert text_of(await (await opened.reader()).turn("t1", "on")) == "echo: on "


async def test_an_unknown_message_is_ignored(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as opened:
        reader = await opened.reader()
        await reader.link._stream.send_all(b'{"type":"dance"}\n')
        assert text_of(await reader.turn("t1", "on")) == "echo: on "


async def test_the_agent_goes_on_while_no_server_is_there(tmp_path: Path) -> None:
    limits = HubLimits(outbox_bytes=20_000)
    async with open_hub(tmp_path, limits=limits) as opened:
        reader = await opened.reader()
        await reader.link.send(prompt("t1", "/words 200000"))
        await reader.read()
        await reader.link.send(Detach())
        await until(lambda: not opened.hub.turns.running)
        assert opened.hub.outbox.statistics().spool_bytes > 500_000
        reader.link = await opened.connect(last_seq=reader.position)
        assert not reader.link.welcome.running
        await reader.read_until(*ENDS)
        assert text_of(reader.events) == "".join(f"w{i} " for i in range(200_000))


async def test_a_full_spool_stops_the_agent_until_a_server_comes(tmp_path: Path) -> None:
    limits = HubLimits(outbox_bytes=20_000, spool_bytes=100_000)
    async with open_hub(tmp_path, limits=limits) as opened:
        reader = await opened.reader()
        await reader.link.send(prompt("t1", "/words 200000"))
        await reader.read()
        await reader.link.aclose()
        await until(lambda: opened.hub.outbox.is_full and not opened.hub.links.attached)
        assert (tmp_path / "spool").stat().st_size <= 100_000
        assert opened.hub.turns.running
        reader.link = await opened.connect(last_seq=reader.position)
        await reader.read_until(*ENDS)
        assert text_of(reader.events) == "".join(f"w{i} " for i in range(200_000))


@pytest.mark.parametrize("seed", range(6))
async def test_random_disconnects_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    async with open_hub(tmp_path, limits=HubLimits(outbox_bytes=rng.choice([3000, 100_000]))) as opened:
        reader = await opened.reader()
        reader.acks = rng.random() < 0.7
        await reader.link.send(prompt("t1", "/words 30000 0.01"))
        while not any(isinstance(item.event, TurnDone) for item in reader.events):
            with trio.move_on_after(rng.random() * 0.02):
                while True:
                    await reader.read()
                    reader.acks = rng.random() < 0.7
            # Cut wherever it is, also in the middle of a line that was being sent.
            await reader.link.aclose()
            reader.link = await opened.connect(last_seq=reader.position)
        assert text_of(reader.events) == "".join(f"w{i} " for i in range(30000))
        assert sum(isinstance(item.event, TextPiece) for item in reader.events) < 30000


async def test_garbage_from_the_hub_is_told_as_such(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as opened:
        reader = await opened.reader()
        await reader.link.send(prompt("t1", "/garbage"))
        with pytest.raises(HubProtocolError):
            await reader.read_until(TurnDone)
        assert [item.event for item in reader.events] == [Consumed("t1")]


async def test_nobody_there_ends_an_idle_hub_and_its_events_are_left(tmp_path: Path) -> None:
    async with open_hub(tmp_path, idle_abandon_s=0.2, busy_abandon_s=30.0) as opened:
        reader = await opened.reader()
        reader.acks = False
        await reader.turn("t1", "remember me")
        await reader.link.aclose()
        with trio.fail_after(20):
            await opened.over.wait()
    left = (tmp_path / "left").read_bytes()
    assert left.count(b"\n") == len(reader.events) + len(reader.newest)
    assert not (tmp_path / "s").exists()


async def test_a_server_that_is_there_keeps_an_idle_hub(tmp_path: Path) -> None:
    async with open_hub(tmp_path, idle_abandon_s=0.05) as opened:
        reader = await opened.reader()
        await trio.sleep(0.15)
        assert text_of(await reader.turn("t1", "here")) == "echo: here "


async def test_a_stalled_turn_is_given_up_and_a_working_one_is_not(tmp_path: Path) -> None:
    async with open_hub(tmp_path, idle_abandon_s=0.3, busy_abandon_s=0.3) as opened:
        reader = await opened.reader()
        await reader.link.send(prompt("t1", "/words 60 10"))
        await reader.read()
        await reader.link.aclose()
        with trio.fail_after(20):
            await opened.over.wait()
    left = (tmp_path / "left").read_bytes()
    assert b"w59 " in left
    assert b"turn_done" in left


async def test_a_hanging_turn_is_given_up(tmp_path: Path) -> None:
    async with open_hub(tmp_path, idle_abandon_s=0.3, busy_abandon_s=0.6) as opened:
        reader = await opened.reader()
        await reader.link.send(prompt("t1", "/hang"))
        await reader.read_until(Consumed)
        await reader.link.aclose()
        start = trio.current_time()
        with trio.fail_after(20):
            await opened.over.wait()
        assert trio.current_time() - start > 0.59


async def test_the_log_begins_anew_when_it_is_too_long(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 100)
    async with open_hub(tmp_path, limits=HubLimits(log_bytes=50, log_check_s=0.02)) as opened:
        await until(lambda: log.stat().st_size == 0)
        assert (await opened.connect()).welcome.hub_id == "hub1"


async def test_stop_ends_the_hub(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as opened:
        reader = await opened.reader()
        await reader.link.send(Stop())
        with trio.fail_after(20):
            await opened.over.wait()
        with pytest.raises(HubLost):
            await opened.connect()


async def test_a_flood_of_prompts_ends_the_link_not_the_hub(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as opened:
        reader = await opened.reader()
        with pytest.raises(HubLost):
            await _flood(reader)
        assert (await opened.connect()).welcome.running


async def _flood(reader: Reader) -> None:
    for number in range(100):
        await reader.link.send(Prompt(f"t{number}", "m", "/hang", 0))
    await reader.read_until(TurnDone)
