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
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import trio

from bridgehub.agents.base import AgentDriver, SelfStarter, TurnEnd
from bridgehub.agents.registry import AgentMissing
from bridgehub.masking import Masker
from bridgehub.outbox import Outbox
from bridgehub.protocol.errors import unwrap
from bridgehub.protocol.events import SteerLost, SteerRefused, SteerTaken, TurnBegan, TurnFailed, TurnStopped
from bridgehub.protocol.hub_spec import HubSpec, Setup
from bridgehub.protocol.messages import Prompt, Steer, WarmUp
from bridgehub.turns.between_turns import BetweenTurns
from bridgehub.turns.checkpoints import Checkpoints, undone_text
from bridgehub.turns.setups import Setups
from bridgehub.turns.sink import PermissionRequests, TurnSink
from bridgehub.turns.warming import Warming

__all__ = ["PromptsFull", "TurnRunner"]

_log = logging.getLogger("builderos.bridgehub")

GRACE_S = 1.2
"""How long an interrupted driver has before it is cancelled. With the waits below the whole stays under 1.7 s,
after which the server kills the hub."""

_PROGRAM_GONE = frozenset({"agent_exited", "agent_protocol", "timeout"})
"""Ends after which the agent's program is not there any more, whatever it was."""

KILL_S = 0.25
"""How long an interrupt or a failed turn waits for the kill of the agent's processes; the kill itself continues."""

LAST_WORD_S = 0.1
"""How long a cancelled driver may take to notice, and a steered message to have its outcome."""

CLOSE_S = 2.0
"""How long a driver that is put away may take; its processes die with the hub at the latest."""

PROMPTS_WAITING = 16
"""Prompts that may wait. A server sends one at a time."""

TURN_IDS_KEPT = 65536
"""Turn ids remembered to ignore repeats: a repeat is never older than the last few."""


class PromptsFull(Exception):
    """The server sent prompts without waiting for their ends."""


@attrs.define(eq=False)
class _Steering:
    """A steered message: what is known of it, and whether the server knows. Refused as long as not tried."""

    steer: Steer
    outcome: type[SteerTaken | SteerRefused | SteerLost] = SteerRefused
    reported: bool = False
    tried: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class _Turn:
    turn_id: str
    prompt: Prompt | None
    """None: the agent began it by itself."""
    sink: TurnSink
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    stopping: bool = False
    silent: bool = False
    watching: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    changed: trio.Event = attrs.field(factory=trio.Event)
    driven: trio.Event = attrs.field(factory=trio.Event)
    end: TurnEnd | None = None
    steered: dict[str, _Steering] = attrs.field(factory=dict)
    wanted: deque[_Steering] = attrs.field(factory=deque)
    steer_came: trio.Event = attrs.field(factory=trio.Event)
    steering: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    steering_over: trio.Event = attrs.field(factory=trio.Event)

    def stop(self) -> None:
        self.stopping = True
        self.changed.set()

    def finish(self, end: TurnEnd | None) -> None:
        self.end = end
        self.driven.set()
        self.changed.set()


@attrs.define(eq=False)
class TurnRunner:
    """Takes prompts and runs them. `kill` ends all processes below the hub (blocking, called on a thread)."""

    spec: HubSpec
    outbox: Outbox
    make_driver: Callable[[HubSpec], AgentDriver]
    kill: Callable[[], object]
    on_change: Callable[[], None]
    asking: PermissionRequests = attrs.field(init=False)
    checkpoints: Checkpoints = attrs.field(init=False)
    last_turn_id: str | None = None
    ended_at: float = 0.0
    _queue: trio.MemorySendChannel[Prompt | WarmUp] = attrs.field(init=False)
    _seen: dict[str, None] = attrs.field(factory=dict)
    _stop_early: set[str] = attrs.field(factory=set)
    _pending: int = 0
    _turn: _Turn | None = None
    _driver: AgentDriver | None = None
    _kill_over: trio.Event | None = None
    _ids: int = 0
    _masker: Masker = attrs.field(init=False)
    _setups: Setups = attrs.field(init=False)
    _between: BetweenTurns = attrs.field(init=False)
    _warming: Warming = attrs.field(init=False)
    _not_begun: set[str] = attrs.field(factory=set)

    def __attrs_post_init__(self) -> None:
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
        return tuple(self._turn.steered) if self._turn is not None else ()

    @property
    def can_steer(self) -> bool:
        """Whether the agent takes messages in mid-turn, as far as that is known."""
        driver = self._some_driver()
        return driver is not None and driver.can_steer

    def _some_driver(self) -> AgentDriver | None:
        if self._driver is None:
            with suppress(Exception):  # the first turn finds the same, and says so
                self._driver = self.make_driver(self.spec)  # cheap: it starts nothing yet
        return self._driver

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
        """Have the agent's program started, if no turn runs or waits to."""
        if not self.running:
            with suppress(trio.WouldBlock):  # then somebody has asked for it before
                self._queue.send_nowait(wanted)

    def configure_nowait(self, setup: Setup) -> None:
        """Take the session's settings as they are now."""
        self._setups.change_nowait(setup)

    def interrupt_nowait(self, turn_id: str) -> None:
        """Have that turn stopped; nothing where it does not run."""
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
        """Give the running turn one more message; nothing where that turn does not run or had it before."""
        turn = self._turn
        if turn is None or turn.turn_id != steer.turn_id or steer.message_id in turn.steered:
            return
        turn.steered[steer.message_id] = steering = _Steering(steer)
        turn.wanted.append(steering)
        turn.steer_came.set()

    async def run(self) -> None:
        """Run turns until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._setups.bring, lambda: self._driver)
            nursery.start_soon(self._setups.tell_newest)
            nursery.start_soon(self._between.stop_tasks, lambda: self._driver)
            while True:
                prompt = await self._between.next_prompt(self._driver)
                if isinstance(prompt, WarmUp):
                    await self._warm_up(prompt)
                    continue
                self._pending += prompt is None
                await self._run_turn(prompt, nursery)
                nursery.start_soon(self._setups.after_turn, self._driver)
                self._pending -= 1
                self.ended_at = trio.current_time()
                self.on_change()
                await self.checkpoints.after(nursery)

    async def _warm_up(self, wanted: WarmUp) -> None:
        """Have the driver start its program; one that could not is replaced, as if nobody had asked."""
        if self.running:
            await trio.lowlevel.checkpoint()
            return  # the message came meanwhile
        if self._kill_over is not None:
            await self._kill_over.wait()
        driver, setup = self._some_driver(), self._setups.begin_turn(wanted.setup)
        if driver is not None and not await self._warming.warm_up(driver, wanted.taken_before, setup):
            await self.aclose()

    async def aclose(self) -> None:
        """End the agent's process, within `CLOSE_S`."""
        driver, self._driver = self._driver, None
        if driver is not None:
            await _put_away(driver)

    def _background_changed(self) -> None:
        self.ended_at = trio.current_time()
        self.on_change()

    async def _begin_turn(self, prompt: Prompt | None) -> _Turn:
        if prompt is not None:
            self._not_begun.discard(prompt.turn_id)
            prompt = attrs.evolve(prompt, setup=self._setups.begin_turn(prompt.setup))
            if self._setups.take_revoked():
                await self.aclose()  # its program keeps rights for as long as it lives
                await self._between.lose_all()
        turn_id = self.new_id() if prompt is None else prompt.turn_id
        if prompt is None:
            await self.outbox.put(TurnBegan(turn_id))
        sink = TurnSink(
            self.asking,
            self.outbox,
            self.new_id,
            turn_id,
            self._keep_memory,
            self._setups.newest_nowait,
            self._masker,
            self._between.note,
        )
        sink.workspace = self.spec.workspace
        turn = self._turn = _Turn(turn_id, prompt, sink)
        await self._warming.begin_turn(sink)
        if turn_id in self._stop_early:
            self._stop_early.discard(turn_id)
            turn.stop()
        return turn

    async def _run_turn(self, prompt: Prompt | None, nursery: trio.Nursery) -> None:
        turn = await self._begin_turn(prompt)
        sink = turn.sink
        if self._kill_over is not None:
            await self._kill_over.wait()  # or it would take the fresh agent for the old one
        driver = None if turn.stopping else self._open_driver(turn)
        if driver is not None:
            sink.saved = self.checkpoints.begin(turn.turn_id, nursery, by_itself=turn.prompt is None)
            await self.checkpoints.hold_prompt()
            nursery.start_soon(self._drive, turn, driver)
            nursery.start_soon(self._steer, turn, driver)
            nursery.start_soon(self._watch, turn)
            await turn.changed.wait()
            if not turn.driven.is_set():
                await self._stop(turn, driver, nursery)
            turn.watching.cancel(reason="the turn ended")
            await self._end_steering(turn)
            if turn.end is None or turn.silent or _is_exit(turn.end):
                self._driver = None
                nursery.start_soon(_put_away, driver)
            if turn.silent or (isinstance(turn.end, TurnFailed) and turn.end.code in _PROGRAM_GONE):
                await self._kill_below(nursery)  # the commands of its tools would continue
                await self._between.lose_all()
        if self._driver is None:
            await self._between.lose_all()
        elif turn.stopping:
            await self._between.stop_tasks_of(self._driver, turn.turn_id)
        await sink.flush_plan()
        sink.closed = True
        self._turn = None
        self.asking.forget()
        for steering in turn.steered.values():
            if not steering.reported:
                steering.reported = True
                await self.outbox.put(steering.outcome(turn.turn_id, steering.steer.message_id))
        if turn.silent and not turn.stopping:
            await self.outbox.put(self._timed_out(turn))
        elif turn.stopping or turn.end is None:
            await self.outbox.put(TurnStopped(turn.turn_id))
        else:
            await self.outbox.put(self._masker.event(turn.end))

    def _keep_memory(self, data: dict[str, Any]) -> None:
        self.spec = attrs.evolve(self.spec, agent_memory=data)  # for this hub's next driver

    def _open_driver(self, turn: _Turn) -> AgentDriver | None:
        if self._driver is None:
            try:
                self._driver = self.make_driver(self.spec)
            except AgentMissing as exc:
                turn.finish(TurnFailed(turn.turn_id, "not_installed", str(exc), retryable=False))
            except Exception as exc:
                _log.exception("no driver for agent %s", self.spec.agent)
                turn.finish(self._exited(turn, exc))
        return self._driver

    async def _drive(self, turn: _Turn, driver: AgentDriver) -> None:
        end: TurnEnd | None = None
        try:
            with turn.scope:
                if turn.prompt is not None:
                    end = await driver.run_turn(self._told_undone(turn.prompt), turn.sink)
                elif isinstance(driver, SelfStarter):
                    end = await driver.run_own_turn(turn.turn_id, turn.sink)
        except* Exception as group:
            _log.exception("turn %s: the driver failed", turn.turn_id)
            end = self._exited(turn, group)
        finally:
            turn.finish(end)

    def _told_undone(self, prompt: Prompt) -> Prompt:
        """Return the prompt with what the agent should know of its files; a command takes no words along."""
        if not prompt.undone or prompt.content.startswith("/") or self.spec.kind == "echo":
            return prompt
        return attrs.evolve(prompt, content=f"{undone_text(prompt)}\n\n{prompt.content}")

    async def _watch(self, turn: _Turn) -> None:
        """End the turn of an agent that hangs."""
        if self.spec.silence_s is None:
            return
        with turn.watching:
            await turn.sink.silence.lasted(self.spec.silence_s)
            turn.silent = not turn.changed.is_set()
            turn.changed.set()

    async def _steer(self, turn: _Turn, driver: AgentDriver) -> None:
        """Bring steered messages to the driver, in order, until the turn ends."""
        try:
            with turn.steering:
                while True:
                    await turn.steer_came.wait()
                    turn.steer_came = trio.Event()
                    while turn.wanted:
                        await self._steer_one(turn, driver, turn.wanted.popleft())
        finally:
            turn.steering_over.set()

    async def _steer_one(self, turn: _Turn, driver: AgentDriver, steering: _Steering) -> None:
        if driver.can_steer and not turn.stopping and not turn.driven.is_set():
            steering.outcome = SteerLost  # where it is cancelled or fails, nobody knows
            try:
                taken = await driver.steer(steering.steer)
            except Exception:
                _log.exception("turn %s: a message could not be steered", turn.turn_id)
                return
            finally:
                steering.tried.set()
            steering.outcome = SteerTaken if taken else SteerRefused
        if not steering.reported:
            # Marked behind the put: one that is cancelled left no trace, and the turn's end puts it.
            await self.outbox.put(steering.outcome(turn.turn_id, steering.steer.message_id))
            steering.reported = True

    async def _end_steering(self, turn: _Turn) -> None:
        """Have no message tried any more; what was tried has a moment to tell its outcome."""
        turn.wanted.clear()
        if turn.driven.is_set():
            with trio.move_on_after(LAST_WORD_S):  # noqa: ASYNC912 - there may be none to wait for
                for steering in turn.steered.values():
                    if steering.outcome is SteerLost:
                        await steering.tried.wait()
        turn.steering.cancel(reason="the turn ended")
        with trio.move_on_after(LAST_WORD_S):
            await turn.steering_over.wait()

    async def _stop(self, turn: _Turn, driver: AgentDriver, nursery: trio.Nursery) -> None:
        with trio.move_on_after(GRACE_S):
            try:
                await driver.interrupt()
            except Exception:
                _log.exception("turn %s: the driver could not be asked to stop", turn.turn_id)
            await turn.driven.wait()
        if turn.driven.is_set():
            return
        turn.scope.cancel(reason="interrupted by force")
        await self._kill_below(nursery)
        with trio.move_on_after(LAST_WORD_S):
            await turn.driven.wait()
        turn.end = None  # whatever it says now, the driver is not trusted with another turn

    async def _kill_below(self, nursery: trio.Nursery) -> None:
        """Kill every process below the hub; wait for that a moment, the next turn waits for the rest."""
        self._kill_over = trio.Event()
        nursery.start_soon(self._kill_all, self._kill_over)
        with trio.move_on_after(KILL_S):
            await self._kill_over.wait()

    async def _kill_all(self, over: trio.Event) -> None:
        try:
            await trio.to_thread.run_sync(self.kill, abandon_on_cancel=True)
        finally:
            over.set()

    def _timed_out(self, turn: _Turn) -> TurnFailed:
        content = f"agent {self.spec.agent!r} said nothing for {self.spec.silence_s:g} s and was stopped"
        return TurnFailed(turn.turn_id, "timeout", content, retryable=True)

    def _exited(self, turn: _Turn, error: BaseException) -> TurnFailed:
        content = f"agent {self.spec.agent!r} failed: {type(unwrap(error)).__name__}"
        return TurnFailed(turn.turn_id, "agent_exited", content, retryable=True)


def _is_exit(end: TurnEnd) -> bool:
    return isinstance(end, TurnFailed) and end.code == "agent_exited"


async def _put_away(driver: AgentDriver) -> None:
    # Shielded: the hub may be ending. When CLOSE_S is over the driver's own farewell is lost; its processes
    # are killed with the hub's tree.
    with trio.move_on_after(CLOSE_S, shield=True):  # noqa: ASYNC912 - a driver that closes at once needs no limit
        try:
            await driver.aclose()
        except* Exception:
            _log.exception("a driver did not close cleanly")
