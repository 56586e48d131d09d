"""Delegation: an agent hands work to another one, which runs as a child in the same hub.

A driver keeps one `Delegation` for its life and opens it for each turn. Whatever brings the agent's call of
the `delegate` tool (an MCP server in the process or beside it) calls `new_task` and gives its result back.

The life of a task:

    new_task ─▶ task_started ─▶ the delegate's driver runs one turn ─┬─ its end ───▶ task_finished, result back
                                                                     └─ cancelled ─▶ task_finished `cancelled`
                                then, before the turn can end: its driver closed, all its processes killed

It is cancelled with the call and with the turn. Bounds: how many tasks a turn may begin in all
(`HubSpec.max_tasks`) and how deep they may nest (`max_task_depth`). A delegate is offered the agents that its
parent was offered, but itself; so no agent ever gets work back that it handed out.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import trio

from bridgehub.agents.base import AgentDriver, Sink, TurnEnd
from bridgehub.agents.registry import AgentMissing, make_driver
from bridgehub.agents.rights import changes_nothing
from bridgehub.delegation.sink import Budget, TaskSink
from bridgehub.protocol.errors import unwrap
from bridgehub.protocol.events import TaskBegan, TaskEnded, TurnDone, TurnFailed
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import Prompt
from bridgehub.protocol.process_tree import TASK_MARKER, TreeKillFailed, kill_tree

__all__ = ["Delegation", "TaskResult"]

_log = logging.getLogger("builderos.bridgehub")

TASK_CHARS = 256 * 1024
"""Characters of a task and its context together: those of a message."""

TITLE_CHARS = 120
"""How much of a task's first line is its title."""

EVENT_RESULT_CHARS = 64 * 1024
"""Characters of a result in its event; a frame holds 512 KiB. The agent that asked gets all of it."""

LAST_WORD_S = 1.0
"""How long the events of a task's end may take: what is lost is their place before the turn's end."""

GRACE_S = 0.7
"""How long a delegate's driver has to close before its processes are killed: an interrupt takes 2 s in all."""

PUT_AWAY_S = 12.0
"""How long a delegate's end may take: its processes may be in uninterruptible sleep."""

_READING = {"codex": "read-only"}
"""The mode in which a kind of agent changes nothing, if it is not `plan`: that of Codex ends with a plan to approve."""

RELAYS = frozenset({"bridgehub/1.0", "acp"})
"""Kinds of agents that know no permission mode, or of which nobody knows before they run whether they have one."""

_CONVERSATIONS = uuid.UUID("3f4b1b0e-6c1e-4a58-8a3f-5b1d6f0c9f52")
"""Namespace of the delegates' own conversations; must never change."""


@attrs.frozen
class TaskResult:
    """The report to the agent that handed out the work."""

    text: str
    is_error: bool = False


@attrs.define(eq=False)
class _Turn:
    nursery: trio.Nursery
    turn_id: str
    sink: Sink
    parent_task_id: str | None
    budget: Budget


@attrs.define(eq=False)
class _Work:
    """One task."""

    spec: HubSpec
    prompt: Prompt
    sink: TaskSink
    began: TaskBegan
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    end: TurnEnd | None = None
    done: trio.Event = attrs.field(factory=trio.Event)

    @property
    def result(self) -> TaskResult:
        agent, answer = self.spec.agent, self.sink.answer
        if self.sink.answer_cut:
            answer += "\n[The rest of the answer was too long and is left out.]"
        match self.end:
            case TurnDone():
                return TaskResult(answer)
            case TurnFailed():
                said = f"\n\nIt had said:\n{answer}" if answer else ""
                return TaskResult(f"{agent} failed ({self.end.code}): {self.end.content}{said}", True)
            case _:
                return TaskResult(f"{agent} was stopped before it had an answer.", True)

    def ended(self) -> TaskEnded:
        text = self.result.text
        if len(text) > EVENT_RESULT_CHARS:
            text = text[:EVENT_RESULT_CHARS] + "\n…"
        match self.end:
            case TurnDone():
                return TaskEnded(self.prompt.turn_id, self.began.task_id, "succeeded", text)
            case TurnFailed():
                return TaskEnded(self.prompt.turn_id, self.began.task_id, "failed", text)
            case _:
                return TaskEnded(self.prompt.turn_id, self.began.task_id, "cancelled")


@attrs.define(eq=False)
class Delegation:
    """What one agent may hand to others. One turn at a time.

    `mode_now` returns the agent's permission mode at this moment; None: it is that of `spec` for good.
    """

    spec: HubSpec
    make_driver: Callable[[HubSpec], AgentDriver] = make_driver
    mode_now: Callable[[], str | None] | None = None
    _turn: _Turn | None = None

    @property
    def offered(self) -> tuple[str, ...]:
        """The agents that work may be handed to; empty if delegation is off.

        A relay knows no mode in which it changes nothing, so who may not write is not offered one.
        """
        spec, left_out = self.spec, RELAYS if self._reads_only else frozenset()
        if spec.max_task_depth <= 0 or spec.max_tasks <= 0:
            return ()
        return tuple(sorted(name for name, other in spec.delegates.items() if other.kind not in left_out))

    @property
    def _reads_only(self) -> bool:
        mode = self.spec.permission_mode if self.mode_now is None else self.mode_now()
        return changes_nothing(self.spec.kind, self.spec.options, mode)

    @asynccontextmanager
    async def open_turn(self, turn_id: str, sink: Sink) -> AsyncIterator[None]:
        """Take tasks while inside the block; at its end those that run are cancelled and waited for.

        Raises:
            ExceptionGroup: what the block raised.
        """
        if isinstance(sink, TaskSink):
            parent_task_id, budget = sink.task_id, sink.budget
        else:
            parent_task_id, budget = None, Budget(self.spec.max_tasks, self.spec.socket)
        async with trio.open_nursery() as nursery:
            self._turn = _Turn(nursery, turn_id, sink, parent_task_id, budget)
            try:
                yield
            finally:
                self._turn = None
                nursery.cancel_scope.cancel(reason="the turn is over")

    async def new_task(self, agent: str, task: str, context: str = "") -> TaskResult:
        """Hand `task` to `agent` and wait for its answer. May be called from any Trio task, many at a time.

        Cancelled, it cancels the task. What cannot be done stands in the result, for the agent to read.

        Args:
            agent: one of `offered`.
            task: what to do.
            context: what the delegate has to know; it sees nothing of the session.
        """
        turn = self._turn
        refusal = self._refusal(agent, task, context)
        if turn is None or refusal is not None:
            await trio.lowlevel.checkpoint()
            return TaskResult(refusal or "Work can be handed out in a turn only.", True)
        work = self._plan(turn, agent, task, context)
        turn.nursery.start_soon(self._run, turn, work)
        try:
            await work.done.wait()
        finally:
            work.scope.cancel(reason="the call was given up")
        return work.result

    def _refusal(self, agent: str, task: str, context: str) -> str | None:
        turn, offered = self._turn, self.offered
        if agent not in offered:
            known = ", ".join(offered) or "none"
            return f"There is no agent {agent[:TITLE_CHARS]!r} to hand work to; there are: {known}."
        if not task.strip():
            return "The task is empty."
        if len(task) + len(context) > TASK_CHARS:
            return f"Task and context are over {TASK_CHARS} characters together; put them in a file."
        if turn is not None and turn.budget.taken >= turn.budget.limit:
            return f"This turn has begun {turn.budget.limit} tasks, which is as many as it may (max_tasks)."
        return None

    def _plan(self, turn: _Turn, agent: str, task: str, context: str) -> _Work:
        turn.budget.taken += 1
        task_id = turn.sink.new_id()
        spec = self._delegate_spec(agent, task_id, f"{turn.budget.socket}.{turn.budget.taken}")
        content = f"{task}\n\nContext:\n{context}" if context.strip() else task
        title = task.strip().partition("\n")[0][:TITLE_CHARS]
        return _Work(
            spec,
            Prompt(turn.turn_id, task_id, content, 0),
            TaskSink(turn.sink, turn.turn_id, task_id, agent, turn.budget),
            TaskBegan(turn.turn_id, task_id, title, agent, turn.parent_task_id),
        )

    def _delegate_spec(self, agent: str, task_id: str, socket: str) -> HubSpec:
        """Return the spec of a delegate: its own table, its own conversation, no memory, no model of ours.

        Of the session's settings only `plan` is passed to it: who may not write may not have it done either.
        """
        own, delegate = self.spec, self.spec.delegates[agent]
        return attrs.evolve(
            own,
            agent=agent,
            kind=delegate.kind,
            options=delegate.options,
            env={**delegate.env, TASK_MARKER: task_id},
            own_env=delegate.own_env,
            socket=socket,
            agent_session_id=str(uuid.uuid5(_CONVERSATIONS, task_id)),
            model=None,
            permission_mode=_READING.get(delegate.kind, "plan") if self._reads_only else None,
            agent_memory=None,
            grants=(),
            delegates={name: other for name, other in own.delegates.items() if name != agent},
            max_task_depth=own.max_task_depth - 1,
        )

    async def _run(self, turn: _Turn, work: _Work) -> None:
        driver: AgentDriver | None = None
        try:
            with work.scope:
                await turn.sink.emit(work.began)
                driver = self._open_driver(work)
                if driver is not None:
                    work.end = await _drive(driver, work)
        finally:
            # When it is over, the turn's end is the task's end.
            with trio.move_on_after(LAST_WORD_S, shield=True):
                await work.sink.close()
                await turn.sink.emit(work.ended())
            work.done.set()
            if driver is not None:
                # When it is over, what is left of the delegate dies with the hub.
                with trio.move_on_after(PUT_AWAY_S, shield=True):
                    await _put_away(driver, work.began.task_id)

    def _open_driver(self, work: _Work) -> AgentDriver | None:
        try:
            return self.make_driver(work.spec)
        except AgentMissing as exc:
            work.end = TurnFailed(work.prompt.turn_id, "not_installed", str(exc), retryable=False)
        except Exception as exc:
            _log.exception("no driver for agent %s", work.spec.agent)
            work.end = _exited(work, exc)
        return None


async def _drive(driver: AgentDriver, work: _Work) -> TurnEnd:
    end: TurnEnd | None = None
    try:
        end = await driver.run_turn(work.prompt, work.sink)
    except* Exception as group:
        _log.exception("task %s: the driver failed", work.began.task_id)
        end = _exited(work, group)
    assert end is not None
    return end


def _exited(work: _Work, error: BaseException) -> TurnFailed:
    content = f"agent {work.spec.agent!r} failed: {type(unwrap(error)).__name__}"
    return TurnFailed(work.prompt.turn_id, "agent_exited", content, retryable=True)


async def _put_away(driver: AgentDriver, task_id: str) -> None:
    """Close a delegate's driver and leave no process of it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_kill_late, task_id)
        try:
            await driver.aclose()
        except* Exception:
            _log.exception("task %s: the driver did not close cleanly", task_id)
        nursery.cancel_scope.cancel(reason="it has closed")
    await trio.to_thread.run_sync(_kill, task_id, abandon_on_cancel=True)


async def _kill_late(task_id: str) -> None:
    await trio.sleep(GRACE_S)
    await trio.to_thread.run_sync(_kill, task_id, abandon_on_cancel=True)


def _kill(task_id: str) -> None:
    try:
        kill_tree(task_id, variable=TASK_MARKER)
    except TreeKillFailed as exc:
        _log.warning("%s", exc)
