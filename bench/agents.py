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

from bench.chains import open_server
from bench.errors import NotInstalled
from bench.figures import differences, ratios, spread
from bench.plan import Plan
from bench.processes import Child, environment, open_child
from bench.report import Row, Target
from bench.warm import Ask, Timed
from bench.warm_device import KEY
from tests.standin.anthropic import standin_env
from tests.standin.openai import codex_env

__all__ = ["Chains", "Measure", "measure_claude", "measure_codex", "rows_of"]

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
class _Agent:
    """How one agent is set up.

    Attributes:
        name: in our server's config, and of the row.
        package: what has to be there.
        standin: the module of its model service.
    """

    name: str
    package: str
    standin: str
    env: Callable[[str, str], dict[str, str]]


_CLAUDE = _Agent("claude", "claude_agent_sdk", "tests.standin.anthropic", standin_env)
_CODEX = _Agent("codex", "codex_cli_bin", "tests.standin.openai", codex_env)


@attrs.define(eq=False)
class Chains:
    """The two chains of one agent, warm."""

    plan: Plan
    bare: Child
    ours: Child

    async def pair(self, words: int, number: int) -> tuple[Timed, Timed]:
        """Do the same turn on both, ours first every other time. Raises BenchError where one broke."""
        ask = Ask(f"words {words}", words, self.plan.run_limit_s)
        if number % 2:
            ours = await self._turn(self.ours, ask)
            return await self._turn(self.bare, ask), ours
        return await self._turn(self.bare, ask), await self._turn(self.ours, ask)

    async def _turn(self, chain: Child, ask: Ask) -> Timed:
        await trio.sleep(_SETTLE_S)
        await chain.say(orjson.dumps(attrs.asdict(ask)))
        return cattrs.structure(orjson.loads(await chain.line(ask.limit_s + _GRACE_S)), Timed)


async def measure_claude(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Return the rows of Claude Code.

    Raises:
        NotInstalled: there is none here.
        BenchError: a chain did not come up, or a turn broke.
    """
    return await _measure(_CLAUDE, ["-m", "bench.bare_claude"], plan, folder, say)


async def measure_codex(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Return the rows of Codex; raises as `measure_claude`."""
    spec = importlib.util.find_spec(_CODEX.package)
    origin = "" if spec is None or spec.origin is None else spec.origin
    program = Path(origin).parent / "bin" / "codex"
    return await _measure(_CODEX, ["-m", "bench.bare_codex", str(program)], plan, folder, say)


async def _measure(
    agent: _Agent, bare: Sequence[str], plan: Plan, folder: Path, say: Callable[[str], None]
) -> list[Row]:
    if importlib.util.find_spec(agent.package) is None:
        raise NotInstalled(f"the {agent.name} agent is not installed; `make install` brings it")
    async with _open_chains(agent, bare, plan, folder / agent.name) as chains:
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
async def _open_chains(agent: _Agent, bare: Sequence[str], plan: Plan, folder: Path) -> AsyncIterator[Chains]:
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
                f"bare {agent.name}", [*bare, str(folder / "bare" / "workspace")], folder / "bare", env=env
            )
        )
        device = await stack.enter_async_context(
            _open_ours(agent, agent.env(url, str(homes["ours"])), folder / "ours")
        )
        for child in (yardstick, device):
            await child.line(plan.run_limit_s)
        yield Chains(plan, yardstick, device)


@asynccontextmanager
async def _open_ours(agent: _Agent, env: Mapping[str, str], folder: Path) -> AsyncIterator[Child]:
    async with open_server(folder / "data", folder, env=env) as server:
        words = ["-m", "bench.warm_device", str(server.port), agent.name]
        device: AbstractAsyncContextManager[Child] = open_child(
            "device", words, folder, env={**environment(), KEY: server.key}
        )
        async with device as child:
            yield child
