"""A hub's turns: one after the other, each driven by the agent's driver, each with exactly one end.

The life of a turn here:

    prompt → driver runs ─┬─ returns ──────────────────────────────▶ its TurnDone / TurnFailed
                          ├─ is silent for `silence_s` ────────────▶ stopped as below, and TurnFailed timeout
                          ├─ raises ───────────────────────────────▶ TurnFailed agent_exited, driver replaced,
                          │                                          all processes below the hub killed
                          └─ interrupt: asked politely ─┬─ returns ▶ TurnStopped
                                                        └─ GRACE_S over: cancelled, its processes killed,
                                                           driver replaced ▶ TurnStopped

A driver that does not even end when it is cancelled is left behind: its sink is closed, so that nothing it
says later reaches anybody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import attrs
import trio

from bridgehub.agents.base import AgentDriver, BeganAtDesk, Joinable, SelfStarter, TurnEnd
from bridgehub.agents.registry import AgentMissing
from bridgehub.masking import Masker
from bridgehub.outbox import Outbox
from bridgehub.protocol.events import TurnBegan, TurnFailed, TurnStopped
from bridgehub.protocol.hub_spec import HubSpec, Setup
from bridgehub.protocol.messages import Prompt, Steer, WarmUp
from bridgehub.turns.agent import HubAgent
from bridgehub.turns.between_turns import BetweenTurns
from bridgehub.turns.checkpoints import Checkpoints, with_undone
from bridgehub.turns.setups import Setups
from bridgehub.turns.sink import PermissionRequests, TurnSink
from bridgehub.turns.steering import TurnSteering
from bridgehub.turns.turn import RunningTurn
from bridgehub.turns.warming import Warming

__all__ = ["PromptsFull", "TurnRunner"]

_log = logging.getLogger("builderos.bridgehub")

PROMPTS_WAITING = 16
"""Prompts that may wait. A server sends one at a time."""

TURN_IDS_KEPT = 65536
"""Turn ids remembered to ignore repeats: a repeat is never older than the last few."""


class PromptsFull(Exception):
    """The server sent prompts without waiting for their ends."""


@attrs.define(eq=False)
class TurnRunner:
    """Takes prompts and runs them. `kill` ends all processes below the hub (blocking, called on a thread)."""

    spec: HubSpec
    outbox: Outbox
    make_driver: Callable[[HubSpec], AgentDriver]
    kill: Callable[[], object]
    on_change: Callable[[], None]
    agent: HubAgent = attrs.field(init=False)
    asking: PermissionRequests = attrs.field(init=False)
    checkpoints: Checkpoints = attrs.field(init=False)
    last_turn_id: str | None = None
    ended_at: float = 0.0
    _queue: trio.MemorySendChannel[Prompt | WarmUp] = attrs.field(init=False)
    _seen: dict[str, None] = attrs.field(factory=dict)
    _stop_early: set[str] = attrs.field(factory=set)
    _pending: int = 0
    _turn: RunningTurn | None = None
    _ids: int = 0
    _masker: Masker = attrs.field(init=False)
    _setups: Setups = attrs.field(init=False)
    _between: BetweenTurns = attrs.field(init=False)
    _warming: Warming = attrs.field(init=False)
    _not_begun: set[str] = attrs.field(factory=set)

    def __attrs_post_init__(self) -> None:
        self.agent = self._make_agent()
        self._queue, prompts = trio.open_memory_channel[Prompt | WarmUp](PROMPTS_WAITING)
        self.asking = PermissionRequests(set(self.spec.grants), set(self.spec.declined))
        self._masker = Masker.of_spec(self.spec)
        self.checkpoints = Checkpoints(self.spec, self.outbox, self.new_id)
        self._setups = Setups(self.outbox, self.asking, self._masker, Setup.of_spec(self.spec))
        self._between = BetweenTurns(self.outbox, prompts, self._setups.tell, self._background_changed)
        self._warming = Warming(self._between.tell_and_note, self.new_id)

    @property
    def running(self) -> bool:
        """Whether a turn runs or waits to."""
        return self._pending > 0

    @property
    def is_busy(self) -> bool:
        """Whether a turn runs or waits to, or anything runs in the background."""
        return self.running or bool(self._between.background)

    @property
    def steered(self) -> tuple[str, ...]:
        """The messages that were steered into the running turn."""
        return tuple(self._turn.steering.messages) if self._turn is not None else ()

    @property
    def can_steer(self) -> bool:
        """Whether the agent takes messages in mid-turn, as far as that is known."""
        driver = self.agent.try_open()
        return driver is not None and driver.can_steer

    def new_id(self) -> str:
        """Return an id, unique in the session because hub ids are."""
        self._ids += 1
        return f"{self.spec.hub_id}-{self._ids}"

    def prompt_nowait(self, prompt: Prompt) -> None:
        """Take a prompt, once for each turn id. Raises PromptsFull."""
        if prompt.turn_id in self._seen:
            return
        try:
            self._queue.send_nowait(prompt)
        except trio.WouldBlock:
            raise PromptsFull from None
        self._seen[prompt.turn_id] = None
        if len(self._seen) > TURN_IDS_KEPT:
            del self._seen[next(iter(self._seen))]
        self.last_turn_id = prompt.turn_id
        self._not_begun.add(prompt.turn_id)
        self._pending += 1
        self.on_change()

    def warm_up_nowait(self, wanted: WarmUp) -> None:
        """Have the agent's program started, if no turn runs or waits to; kept, if a terminal is about to join it."""
        if wanted.joins:
            self._expect_terminal()
        if not self.running:
            with suppress(trio.WouldBlock):  # then somebody has asked for it before
                self._queue.send_nowait(wanted)

    def configure_nowait(self, setup: Setup) -> None:
        """Take the session's settings as they are now."""
        self._setups.change_nowait(setup)

    def interrupt_nowait(self, turn_id: str) -> None:
        """Have that turn stopped; nothing if it does not run."""
        turn = self._turn
        if turn is not None and turn.turn_id == turn_id:
            turn.stop()
        elif turn_id in self._not_begun:
            self._stop_early.add(turn_id)
            self._warming.stop()
            if turn is not None and turn.prompt is None:
                turn.stop()  # what the agent does by itself belongs to the message that waits for it

    def stop_task_nowait(self, task_id: str) -> None:
        """Have a task in the background ended; nothing if it does not run."""
        self._between.stop_task_nowait(task_id)

    def steer_nowait(self, steer: Steer) -> None:
        """Give the running turn one more message; nothing if that turn does not run or had it before."""
        turn = self._turn
        if turn is not None and turn.turn_id == steer.turn_id:
            turn.steering.take_nowait(steer)

    async def run(self) -> None:
        """Run turns until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._setups.bring, lambda: self.agent.driver)
            nursery.start_soon(self._setups.tell_newest)
            nursery.start_soon(self._between.stop_tasks, lambda: self.agent.driver)
            while True:
                prompt = await self._between.next_prompt(self.agent.driver)
                if isinstance(prompt, WarmUp):
                    if not self.running:  # else its checkpoint does it
                        nursery.start_soon(self.checkpoints.look)
                    await self._warm_up(prompt)
                    continue
                self._pending += not isinstance(prompt, Prompt)
                await self._run_turn(prompt, nursery)
                nursery.start_soon(self._setups.after_turn, self.agent.driver)
                self._pending -= 1
                self.ended_at = trio.current_time()
                self.on_change()
                await self.checkpoints.after(nursery)

    async def _warm_up(self, wanted: WarmUp) -> None:
        """Have the driver start its program; one that could not is replaced, as if nobody had asked."""
        if self.running:
            await trio.lowlevel.checkpoint()
            return  # the message came meanwhile
        await self.agent.killed()
        driver, setup = self.agent.try_open(), self._setups.begin_turn(wanted.setup)
        if wanted.joins:
            self._expect_terminal()
        if driver is not None and not await self._warming.warm_up(driver, wanted.taken_before, setup):
            await self.aclose()

    def _expect_terminal(self) -> None:
        driver = self.agent.driver
        if driver is not None and isinstance(driver, Joinable):
            driver.expect_terminal()

    async def aclose(self) -> None:
        """End the agent's process, within a moment."""
        await self.agent.aclose()

    def _background_changed(self) -> None:
        self.ended_at = trio.current_time()
        self.on_change()

    async def _begin_turn(self, prompt: Prompt | BeganAtDesk | None) -> RunningTurn:
        if isinstance(prompt, Prompt):
            self._not_begun.discard(prompt.turn_id)
            prompt = attrs.evolve(prompt, setup=self._setups.begin_turn(prompt.setup))
            if self._setups.take_revoked():
                await self.aclose()  # its program keeps rights for as long as it lives
                await self._between.lose_all()
        turn_id = self.new_id() if prompt is None else prompt.turn_id
        if isinstance(prompt, BeganAtDesk):
            await self.outbox.put(TurnBegan(turn_id, is_desk=True, said=prompt.said))
        elif prompt is None:
            await self.outbox.put(TurnBegan(turn_id))
        sink = TurnSink(
            self.asking,
            self.outbox,
            self.new_id,
            turn_id,
            self.agent.keep_memory,
            self._setups.newest_nowait,
            self._masker,
            self._between.note,
        )
        sink.workspace = self.spec.workspace
        turn = self._turn = RunningTurn(
            turn_id, prompt if isinstance(prompt, Prompt) else None, sink, TurnSteering(turn_id, self.outbox)
        )
        await self._warming.begin_turn(sink)
        if turn_id in self._stop_early:
            self._stop_early.discard(turn_id)
            turn.stop()
        return turn

    async def _run_turn(self, prompt: Prompt | BeganAtDesk | None, nursery: trio.Nursery) -> None:
        turn = await self._begin_turn(prompt)
        sink = turn.sink
        await self.agent.killed()
        driver = None if turn.stopping else self._open_driver(turn)
        if driver is not None:
            self.checkpoints.begin(turn.turn_id, nursery, by_itself=turn.prompt is None)
            sink.wait_saved = self.checkpoints.wait_saved
            nursery.start_soon(self._drive, turn, driver)
            nursery.start_soon(turn.steering.run, driver, turn.may_steer)
            nursery.start_soon(turn.watch_silence, self.spec.silence_s)
            await turn.changed.wait()
            if not turn.driven.is_set():
                await turn.stop_driver(driver, partial(self.agent.kill_processes, nursery))
            turn.watching.cancel(reason="the turn ended")
            await turn.steering.end(driven=turn.driven.is_set())
            if turn.spoils_driver:
                self.agent.replace_soon(nursery)
            if turn.ended_program:
                await self.agent.kill_processes(nursery)  # the commands of its tools would continue
                await self._between.lose_all()
        if self.agent.driver is None:
            await self._between.lose_all()
        elif turn.stopping:
            await self._between.stop_tasks_of(self.agent.driver, turn.turn_id)
        await sink.flush_plan()
        sink.closed = True
        self._turn = None
        self.asking.forget()
        await turn.steering.report_rest()
        if turn.silent and not turn.stopping:
            await self.outbox.put(turn.timed_out(self.spec.agent, self.spec.silence_s))
        elif turn.stopping or turn.end is None:
            await self.outbox.put(TurnStopped(turn.turn_id))
        else:
            await self.outbox.put(self._masker.event(turn.end))

    def _make_agent(self) -> HubAgent:
        return HubAgent(self.spec, self.make_driver, self.kill)

    def _open_driver(self, turn: RunningTurn) -> AgentDriver | None:
        try:
            return self.agent.open()
        except AgentMissing as exc:
            turn.finish(TurnFailed(turn.turn_id, "not_installed", str(exc), retryable=False))
        except Exception as exc:
            _log.exception("no driver for agent %s", self.spec.agent)
            turn.fail(self.spec.agent, exc)
        return None

    async def _drive(self, turn: RunningTurn, driver: AgentDriver) -> None:
        end: TurnEnd | None = None
        try:
            with turn.scope:
                if turn.prompt is not None:
                    end = await driver.run_turn(with_undone(turn.prompt, self.spec.kind), turn.sink)
                elif isinstance(driver, SelfStarter):
                    end = await driver.run_own_turn(turn.turn_id, turn.sink)
        except* Exception as group:
            _log.exception("turn %s: the driver failed", turn.turn_id)
            turn.fail(self.spec.agent, group)
        finally:
            if not turn.driven.is_set():
                turn.finish(end)
