"""Rounds of random kills: a fresh data folder each, many sessions, and at the end the judgement.

What a seed decides: the people's words and acts, and the traps. What it cannot decide is how the processes of a
machine take turns; so a seed repeats the story, not each interleaving.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import attrs
import trio

from actors.events.committed import Committed
from actors.events.conversation import Delivery, Message, UserMessage
from tests.e2e.shared_server import all_events, open_http
from tests.support.invariants import (
    Problem,
    accepted_problems,
    committed_of,
    journal_problems,
    prompt_problems,
    view_problems,
)
from tests.support.server import open_server
from tests.torture.people import Looker, Talker
from tests.torture.town import Town, config_of
from tests.torture.traps import VICTIMS, Victim, roll_trap

__all__ = ["ROUND_S", "OpenTown", "Tally", "open_town", "run_round"]

ROUND_S = 240.0
"""A round of 50 kills takes about half a minute; one that hangs is a failure too."""

START_S = 15.0
"""What may be added for each kill of a node or a database, whose start takes a second on a quiet machine."""

GONE_S = 20.0
"""How long commands of agents that were killed may take to be gone."""


@attrs.define(eq=False)
class Tally:
    """The figures of one round, or of several added up. `events` are those of the journals, `seen` what devices saw."""

    killed: Counter[str] = attrs.field(factory=Counter)
    ends: Counter[str] = attrs.field(factory=Counter)
    refusals: Counter[str] = attrs.field(factory=Counter)
    drops: int = 0
    sessions: int = 0
    accepted: int = 0
    events: int = 0
    seen: int = 0
    problems: list[Problem] = attrs.field(factory=list)

    def add(self, other: Tally) -> None:
        """Add the figures of another round."""
        self.killed += other.killed
        self.ends += other.ends
        self.refusals += other.refusals
        self.problems += other.problems
        for name in ("drops", "sessions", "accepted", "events", "seen"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def lines(self) -> list[str]:
        """Return the figures as text."""
        kinds: Counter[str] = Counter(problem.kind for problem in self.problems)
        wrong = ("lost", "doubled", "gap", "stale", "journal", "orphan")
        return [
            f"kills     {self.killed.total()}: " + _counts(self.killed),
            f"drops     {self.drops} connections that devices lost by themselves",
            f"refused   {self.refusals.total()} times for a while: " + _counts(self.refusals),
            f"sessions  {self.sessions}",
            f"messages  {self.accepted} accepted",
            f"turns     {self.ends.total()}: " + _counts(self.ends),
            f"events    {self.events} in the journals, {self.seen} seen by devices",
            "wrong     " + ", ".join(f"{kind} {kinds[kind]}" for kind in wrong),
        ]


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))


@asynccontextmanager
async def open_town(folder: Path, config: str, record: Path) -> AsyncIterator[Town]:
    """Open a town of one server."""
    async with open_server(folder, config=config) as server:
        yield Town.of(server, record)


OpenTown = Callable[[Path, str, Path], AbstractAsyncContextManager[Town]]


async def run_round(
    folder: Path,
    seed: int,
    kills: int,
    *,
    sessions: int = 6,
    lookers: int = 3,
    opened: OpenTown = open_town,
    victims: Sequence[frozenset[Victim]] = VICTIMS,
) -> Tally:
    """Let so many processes be killed while people talk; then let all end, and judge.

    Args:
        folder: an empty one, with a short path.
        seed: decides what is said and killed.
        kills: how many processes, at least.
        sessions: every third one talks to a relay that keeps its own record, the others to `echo`. They are at home on
            the town's servers in turn.
        lookers: devices that only look on.
        opened: opens the town.
        victims: what is killed at once.
    """
    dice = random.Random(seed)
    record = folder / "r"
    record.mkdir()
    async with opened(folder, config_of(sys.executable, record), record) as town:
        agents = {f"s{number}": "relay" if number % 3 == 2 else "echo" for number in range(sessions)}
        for number, (session_id, agent) in enumerate(agents.items()):
            place = town.homes[session_id] = town.places[number % len(town.places)]
            async with place.server.device() as device:
                await device.attach(session_id, agent=agent)
        talkers = [Talker(town, name, agent, random.Random(dice.random())) for name, agent in agents.items()]
        watching = [
            Looker(f"looker {number}", town, tuple(agents), random.Random(dice.random()))
            for number in range(lookers)
        ]
        with trio.fail_after(ROUND_S + (START_S * kills if town.database is not None else 0)):
            async with trio.open_nursery() as outer:
                for looker in watching:
                    outer.start_soon(looker.run)
                async with trio.open_nursery() as nursery:
                    for talker in talkers:
                        nursery.start_soon(talker.run)
                    while town.killed.total() < kills:
                        await town.spring(roll_trap(dice, victims))
                    town.draining = True
                town.heads = {talker.session_id: talker.seen[-1].seq for talker in talkers}
            return await _judge(town, talkers, watching)


async def _judge(town: Town, talkers: list[Talker], lookers: list[Looker]) -> Tally:
    tally = Tally(killed=town.killed, drops=town.drops, sessions=len(talkers), problems=town.problems)
    tally.refusals.update(town.refusals)
    async with open_http(town.server) as http:
        for talker in talkers:
            journal = [committed_of(frame) for frame in await all_events(http, talker.session_id)]
            tally.accepted += len(talker.accepted)
            tally.ends.update(talker.ends)
            tally.events += len(journal)
            tally.seen += len(talker.seen)
            problems = journal_problems(journal) + accepted_problems(journal, talker.accepted)
            problems += view_problems("talker", journal, talker.seen)
            for looker in lookers:
                seen = looker.seen[talker.session_id]
                tally.seen += len(seen)
                problems += view_problems(looker.name, journal, seen)
            if talker.agent == "relay":
                problems += prompt_problems(journal, prompts_of(town.record, talker.session_id))
            problems += count_problems(journal)
            tally.problems += [
                attrs.evolve(one, about=f"{talker.session_id}: {one.about}") for one in problems
            ]
    tally.problems += await orphan_problems(town)
    return tally


def prompts_of(record: Path, session_id: str) -> list[str]:
    """Return the messages that a session's relays had, by their own record."""
    path = record / "prompts"
    lines = path.read_text().splitlines() if path.exists() else []
    return [words for session, _, words in (line.partition("\t") for line in lines) if session == session_id]


def count_problems(journal: list[Committed]) -> list[Problem]:
    """Hold what `/turns` answered against the messages that the journal says were taken."""
    asked: set[str] = set()
    turn_of: dict[str | None, str] = {}
    taken = 0
    problems = []
    for item in journal:
        event = item.event
        if isinstance(event, UserMessage) and event.content == "/turns":
            asked.add(event.message_id)
        elif isinstance(event, Delivery) and event.state == "consumed":
            taken += 1
            turn_of[item.turn_id] = event.message_id
        elif (
            isinstance(event, Message)
            and turn_of.get(item.turn_id) in asked
            and event.content != f"turns={taken}"
        ):
            problems.append(Problem("doubled", f"{item.seq}: {event.content}, and {taken} were taken"))
    return problems


async def orphan_problems(town: Town) -> list[Problem]:
    """Wait until no relay and no command of one is left, now that every turn is over; return those that stay."""
    with trio.move_on_after(GONE_S):
        while True:
            left = [
                f"{what} {process.pid}"
                for what in ("agent", "tool")
                for process in town.processes(None, what)
            ]
            if not left:
                return []
            await trio.sleep(0.05)  # other processes end, and no event says so
    return [Problem("orphan", one) for one in left]
