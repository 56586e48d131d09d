"""One thread of Codex on a running program: its turns.

**When a prompt is taken.** Codex writes the prompt into the thread's own record before it calls the model service. It
reports that by a `userMessage` item with our id. That item is `Consumed`. If the program is killed after it, the resumed
thread has the prompt (seen). If it is killed before, the thread does not. A steered message has the same proof:
`turn/steer` itself only queues it.

**When a turn is over.** With `turn/completed`, once the agents that Codex started in it are done too (`sub_agents`).
Codex itself would let them continue, although nobody could see or answer them. Commands may outlive a
turn in the background, as usual with Codex (`background`). After an interrupt the turn's commands and agents are ended
here, since Codex leaves both to its client.

**Other clients.** A terminal may have joined the program (`live`). It may begin turns, write into ours, answer our
questions first, and stop turns. Codex merges a prompt of ours into a turn that runs already; the answer to `turn/start`
names that turn.

**Interrupts.** Codex answers `turn/interrupt` for the running turn. Before `turn/started` it applies the call to the
previous turn and refuses. After the turn's end it does not answer until another turn runs. So the call is sent only in
between, without waiting for an answer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import attrs
import trio

from bridgehub.agents.base import Sink, TurnEnd
from bridgehub.agents.codex.commands import CodexCommands
from bridgehub.agents.codex.live.between import BetweenCodexTurns
from bridgehub.agents.codex.permissions import answer_of, question_of
from bridgehub.agents.codex.thread_settings import ThreadSettings
from bridgehub.agents.codex.translate.gauge import CodexGauge
from bridgehub.agents.codex.translate.outcome import turn_end
from bridgehub.agents.codex.translate.sub_agents import SubAgents
from bridgehub.agents.codex.turn import CodexTurn, OwnCall, SteeredMessage
from bridgehub.agents.errors import BadOutput, CallRefused, ProgramError, ProgramExited, PromptNotTaken
from bridgehub.agents.json_rpc.messages import Message, Notification, ServerRequest, joined
from bridgehub.agents.json_rpc.program import Batch, Program
from bridgehub.protocol.events import TurnStopped

__all__ = ["CodexSession"]

_log = logging.getLogger("builderos.bridgehub")

UserInput = dict[str, Any]


@contextmanager
def _setting(event: trio.Event) -> Iterator[None]:
    """Set an event at the end of the block."""
    try:
        yield
    finally:
        event.set()


ANSWER_S = 2.0
"""How long an answer to a question may take to be written, seconds, once nobody waits for it any more."""


@attrs.define(eq=False)
class CodexSession:
    """A warm program with its thread. One turn at a time. After an error, close it."""

    program: Program
    thread_id: str
    blob_folder: str
    socket: str | None = None
    """Where the program listens."""
    settings: ThreadSettings | None = None
    """What the thread works with."""
    _stale: bool = False
    """Something outlived an interrupt. The program must be closed before the next turn."""
    gauge: CodexGauge = attrs.field(factory=CodexGauge)
    plan: str = ""
    """The newest plan that a turn in plan mode ended with."""
    was_interrupted: bool = False
    """Whether the last turn was stopped."""
    _turn: CodexTurn | None = None
    _agents: SubAgents = attrs.field(factory=SubAgents)
    commands: CodexCommands = attrs.field(init=False)
    between: BetweenCodexTurns = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.commands = CodexCommands(self.program, self.thread_id)
        self.between = BetweenCodexTurns(
            self.program, self.thread_id, self.commands, self.socket, self.settings
        )

    @property
    def usable(self) -> bool:
        """Whether another turn may run on the program."""
        return self.program.usable and not self._stale and not self.between.elsewhere.is_lost

    async def follow_turn(self, turn_id: str, sink: Sink) -> TurnEnd:
        """Report a turn that a terminal began, until it is over. See `run_turn`."""
        turn = self._open_turn(turn_id, sink)
        turn.is_desk = turn.consumed = True
        return await self._run(turn, None, {})

    async def run_turn(
        self,
        turn_id: str,
        inputs: Sequence[UserInput] | OwnCall,
        sink: Sink,
        changes: dict[str, Any] | None = None,
    ) -> TurnEnd:
        """Send the inputs as a prompt and report until the turn is over. `changes`: settings from this turn on.

        Instead of inputs, one of Codex's own calls may begin the turn.

        After a cancelled turn the session is unusable.

        Raises:
            ExceptionGroup: of what `sink` raised, or of `ProgramError`: the program ended, sent broken output or refused.
                It is `PromptNotTaken` if the program ended before it began with the prompt.
        """
        turn = self._open_turn(turn_id, sink)
        turn.own_call = inputs if isinstance(inputs, OwnCall) else None
        return await self._run(turn, inputs, changes or {})

    def _open_turn(self, turn_id: str, sink: Sink) -> CodexTurn:
        message_id = f"{turn_id}/{sink.new_id()}"
        return CodexTurn(turn_id, message_id, sink, self.gauge, self._agents, self.blob_folder)

    async def _run(
        self, turn: CodexTurn, inputs: Sequence[UserInput] | OwnCall | None, changes: dict[str, Any]
    ) -> TurnEnd:
        self._turn = turn
        self._agents.open_turn(turn.turn_id)
        await self.commands.background.tell_ended(turn.sink.emit)
        await self.between.tell_news(turn.sink.emit)
        try:
            async with trio.open_nursery() as nursery:
                with self.program.listen() as batches:
                    # No message comes between the two: nothing waits here.
                    kept = self.between.elsewhere.take()
                    if inputs is not None:
                        nursery.start_soon(self._begin, turn, inputs, changes)
                    end = await self._follow(turn, kept, batches, nursery)
                    nursery.cancel_scope.cancel(reason="the turn is over")
            turn.broke = False
        finally:
            self._turn = None
            turn.started.set()  # wakes tasks that still wait for the start; they then see that the turn is over
            for steer in turn.steers.values():
                steer.decided.set()
        return end

    async def steer(self, message_id: str, inputs: Sequence[UserInput]) -> bool:
        """Give the running turn one more message. Return whether the agent took it into the turn.

        Raises:
            ProgramError: the program ended or broke meanwhile. It is unknown what became of the message.
        """
        turn = self._turn
        if turn is None:
            await trio.lowlevel.checkpoint()
            return False
        await turn.started.wait()
        if self._turn is not turn:
            return False
        steer = turn.steers[f"{turn.message_id}/{message_id}"] = SteeredMessage()
        try:
            await self._steer((self.thread_id, turn.codex_id), f"{turn.message_id}/{message_id}", inputs)
        except CallRefused as error:
            _log.info("a message was not steered: %s", type(error).__name__)
            return False
        await steer.decided.wait()
        if turn.broke and not steer.taken:
            raise ProgramExited("Codex ended before it confirmed a message.")
        return steer.taken

    async def interrupt(self) -> None:
        """Ask Codex to stop the turn as soon as it has begun. The turn's end is the answer."""
        turn = self._turn
        if turn is None:
            await trio.lowlevel.checkpoint()
            return
        turn.interrupted = True
        await turn.started.wait()
        if self._turn is not turn:
            return
        if turn.over is None:
            await self._send_stop(self.thread_id, turn.running_id)
        await self._stop_agents()

    async def _stop_agents(self) -> None:
        """Ask the agents that Codex started in this turn to stop too. Codex itself lets them continue."""
        for agent in self._agents.running:
            if not agent.told_to_stop:
                agent.told_to_stop = True
                await self._send_stop(agent.thread_id, agent.codex_id)

    async def _send_stop(self, thread_id: str, codex_id: str) -> None:
        try:
            await self.program.tell("turn/interrupt", {"threadId": thread_id, "turnId": codex_id})
        except ProgramError as error:
            _log.info("the interrupt did not reach Codex: %s", type(error).__name__)

    async def _begin(
        self, turn: CodexTurn, inputs: Sequence[UserInput] | OwnCall, changes: dict[str, Any]
    ) -> None:
        thread = {"threadId": self.thread_id}
        await turn.sink.work_saved()
        # `_follow` finds that the program has ended, after it has read everything that came before.
        with suppress(ProgramExited, BadOutput), _setting(turn.replied):
            if isinstance(inputs, OwnCall):
                if changes:  # such a call cannot carry settings
                    await self.program.call("thread/settings/update", thread | changes)
                await self.program.call(inputs.method, thread | inputs.params)
            else:
                prompt = thread | {"clientUserMessageId": turn.message_id, "input": list(inputs)}
                begun = (await self.program.call("turn/start", prompt | changes)).inner("turn")
                turn.wanted_id = begun.text("rootTurnId") or begun.text("id")

    async def _follow(
        self,
        turn: CodexTurn,
        kept: Sequence[Message],
        batches: trio.MemoryReceiveChannel[Batch],
        nursery: trio.Nursery,
    ) -> TurnEnd:
        batch: Sequence[Message] | None = kept
        while batch is not None:
            for message in joined(batch):
                if isinstance(message, ServerRequest):
                    others = self.between.elsewhere
                    if (
                        others.keep(message)
                        if self._is_later(turn, message)
                        else not others.is_foreign(message)
                    ):
                        turn.asks[message.request_id] = scope = trio.CancelScope()
                        nursery.start_soon(self._ask, turn, message, scope)
                elif isinstance(message, Notification):
                    await self._take(turn, message)
            if turn.is_spoilt:
                await self._stop_agents()
            if turn.over is not None and not self._agents.owed:
                break
            batch = await self._next(turn, batches)
        assert turn.over is not None, "only agents are given up"
        return await self._finish(turn, turn.over)

    async def _next(self, turn: CodexTurn, batches: trio.MemoryReceiveChannel[Batch]) -> Batch | None:
        """Return what Codex sends next. None if it is not worth waiting for any longer.

        Raises ProgramError: the program ended or broke.
        """
        with trio.move_on_at(turn.deadline()):
            try:
                return await batches.receive()
            except trio.EndOfChannel:
                fault = self.program.fault
                if isinstance(fault, ProgramExited) and not turn.started.is_set():
                    raise PromptNotTaken(str(fault)) from None
                raise fault from None
        return None

    def _is_later(self, turn: CodexTurn, told: Notification | ServerRequest) -> bool:
        """Return whether a message is of a turn that a terminal began after this one, which waits for its agents."""
        if turn.over is None:
            return False
        thread_id = told.params.maybe_text("threadId")
        if thread_id in (None, self.thread_id):
            about = told.params.maybe_text("turnId") or told.params.inner("turn").maybe_text("id")
            return about not in (None, turn.codex_id)
        # Another thread is an agent's: of ours, or of that turn.
        return bool(self.between.elsewhere.kept) and self._agents.of_thread(str(thread_id)) is None

    async def _take(self, turn: CodexTurn, told: Notification) -> None:
        if told.method == "serverRequest/resolved":
            scope = turn.asks.pop(told.params.value("requestId"), None)
            if scope is not None:
                scope.cancel(reason="Codex does not wait for the answer any more")
                self.between.elsewhere.drop(told.params.value("requestId"))
            elif turn.over is not None:
                self.between.elsewhere.keep(told)
        elif self.commands.background.hear(told):
            await self.commands.background.tell_ended(turn.sink.emit)
        elif self.between.elsewhere.note_title(told) or self.between.elsewhere.note_settings(told):
            await self.between.tell_news(turn.sink.emit)
        elif self.between.elsewhere.is_foreign(told):
            return
        elif self._is_later(turn, told):
            self.between.elsewhere.keep(told)
        elif told.params.maybe_text("threadId") not in (None, self.thread_id):
            for event in self._agents.hear(told, trio.current_time()):
                await turn.emit(event)
        elif not turn.has(told):
            return
        elif told.method == "turn/completed":
            if await turn.has_prompt():
                turn.over, turn.over_at = told, trio.current_time()
            else:
                turn.codex_id = ""  # a terminal's turn ended before ours began
        else:
            self._agents.note(told)
            await turn.hear(told)
            if turn.plan is not None:
                self.plan = turn.plan

    async def _finish(self, turn: CodexTurn, told: Notification) -> TurnEnd:
        self._stale = self._stale or (turn.is_spoilt and self._agents.owed)
        self.was_interrupted = turn.interrupted
        self.commands.spare(turn.translator.ended_items | self._agents.done_items)
        if turn.interrupted:
            self._stale = self._stale or turn.translator.starts_agent
            self._stale = not await self.commands.end_new(self._agents.threads) or self._stale
        else:
            self.commands.spare(turn.translator.open_items)
        for event in self._agents.flush():
            await turn.emit(event)
        retried = turn.translator.retried
        left = [(self.thread_id, tool) for tool in turn.translator.running_tools()]
        left += self._agents.left_running.values()
        for event in turn.translator.flush(stopped=turn.interrupted or turn.is_stopped_there):
            await turn.emit(event)
        for event in self.commands.background.leave(turn.turn_id, () if turn.interrupted else left):
            await turn.emit(event)
        if turn.is_stopped_there:
            return TurnStopped(turn.turn_id, at_desk=True)
        return turn_end(
            turn.turn_id,
            told.params.inner("turn"),
            turn.usage,
            retried=retried,
            resets_at_ms=self.gauge.resets_at_ms,
            position={"thread": self.thread_id, "turn": turn.codex_id},
        )

    async def _ask(self, turn: CodexTurn, request: ServerRequest, scope: trio.CancelScope) -> None:
        await self._ask_in(turn, request, scope)
        if scope.cancelled_caught:
            await turn.sink.tell_withdrawn()

    async def _ask_in(self, turn: CodexTurn, request: ServerRequest, scope: trio.CancelScope) -> None:
        # `_follow` reports that the program has ended.
        with scope, suppress(ProgramExited, BadOutput):  # noqa: ASYNC912 - each way waits
            agent = self._agents.of_thread(request.params.text("threadId"))
            translator = turn.translator if agent is None else agent.translator
            is_later = self.between.elsewhere.holds(request)
            tools = self.between.elsewhere.tools() if is_later else translator.running_tools()
            question = question_of(request, tools)
            if question is None:
                await self.program.refuse(request, "not supported")
                return
            decided = await turn.sink.ask(
                question.tool,
                question.tool_input,
                question.questions,
                grant=question.grant,
                task_id=None if agent is None else agent.codex_id,
                words=question.words,
            )
            if is_later and decided.decision == "cancelled":
                return  # our turn is stopped, not that one: it asks again
            self.between.elsewhere.drop(request.request_id)
            translator.allowed(question.item_id, trio.current_time())
            if decided.decision == "deny" and decided.note:
                at = (self.thread_id, turn.codex_id) if agent is None else (agent.thread_id, agent.codex_id)
                if is_later:
                    at = (request.params.text("threadId"), request.params.text("turnId"))
                await self._steer_note(turn, decided.note, at)
            if agent is None and question.item_id and not is_later:
                turn.answered[question.item_id] = decided.decision in ("allow", "allow_session")
            # Half an answer would be nonsense to the program, and the end of it for all who share it.
            with trio.move_on_after(ANSWER_S, shield=True):
                await self.program.answer(request, answer_of(request, question, decided))

    async def _steer_note(self, turn: CodexTurn, note: str, at: tuple[str, str]) -> None:
        """Send the reason for a refusal. A refusal has no field for it, so it goes as a message of the person.

        It goes before the refusal, so that the model gets both together.
        """
        text = {"type": "text", "text": f"I did not allow that: {note}"}
        try:
            await self._steer(at, f"{turn.message_id}/note", [text])
        except CallRefused as error:
            _log.info("the note of a refusal was not taken: %s", type(error).__name__)

    async def _steer(self, at: tuple[str, str], client_id: str, inputs: Sequence[UserInput]) -> None:
        thread_id, codex_id = at
        params = {
            "threadId": thread_id,
            "expectedTurnId": codex_id,
            "clientUserMessageId": client_id,
            "input": list(inputs),
        }
        await self.program.call("turn/steer", params)
