"""Agents that Codex starts by itself: each of their turns is a task of ours. No I/O.

Codex runs such an agent in a thread of its own. The thread that asked for it reports that by an item
`collabAgentToolCall` `spawnAgent`, or by the newer `subAgentActivity` `started`. Then Codex reports the agent's turn like
any other; `rootTurnId` names the turn that the person began.

    named by an item ─▶ its turn starts: task_started ─▶ its items: progress, tools ─▶ its turn ends: task_finished

An agent that gets more work later has another turn, which is another task. Its text is progress and the task's result.
Its tool calls are below the call that started it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import attrs

from bridgehub.agents.codex.translate.events import CodexTranslator
from bridgehub.agents.codex.translate.items import CodexToolCall
from bridgehub.agents.json_rpc.messages import Fields, Notification
from bridgehub.agents.text import clean_text, cut_text
from bridgehub.protocol.events import (
    HubEvent,
    Noticed,
    TaskBegan,
    TaskEnded,
    TaskProgressed,
    ToolBegan,
    ToolEnded,
)

__all__ = ["AgentTurn", "SubAgents"]

TITLE_CHARS = 200
"""Code points of a title, from the first line of the work. A client shows one line."""

MAX_KNOWN = 256
"""Newest agents that are remembered by name. Codex itself runs only a few at once."""

_KIND = "agent"
"""The agent's type that a client shows. Codex gives agents pet names, which do not say what they do."""

_UNNAMED = "A sub-agent"
_ITEMS = frozenset({"item/started", "item/completed"})

_SPEECH = frozenset({"userMessage", "agentMessage", "reasoning", "plan", "contextCompaction"})
"""Items that are not tool calls."""

_ENDS: dict[str, Literal["succeeded", "failed", "cancelled"]] = {
    "completed": "succeeded",
    "interrupted": "cancelled",
}


@attrs.frozen
class _Named:
    """What was reported when an agent was started: its work, the call that started it, the thread that asked."""

    title: str = _UNNAMED
    call_id: str | None = None
    parent_thread: str = ""


@attrs.define(eq=False)
class AgentTurn:
    """A running turn of such an agent. `codex_id` is Codex's id of the turn, and the id of the task."""

    thread_id: str
    codex_id: str
    translator: CodexTranslator
    named: _Named | None
    began: bool = False
    told_to_stop: bool = False
    words: str = ""


@attrs.define(eq=False)
class SubAgents:
    """The agents of one session. They are known across its turns, with what runs in the present one."""

    turn_id: str = ""
    root_id: str = ""
    """Codex's id of the present turn."""
    _named: dict[str, _Named] = attrs.field(factory=dict)
    _running: dict[str, AgentTurn] = attrs.field(factory=dict)
    _awaited: set[str] = attrs.field(factory=set)
    _worked: set[str] = attrs.field(factory=set)
    _left: set[str] = attrs.field(factory=set)
    left_running: dict[str, tuple[str, CodexToolCall]] = attrs.field(factory=dict)
    """Calls that outlive their agent, each with its thread, by the ids of their items."""

    @property
    def running(self) -> tuple[AgentTurn, ...]:
        """The agents at work."""
        return tuple(self._running.values())

    @property
    def owed(self) -> bool:
        """Whether an agent works, or was started and has not begun."""
        return bool(self._running or self._awaited)

    @property
    def threads(self) -> frozenset[str]:
        """The threads of all agents that worked in this turn."""
        return frozenset(self._worked)

    @property
    def done_items(self) -> frozenset[str]:
        """Ids of the agents' tool calls that ended, or that an agent left in the background at its end."""
        running = (agent.translator.ended_items for agent in self._running.values())
        return frozenset(self._left).union(*running)

    def open_turn(self, turn_id: str) -> None:
        """Begin a turn of the session, with nothing running."""
        self.turn_id, self.root_id = turn_id, ""
        self._running.clear()
        self.left_running.clear()
        for kept in (self._awaited, self._worked, self._left):
            kept.clear()

    def of_thread(self, thread_id: str) -> AgentTurn | None:
        """Return what runs in that thread. None if it is the session's own."""
        return self._running.get(thread_id)

    def note(self, told: Notification) -> None:
        """Note whether an item of any thread starts an agent."""
        if told.method not in _ITEMS:
            return
        item, asking = told.params.inner("item"), told.params.text("threadId")
        match item.text("type"), told.method:
            case "collabAgentToolCall", "item/completed" if item.text("tool") == "spawnAgent":
                if item.text("status") != "completed":
                    return
                title = item.text("prompt").strip().partition("\n")[0] or _UNNAMED
                for thread in map(str, item.each("receiverThreadIds")):
                    self._name(thread, _Named(clean_text(title)[:TITLE_CHARS], item.text("id"), asking))
            case "subAgentActivity", "item/started" if item.text("kind") == "started":
                title = clean_text(item.text("agentPath"))[:TITLE_CHARS] or _UNNAMED
                self._name(item.text("agentThreadId"), _Named(title, item.text("id"), asking))

    def hear(self, told: Notification, now: float) -> Iterator[HubEvent]:
        """Yield the events of one notification from a thread that is not the session's own."""
        self.note(told)
        params = told.params
        thread_id = params.text("threadId")
        if told.method == "turn/started":
            self._start(thread_id, params.inner("turn"))
        elif told.method == "item/completed":
            self.left_running.pop(params.inner("item").text("id"), None)
        agent = self._running.get(thread_id)
        if agent is None:
            return
        if agent.named is not None or told.method != "turn/started":
            yield from self._begin(agent)
        match told.method:
            case "turn/completed":
                yield from self._end(agent, params.inner("turn"))
            case "thread/closed":
                yield from self._end(agent, Fields({"status": "interrupted"}))
            case "item/completed" if params.inner("item").text("type") == "agentMessage":
                agent.words = params.inner("item").text("text")
                yield from self._progress(agent, agent.words)
            case "item/started" | "item/completed" | "error":
                if params.inner("item").text("type") not in _SPEECH:
                    yield from self._work(agent, told, now)

    def flush(self) -> Iterator[HubEvent]:
        """End what runs, because the turn ends without waiting for it."""
        for agent in self.running:
            yield from self._end(agent, Fields({"status": "interrupted"}))

    def take_wholes(self, event: HubEvent) -> list[bytes]:
        """Return what `CodexTranslator.take_wholes` returns, for the running agents."""
        wholes = (agent.translator.take_wholes(event) for agent in self._running.values())
        return [whole for found in wholes for whole in found]

    def _name(self, thread_id: str, named: _Named) -> None:
        self._named[thread_id] = named
        if len(self._named) > MAX_KNOWN:
            del self._named[next(iter(self._named))]
        agent = self._running.get(thread_id)
        if agent is not None:
            agent.named = named
        elif thread_id not in self._worked:  # a fast agent is done when its call is
            self._awaited.add(thread_id)

    def _start(self, thread_id: str, turn: Fields) -> None:
        named = self._named.get(thread_id)
        if named is None and turn.text("rootTurnId") != self.root_id:
            return
        self._awaited.discard(thread_id)
        self._worked.add(thread_id)
        self._running[thread_id] = AgentTurn(thread_id, turn.text("id"), CodexTranslator(self.turn_id), named)

    def _begin(self, agent: AgentTurn) -> Iterator[HubEvent]:
        if agent.began:
            return
        agent.began = True
        named = agent.named or _Named()
        above = self._running.get(named.parent_thread)
        parent = None if above is None else above.codex_id
        yield TaskBegan(self.turn_id, agent.codex_id, named.title, _KIND, parent)

    def _progress(self, agent: AgentTurn, text: str) -> Iterator[HubEvent]:
        if text:
            yield TaskProgressed(self.turn_id, agent.codex_id, cut_text(text).value)

    def _work(self, agent: AgentTurn, told: Notification, now: float) -> Iterator[HubEvent]:
        for event in agent.translator.translate(told, now):
            match event:
                case ToolBegan() | ToolEnded():
                    yield self._below(agent, event)
                case Noticed():
                    yield from self._progress(agent, event.content)

    def _end(self, agent: AgentTurn, turn: Fields) -> Iterator[HubEvent]:
        yield from self._begin(agent)
        state = _ENDS.get(turn.text("status"), "failed")
        self._left |= agent.translator.ended_items
        if state != "cancelled":
            self._left |= agent.translator.open_items
            calls = agent.translator.running_tools()
            self.left_running |= {one.item_id: (agent.thread_id, one) for one in calls}
        for event in agent.translator.flush(stopped=state == "cancelled"):
            if isinstance(event, ToolEnded):
                yield self._below(agent, event)
        told = turn.inner("error").text("message") if state == "failed" else agent.words
        del self._running[agent.thread_id]
        yield TaskEnded(self.turn_id, agent.codex_id, state, cut_text(told).value if told else None)

    def _below(self, agent: AgentTurn, event: ToolBegan | ToolEnded) -> HubEvent:
        call_id = None if agent.named is None else agent.named.call_id
        return attrs.evolve(event, parent_tool_id=call_id)
