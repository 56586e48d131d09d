"""How long a server takes to its banner with many sessions on disk, against an empty folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import trio

from actors.events.codec import encode_entry, encode_settings
from actors.events.committed import Committed, Event
from actors.events.conversation import Complete, Delivery, Message, TurnStarted, UserMessage
from actors.events.session import Settings
from actors.session.apply import apply
from actors.session.snapshot import summary
from actors.session.state import SessionState
from bench.chains import open_server
from bench.errors import BenchError
from bench.figures import ratios, spread
from bench.plan import Plan
from bench.report import Row
from storage.data_folder import read_boot_id
from storage.records import Entry, NewSession, Summary
from storage.store import Store, open_store

__all__ = ["database_of", "fill", "measure_boot"]

_MAGIC = b"SQLite format 3\0"
_WORKSPACE = "."
_AT_MS = 1_700_000_000_000
"""The fixed moment of all that is written: it is not looked at."""

_FILLERS = 64
"""Sessions written at once, so that one fsync serves many."""

_MS_PER_S = 1000.0


async def measure_boot(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Return the row of the start. Raises BenchError where a server did not start."""
    empty, full = folder / "boot-empty", folder / "boot-full"
    for data in (empty, full):  # the first start makes the database and the key, and does not count
        await _boot_ms(data, folder)
    say(f"writing {plan.sessions:,} sessions")
    await fill(database_of(full), plan.sessions, plan.turns)
    pairs = []
    for number in range(plan.pairs + 1):
        say(f"boot, pair {number} of {plan.pairs}")
        pairs.append((await _boot_ms(empty, folder), await _boot_ms(full, folder)))
    without, with_all = [one for one, _ in pairs[1:]], [one for _, one in pairs[1:]]
    name = f"boot with {plan.sessions:,} sessions, against none"
    return [Row(name, "ms", spread(with_all), spread(without), ratios(with_all, without))]


async def _boot_ms(data: Path, folder: Path) -> float:
    async with open_server(data, folder) as server:
        return server.boot_s * _MS_PER_S


def database_of(data: Path) -> Path:
    """Return the database that a server made in its data folder. Raises BenchError where there is none."""
    for path in sorted(data.iterdir()):
        if path.is_file():
            with path.open("rb") as file:
                if file.read(len(_MAGIC)) == _MAGIC:
                    return path
    raise BenchError("the server made no database in its data folder")


def words_of(turn: int) -> str:
    """Return an answer of prose alone."""
    return "echo: " + f"some words of turn {turn} " * 20


async def fill(database: Path, sessions: int, turns: int, answer: Callable[[int], str] = words_of) -> None:
    """Write that many idle sessions into a database that no server holds, through storage itself.

    Each has `turns` turns as they lie on disk after their end: 7 rows, the answer's pieces folded. `answer` returns
    that of a turn.
    """
    entries, last = _conversation(turns, answer)
    limit = trio.CapacityLimiter(_FILLERS)

    async def write(store: Store, number: int) -> None:
        async with limit:
            session_id = f"session-{number}"
            settings = encode_settings(Settings(_WORKSPACE))
            await store.catalog.create(NewSession(session_id, "echo", "bench", settings, _AT_MS + number))
            grant = await store.ownership.acquire(session_id)
            await store.journal.append(grant, grant.seq, entries, durable=False, summary=last)

    async with open_store(database, boot_id=read_boot_id()) as store, trio.open_nursery() as nursery:
        for number in range(sessions):
            nursery.start_soon(write, store, number)


def _conversation(turns: int, answer: Callable[[int], str]) -> tuple[list[Entry], Summary | None]:
    """Return one session's rows and summary; they name no session, so all sessions share them."""
    state = SessionState("", "echo", Settings(_WORKSPACE), 1)
    entries = []
    seq = 0
    for turn in range(turns):
        for event in _turn_events(turn, answer(turn)):
            seq += 1
            item = Committed(seq, seq, _AT_MS, f"turn-{turn}", "bench", event)
            apply(state, item)
            entries.append(encode_entry(item))
    return entries, summary(state)


def _turn_events(number: int, answer: str) -> Iterator[Event]:
    message_id = f"message-{number}"
    yield UserMessage(message_id, f"question {number}, of the length that people type, or about that")
    yield TurnStarted(message_id)
    yield Delivery(message_id, "handed")
    yield Delivery(message_id, "consumed")
    yield Message(answer, "0", 0)
    yield Delivery(message_id, "answered")
    yield Complete(2 * number + 2, len(answer), "0" * 64)
