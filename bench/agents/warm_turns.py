"""The real agents: our whole way to a device against the bare SDK or app-server, turn by turn in pairs.

Both chains keep a real program warm, each with a home and a workspace of its own, and both programs ask the same
stand-in for the model service, a process on loopback.
"""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import cattrs
import orjson
import trio

from bench.agents.device import KEY
from bench.agents.turns import Ask, Timed
from bench.chains import Server, open_server
from bench.errors import NotInstalled
from bench.figures import differences, ratios, spread
from bench.plan import Plan
from bench.processes import Child, environment, open_child
from bench.report import Row, Target
from tests.standin.anthropic import standin_env
from tests.standin.openai import codex_env

__all__ = [
    "CLAUDE",
    "CODEX",
    "Agent",
    "Chains",
    "Measure",
    "check_installed",
    "measure_claude",
    "measure_codex",
    "open_chains",
    "rows_of",
]

Measure = Callable[[Plan, Path, Callable[[str], None]], Awaitable[list[Row]]]
"""What measures one part of the bench."""

MAX_FIRST_PIECE_MS = 10.0
"""Our first piece may come this much later."""

MAX_WORDS_RATIO = 1.2
"""An answer flat out may take this much longer."""

_WARM_UPS = 2
"""Turns that do not count: the first starts the program, the second is the first that finds it warm."""

_SETTLE_S = 0.1
"""Between two turns: a program that has just answered is still writing its transcript."""

_GRACE_S = 10.0
_US_PER_MS = 1000.0


@attrs.frozen
class Agent:
    """How one agent is set up.

    Attributes:
        name: in our server's config, and of the row.
        package: what has to be there.
        standin: the module of its model service.
        env: the variables of a program that asks the stand-in at a URL and has a home of its own.
        bare: returns how Python runs its yardstick, the workspace left out.
    """

    name: str
    package: str
    standin: str
    env: Callable[[str, str], dict[str, str]]
    bare: Callable[[], Sequence[str]]


def _bare_codex() -> Sequence[str]:
    spec = importlib.util.find_spec("codex_cli_bin")
    origin = "" if spec is None or spec.origin is None else spec.origin
    return ["-m", "bench.agents.bare_codex", str(Path(origin).parent / "bin" / "codex")]


CLAUDE = Agent(
    "claude",
    "claude_agent_sdk",
    "tests.standin.anthropic",
    standin_env,
    lambda: ["-m", "bench.agents.bare_claude"],
)
CODEX = Agent("codex", "codex_cli_bin", "tests.standin.openai", codex_env, _bare_codex)


@attrs.define(eq=False)
class Chains:
    """The two chains of one agent, warm."""

    plan: Plan
    bare: Child
    ours: Child
    server: Server

    async def pair(self, words: int, number: int) -> tuple[Timed, Timed]:
        """Do the same turn on both, ours first every other time. Raises BenchError where one broke."""
        return await self.pair_of(Ask(f"words {words}", words, self.plan.run_limit_s), number)

    async def pair_of(self, ask: Ask, number: int) -> tuple[Timed, Timed]:
        """Do that turn on both, ours first every other time. Raises BenchError if one broke."""
        if number % 2:
            ours = await self.turn(self.ours, ask)
            return await self.turn(self.bare, ask), ours
        return await self.turn(self.bare, ask), await self.turn(self.ours, ask)

    async def turn(self, chain: Child, ask: Ask) -> Timed:
        """Do one turn on one chain. Raises BenchError if it broke."""
        await trio.sleep(_SETTLE_S)
        await chain.say(orjson.dumps(attrs.asdict(ask)))
        return cattrs.structure(orjson.loads(await chain.line(ask.limit_s + _GRACE_S)), Timed)


async def measure_claude(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Return the rows of Claude Code.

    Raises:
        NotInstalled: there is none here.
        BenchError: a chain did not come up, or a turn broke.
    """
    return await _measure(CLAUDE, plan, folder, say)


async def measure_codex(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Return the rows of Codex; raises as `measure_claude`."""
    return await _measure(CODEX, plan, folder, say)


def check_installed(agent: Agent) -> None:
    """Raise NotInstalled if the agent is not there."""
    if importlib.util.find_spec(agent.package) is None:
        raise NotInstalled(f"the {agent.name} agent is not installed; `make install` brings it")


async def _measure(agent: Agent, plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
    check_installed(agent)
    async with open_chains(agent, plan, folder / agent.name) as chains:
        for number in range(_WARM_UPS):
            say(f"{agent.name}, warming up")
            await chains.pair(plan.turn_words, number)
        turns = []
        for number in range(plan.turn_pairs):
            say(f"{agent.name}, warm turn {number + 1} of {plan.turn_pairs}")
            turns.append(await chains.pair(plan.turn_words, number))
        answers = []
        for number in range(plan.pairs):
            say(f"{agent.name}, {plan.words:,} words, pair {number + 1} of {plan.pairs}")
            answers.append(await chains.pair(plan.words, number))
    return rows_of(agent.name, plan, turns, answers)


Pairs = Sequence[tuple[Timed, Timed]]
"""Runs of both chains, the yardstick's first."""


def rows_of(name: str, plan: Plan, turns: Pairs, answers: Pairs) -> list[Row]:
    """Return an agent's rows: how much later the first piece comes, how much longer many words take.

    Raises:
        BenchError: there are no pairs.
    """
    ours, bare = _ms(turns, lambda timed: timed.first_us)
    title = f"{name}: first piece of a warm turn"
    later = Target(MAX_FIRST_PIECE_MS, at_most=True, of="difference")
    rows = [
        Row(title, "ms", spread(ours), spread(bare), target=later, difference=differences(ours, bare)),
    ]
    longer = Target(MAX_WORDS_RATIO, at_most=True)
    whats: list[tuple[str, Callable[[Timed], int]]] = [
        ("last piece", lambda timed: timed.last_us),
        ("end", lambda timed: timed.end_us),
    ]
    for what, figure in whats:
        ours, bare = _ms(answers, figure)
        title = f"{name}: {what} of {plan.words:,} words"
        rows.append(Row(title, "ms", spread(ours), spread(bare), ratios(ours, bare), longer))
    return rows


def _ms(pairs: Pairs, figure: Callable[[Timed], int]) -> tuple[list[float], list[float]]:
    return [figure(ours) / _US_PER_MS for _, ours in pairs], [figure(bare) / _US_PER_MS for bare, _ in pairs]


@asynccontextmanager
async def open_chains(agent: Agent, plan: Plan, folder: Path) -> AsyncIterator[Chains]:
    """Run the stand-in and both chains, with their files in `folder`; all are ended with the block."""
    async with AsyncExitStack() as stack:
        homes = {}
        for name in ("bare", "ours"):
            homes[name] = folder / name / "home"
            homes[name].mkdir(parents=True)
            (folder / name / "workspace").mkdir()
        standin = await stack.enter_async_context(
            open_child(f"{agent.name} stand-in", ["-m", agent.standin, "--port", "0"], folder)
        )
        url = await standin.line()
        env = agent.env(url, str(homes["bare"]))
        yardstick = await stack.enter_async_context(
            open_child(
                f"bare {agent.name}",
                [*agent.bare(), str(folder / "bare" / "workspace")],
                folder / "bare",
                env=env,
            )
        )
        server, device = await stack.enter_async_context(
            _open_ours(agent, agent.env(url, str(homes["ours"])), folder / "ours")
        )
        for child in (yardstick, device):
            await child.line(plan.run_limit_s)
        yield Chains(plan, yardstick, device, server)


@asynccontextmanager
async def _open_ours(
    agent: Agent, env: Mapping[str, str], folder: Path
) -> AsyncIterator[tuple[Server, Child]]:
    async with open_server(folder / "data", folder, env=env) as server:
        words = ["-m", "bench.agents.device", str(server.port), agent.name]
        device: AbstractAsyncContextManager[Child] = open_child(
            "device", words, folder, env={**environment(), KEY: server.key}
        )
        async with device as child:
            yield server, child
