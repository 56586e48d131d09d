"""One conversation on a running agent: its turns.

**When a prompt is taken.** The protocol has no message for it. The prompt counts as taken once it is completely written
to the agent, or once the agent sends anything in the turn. From then on the agent may work.

**When a turn is over.** With the answer to `session/prompt`, which comes in order after all other messages.

**Interrupts.** `session/cancel` is sent, then every open request is answered `cancelled`. The turn ends with the agent's
answer.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import trio

from bridgehub.agents.acp.offer import SETTINGS, AcpOffer
from bridgehub.agents.acp.requests import RequestHandler, RequestRefused
from bridgehub.agents.acp.start import CANCELLED, Greeting
from bridgehub.agents.acp.switches import AcpSwitches
from bridgehub.agents.acp.terminals import Terminals
from bridgehub.agents.acp.translate import Translator, joined, turn_end
from bridgehub.agents.base import Sink, Tell, TurnEnd
from bridgehub.agents.errors import BadOutput, ProgramExited, PromptNotTaken
from bridgehub.agents.json_rpc.messages import Notification, Reply, ServerRequest
from bridgehub.agents.json_rpc.program import Batch, Program
from bridgehub.agents.running_output import OutputTeller
from bridgehub.blobs import keep_blob
from bridgehub.protocol.events import AgentOffered, Consumed, HubEvent, SettingsTold, ToolEnded
from bridgehub.protocol.hub_spec import HubSpec, Setup

__all__ = ["AcpSession"]

_log = logging.getLogger("builderos.bridgehub")

MAX_ASKS = 64
"""Requests of one turn that wait at the same time. One more is refused."""

CANCELS = 4
CANCEL_AGAIN_S = 0.3
"""How many times to ask an agent to stop, and the seconds in between: it ignores a request right after its prompt."""

LAST_ANSWER_S = 0.3
"""How long the answers to open requests may take after their turn is over, seconds."""

BUSY = -32004
"""Our error for one request too many."""

_PERMISSION = "session/request_permission"


@attrs.define(eq=False)
class _Turn:
    turn_id: str
    sink: Sink
    translator: Translator
    requests: RequestHandler
    output: OutputTeller
    prompt_id: int | None = None
    consumed: bool = False
    interrupted: bool = False
    asks: set[trio.CancelScope] = attrs.field(factory=set)


@attrs.define(eq=False)
class AcpSession:
    """A running program with its conversation. One turn at a time. After an error, close it."""

    spec: HubSpec
    program: Program
    session_id: str
    greeting: Greeting
    offer: AcpOffer
    terminals: Terminals
    notes: list[str] = attrs.field(factory=list)
    _turn: _Turn | None = None
    _changed_idle: bool = False
    """What the agent offers has changed since it was reported, outside a turn."""
    _held_idle: dict[str, str | None] = attrs.field(factory=dict)
    """The settings that the agent has changed since then, with their values."""
    _idle_news: trio.Event = attrs.field(factory=trio.Event)
    _switches: AcpSwitches = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._switches = AcpSwitches(self.spec, self.program, self.session_id, self.offer)
        self.terminals.heard = self._note_printed

    @property
    def usable(self) -> bool:
        """Whether another turn may run on the program."""
        return self.program.usable

    def hear_idle(self, message: Notification | ServerRequest) -> Mapping[str, Any] | None:
        """Take what the agent sends between two turns. No person can grant a permission then."""
        if isinstance(message, ServerRequest):
            return CANCELLED if message.method == _PERMISSION else None
        held = self._held()
        if self._note_state(message):
            self._changed_idle = True
            self._held_idle |= self._changed_since(held)
            self._idle_news.set()
        return None

    async def tell_idle(self, tell: Tell) -> None:
        """Report what the agent changes between two turns, until cancelled."""
        while True:
            await self._idle_news.wait()
            self._idle_news = trio.Event()
            await self._tell_news(tell, None)

    async def _tell_news(self, tell: Tell, turn_id: str | None) -> None:
        """Report what the agent has changed outside a turn, if it has."""
        changed, self._held_idle = self._held_idle, {}
        if changed:
            await tell(SettingsTold(turn_id, changed))
        if self._changed_idle:
            await tell(AgentOffered(None, self.offer.told()))
        self._changed_idle = False

    async def run_turn(self, turn_id: str, blocks: list[dict[str, Any]], sink: Sink) -> TurnEnd:
        """Send the prompt and report until the turn is over. After a cancelled turn the session is unusable.

        Raises:
            ExceptionGroup: of what `sink` raised, or of `ProgramError`: the program ended, sent broken output or refused.
                It is `PromptNotTaken` if the program ended before it had the prompt.
        """
        turn = self._turn = self._open_turn(turn_id, sink)
        try:
            async with trio.open_nursery() as nursery:
                with self.program.listen() as batches:
                    # Also of the moment since the turn was prepared.
                    await self._tell_news(sink.emit, turn_id)
                    nursery.start_soon(turn.output.run)
                    nursery.start_soon(self._begin, turn, blocks)
                    end = await self._follow(turn, batches, nursery)
                    nursery.cancel_scope.cancel(reason="the turn is over")
        except Exception:
            await self._end_tools(turn)  # noqa: ASYNC120 - cancelled, the turn ends without its failure
            raise
        finally:
            self._turn = None
        await self._end_tools(turn)
        return end

    async def interrupt(self) -> None:
        """Ask the agent to stop the turn. The turn's end is the answer."""
        turn = self._turn
        if turn is None:
            await trio.lowlevel.checkpoint()
            return
        turn.interrupted = True
        for again in range(CANCELS):
            if again:
                await trio.sleep(CANCEL_AGAIN_S)
            if self._turn is not turn:
                return
            try:
                await self.program.notify("session/cancel", {"sessionId": self.session_id})
            except ProgramExited as error:
                _log.info("the interrupt did not reach the agent: %s", type(error).__name__)
            self.terminals.kill_all()
            for scope in tuple(turn.asks):
                scope.cancel(reason="the turn was interrupted")

    async def set_up(self, setup: Setup, tell: Tell, turn_id: str | None) -> None:
        """Apply these settings to the agent, whatever it has changed itself. Report those that it refuses."""
        self._held_idle = {}
        await self._switches.set_up(setup, tell, turn_id)

    @property
    def _may_bypass(self) -> bool:
        return self.spec.options.get("allow_bypass") is True

    # ---- a turn ----

    def _open_turn(self, turn_id: str, sink: Sink) -> _Turn:
        translator = Translator(turn_id, sink.new_id(), self.terminals.text)
        turn: _Turn

        async def emit(event: HubEvent) -> None:
            await self._emit(turn, event)

        requests = RequestHandler(
            self.spec.workspace,
            self.session_id,
            sink,
            emit,
            translator,
            self.terminals,
            self.offer,
            self.notes,
            self._may_bypass,
        )
        output = OutputTeller(lambda: translator.printed(self.terminals.recent), sink.emit)
        turn = _Turn(turn_id, sink, translator, requests, output)
        return turn

    def _note_printed(self) -> None:
        if self._turn is not None:
            self._turn.output.note_nowait()

    async def _begin(self, turn: _Turn, blocks: list[dict[str, Any]]) -> None:
        params = {"sessionId": self.session_id, "prompt": blocks}
        # `_follow` finds the same, after it has read everything that came before.
        with suppress(ProgramExited, BadOutput):
            turn.prompt_id = self.program.next_id
            await self.program.post("session/prompt", params)
            await self._consume(turn)

    async def _consume(self, turn: _Turn) -> None:
        if not turn.consumed:
            turn.consumed = True
            await turn.sink.emit(Consumed(turn.turn_id))

    async def _follow(
        self, turn: _Turn, batches: trio.MemoryReceiveChannel[Batch], nursery: trio.Nursery
    ) -> TurnEnd:
        while True:
            for message in joined(await self._next(turn, batches)):
                if isinstance(message, Reply):
                    if message.request_id == turn.prompt_id:
                        return await self._finish(turn, message)
                elif isinstance(message, ServerRequest):
                    self._start_ask(turn, message, nursery)
                else:
                    await self._hear(turn, message)

    async def _next(self, turn: _Turn, batches: trio.MemoryReceiveChannel[Batch]) -> Batch:
        try:
            return await batches.receive()
        except trio.EndOfChannel:
            fault = self.program.fault
            if isinstance(fault, ProgramExited) and not turn.consumed:
                raise PromptNotTaken(str(fault)) from None
            raise fault from None

    async def _hear(self, turn: _Turn, told: Notification) -> None:
        if told.method != "session/update" or told.params.text("sessionId") != self.session_id:
            return
        held = self._held()
        if self._note_state(told):
            changed = self._changed_since(held)
            if changed:
                await turn.sink.emit(SettingsTold(turn.turn_id, changed))
            await turn.sink.emit(AgentOffered(None, self.offer.told()))
            return
        for event in turn.translator.translate(told.params.inner("update"), trio.current_time()):
            await self._emit(turn, event)
        turn.output.note_nowait()

    def _note_state(self, told: Notification) -> bool:
        """Take a message about the conversation as a whole. Return whether it is one."""
        if told.method != "session/update" or told.params.text("sessionId") != self.session_id:
            return False
        update = told.params.inner("update")
        match update.text("sessionUpdate"):
            case "current_mode_update":
                self.offer.read_mode(update)
            case "config_option_update":
                self.offer.read_options(update)
            case "available_commands_update":
                self.offer.read_commands(update)
            case _:
                return False
        return True

    def _held(self) -> dict[str, str | None]:
        return {name: self.offer.value_of(name) for name in SETTINGS}

    def _changed_since(self, held: dict[str, str | None]) -> dict[str, str | None]:
        """Return the settings that the agent has changed. What it says while we change them is its answer."""
        if self._switches.busy:
            return {}
        return {name: value for name, value in self._held().items() if value != held[name]}

    async def _emit(self, turn: _Turn, event: HubEvent) -> None:
        await self._consume(turn)
        for whole in turn.translator.take_wholes(event):
            if self.spec.blob_folder:
                await keep_blob(self.spec.blob_folder, whole)
        edit = turn.translator.take_edit(event)
        if edit is not None and isinstance(event, ToolEnded):
            diff = await trio.to_thread.run_sync(
                partial(edit.diff, self.spec.workspace, is_over=True), abandon_on_cancel=True
            )
            event = attrs.evolve(event, diff=diff)
        if isinstance(event, ToolEnded):
            await turn.output.tell_now()
        await turn.sink.emit(event)

    async def _end_tools(self, turn: _Turn) -> None:
        """End the tool calls that are still open."""
        for event in turn.translator.flush():
            await self._emit(turn, event)

    async def _finish(self, turn: _Turn, told: Reply) -> TurnEnd:
        await self._consume(turn)
        end, notice = turn_end(turn.turn_id, told, self.spec, self.greeting, stopped=turn.interrupted)
        if notice is not None:
            await turn.sink.emit(notice)
        return end

    # ---- requests ----

    def _start_ask(self, turn: _Turn, request: ServerRequest, nursery: trio.Nursery) -> None:
        scope = trio.CancelScope()
        if turn.interrupted:
            scope.cancel(reason="the turn was interrupted")
        nursery.start_soon(self._ask, turn, request, scope, len(turn.asks) >= MAX_ASKS)
        turn.asks.add(scope)

    async def _ask(
        self, turn: _Turn, request: ServerRequest, scope: trio.CancelScope, is_too_many: bool
    ) -> None:
        # `_follow` reports that the program has ended.
        result: Mapping[str, Any] | None = None
        error: RequestRefused | None = RequestRefused("the turn is over", BUSY)
        try:
            with scope:
                if is_too_many:
                    error = RequestRefused("too many requests at once", BUSY)
                else:
                    try:
                        result, error = await turn.requests.answer(request.method, request.params), None
                    except RequestRefused as refusal:
                        error = refusal
        finally:
            turn.asks.discard(scope)
            with trio.move_on_after(LAST_ANSWER_S, shield=True), suppress(ProgramExited, BadOutput):
                await self._reply(request, result, error)

    async def _reply(
        self, request: ServerRequest, result: Mapping[str, Any] | None, error: RequestRefused | None
    ) -> None:
        if error is None:
            await self.program.answer(request, result)
        elif request.method == _PERMISSION:
            await self.program.answer(request, CANCELLED)
        else:
            await self.program.refuse(request, str(error), error.code)
