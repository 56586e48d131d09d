"""One running Claude Code program with its conversation, over the Claude Agent SDK.

This module and its neighbours `permissions` and `events` import the SDK, which costs about a second and 70 MB. So only
a hub that drives Claude loads them.

**Which prompt a message belongs to.** Each prompt is sent with a new uuid, since the program silently skips a prompt
whose uuid it knows. The program names the uuid in its messages: first in the `status` message just before it calls the
model service, last in the result. The first message that names it proves that the program has taken the prompt
(`Consumed`).

**When a turn is over.** Sub-agents run in the background. The program gives a result, continues with them, and then
starts a turn of its own with what they found. Its `session_state_changed` says whether more is to come (`running`) or
not (`idle`). The turn ends once its prompt has a result and the program is idle. If a program does not report its state,
the turn ends with the result. A message that was steered into the turn holds it until the program has taken that
message too (`steering`).

**Between two turns** the program continues by itself when a background command has ended. It reports `running`, and what
follows until `idle` is a turn of its own. If a prompt comes first, the prompt's turn reports what was already read.
"""

from __future__ import annotations

import logging
import uuid
from collections import deque
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import attrs
import trio
from claude_agent_sdk import (
    AssistantMessage,
    ClaudeSDKClient,
    ClaudeSDKError,
    CLIConnectionError,
    ConversationResetMessage,
    ProcessError,
    RateLimitEvent,
    ResultMessage,
    SystemMessage,
    UserMessage,
)

from bridgehub.agents.base import Sink, Tell, TurnEnd
from bridgehub.agents.claude.permissions import PermissionBroker
from bridgehub.agents.claude.prompt import Content, Once
from bridgehub.agents.claude.steering import Steers
from bridgehub.agents.claude.switches import ClaudeSwitches
from bridgehub.agents.claude.translate.background import ClaudeBackground
from bridgehub.agents.claude.translate.events import ClaudeTranslator
from bridgehub.agents.claude.translate.gauge import ClaudeGauge
from bridgehub.agents.claude.translate.outcome import TurnOutcome, named_uuids
from bridgehub.agents.claude.translate.output import keep_blobs, read_output
from bridgehub.agents.claude.translate.todo import changes_list, read_list, written_list
from bridgehub.agents.errors import ClaudeBadOutput, ClaudeExited, PromptNotSent
from bridgehub.protocol.events import AgentOffered, Consumed, HubEvent, Noticed
from bridgehub.protocol.messages import Prompt

__all__ = ["ClaudeSession", "told_end"]

logger = logging.getLogger("builderos.bridgehub")

INTERRUPT_S = 2.0
"""How long the program may take to confirm an interrupt, seconds. The hub uses force at about the same time."""

STDERR_BYTES = 2048
"""Code points of the program's stderr that the message about its end shows."""

_PROMPTS = uuid.UUID("0f6a1f43-52a0-4f0b-9d55-3f0f6f0c9f52")
"""Namespace of the prompts' uuids."""


@attrs.define(eq=False)
class ClaudeSession:
    """A warm program. One turn at a time. After an error, close it and open another one."""

    _hub_id: str
    _client: ClaudeSDKClient
    _messages: AsyncIterator[Any]
    _asker: PermissionBroker
    _stderr: deque[str]
    _projects: Path
    """Where the program keeps its transcripts, and long outputs beside them."""
    _blob_folder: str = ""
    """Where long texts are kept whole. Empty: nowhere."""
    _held: ExitStack = attrs.field(factory=ExitStack)
    """What the program reads from this process as long as it runs."""
    _state: str | None = None
    """`running`, `idle` or `requires_action`, as the program last reported."""
    _cost_total: float | None = None
    """The program's running total of cost, US dollars. See `TurnOutcome`."""
    is_cleared: bool = False
    """The person had the conversation cleared. The next turn begins a new one."""
    is_stale: bool = False
    """The program holds something that is no longer wanted. It must be closed after this turn."""
    is_in_turn: bool = False
    _unfinished: bool = False
    """A turn has begun here and not ended."""
    _interrupted: bool = False
    _sent: trio.Event = attrs.field(factory=trio.Event)
    """Set once this turn's prompt is written. An interrupt that came before it would stop nothing."""
    gauge: ClaudeGauge = attrs.field(factory=ClaudeGauge)
    _conversation: str = ""
    """The program's own id of its conversation."""
    _steers: Steers = attrs.field(factory=Steers)
    _early: deque[Any] = attrs.field(factory=deque)
    """Messages that were read between two turns and belong to the next one."""
    _owed: deque[HubEvent] = attrs.field(factory=deque)
    """Events that were read between two turns and are not reported yet."""
    background: ClaudeBackground = attrs.field(factory=ClaudeBackground)
    switches: ClaudeSwitches = attrs.field(kw_only=True)
    """The program's model, permission mode and effort."""

    async def run_turn(self, prompt: Prompt, content: Content, sink: Sink) -> TurnEnd:
        """Send `content` as the prompt and report until the program owes nothing more.

        After a cancelled turn the session is unusable.

        Raises:
            PromptNotSent: the program ended before the prompt was written.
            ClaudeExited: it ended during the turn.
            ClaudeBadOutput: it sent something that the SDK cannot read.
        """
        prompt_uuid = str(uuid.uuid5(_PROMPTS, f"{self._hub_id}/{prompt.turn_id}/{sink.new_id()}"))
        outcome = TurnOutcome(prompt.turn_id, prompt_uuid, self._cost_total)
        translator = ClaudeTranslator(prompt.turn_id, prompt.content.strip().startswith("/compact"))
        self._interrupted, self.is_in_turn, self._sent = False, True, trio.Event()
        self._unfinished, self._steers = True, Steers()
        try:
            async with self._asker.open_turn(sink, translator):
                await self._send(prompt_uuid, content)
                self._sent.set()
                await self._follow(outcome, translator, sink)
        finally:
            self.is_in_turn = False
            self._sent.set()
            self._steers.close()
        await self._steers.wait_left()
        self._unfinished = False
        if (told := await self.switches.after_command(prompt.content)) is not None:
            await sink.emit(told)
        self._cost_total = self.gauge.cost_usd = outcome.cost_total
        return outcome.end(interrupted=self._interrupted)

    async def wait_own_work(self, tell: Tell) -> None:
        """Report what happens between two turns. Return once the program begins something by itself.

        Raises ClaudeExited, ClaudeBadOutput: as `run_turn`.
        """
        await trio.lowlevel.checkpoint()
        while True:
            while self._owed:
                await tell(self._owed[0])
                self._owed.popleft()
            if self._early:
                return
            message = None
            with trio.move_on_after(self.background.wait_s()):
                message = await self._next()
            if message is None:
                self._owed += self.background.fired(began=False)
                continue
            match message:
                case SystemMessage(subtype="session_state_changed", data=data):
                    self._state = str(data.get("state"))
                    if self._state == "running":
                        self._early.append(message)
                        self._owed += self.background.fired(began=True)
                case SystemMessage(subtype="status", data=data):
                    mode = data.get("permissionMode")
                    if isinstance(mode, str) and (told := self.switches.note_mode(mode)):
                        self._owed.append(told)
                case _:
                    self._owed += self.background.translate(message, None)

    async def run_own_turn(self, turn_id: str, sink: Sink) -> TurnEnd:
        """Report what the program does by itself until it is idle.

        Raises ClaudeExited, ClaudeBadOutput: as `run_turn`.
        """
        outcome = TurnOutcome(turn_id, "", self._cost_total, answered=True)
        translator = ClaudeTranslator(turn_id)
        self._interrupted, self.is_in_turn, self._sent = False, True, trio.Event()
        self._unfinished, self._state = True, "running"
        self._sent.set()
        try:
            async with self._asker.open_turn(sink, translator):
                await self._follow(outcome, translator, sink)
        finally:
            self.is_in_turn = False
        self._unfinished = False
        self._cost_total = self.gauge.cost_usd = outcome.cost_total
        return outcome.end(interrupted=self._interrupted)

    async def stop_task(self, task_id: str) -> None:
        """End a background command of the program. Raises Exception: the program refused, or has ended."""
        await self.switches.ask({"subtype": "stop_task", "task_id": task_id})

    async def steer(self, turn_id: str, message_id: str, content: Content) -> bool:
        """Send one more message into the running turn. Return whether the program took it.

        The message must be new to the program, which skips a uuid that it knows.

        Raises:
            ClaudeExited: the turn broke. It is unknown whether the program had read the message.
        """
        await self._sent.wait()
        steers = self._steers
        if self._interrupted or not steers.is_open:
            return False
        name = str(uuid.uuid5(_PROMPTS, f"{self._hub_id}/{turn_id}/steered/{message_id}"))
        one = steers.add(name)
        try:
            await self._send(name, content)
            await one.settled.wait()
        except PromptNotSent:
            return False
        finally:
            steers.drop(name)
        if one.taken is None:
            raise ClaudeExited("Claude Code ended before it confirmed a message.")
        return one.taken

    async def look_at_gauge(self) -> dict[str, Any]:
        """Ask the program how full its context is. Return that with cost and limits. Raises what the SDK raises."""
        told = await self.switches.ask({"subtype": "get_context_usage", "detail": "summary"})
        self.gauge.note_context(told)
        return self.gauge.told()

    async def interrupt(self) -> None:
        """Ask the program to stop the turn and its sub-agents. Wait at most `INTERRUPT_S` for its confirmation.

        Raises nothing if the program has ended or refuses: the caller uses force next.
        """
        self._interrupted = True
        with trio.move_on_after(INTERRUPT_S):
            await self._sent.wait()
            await self._withdraw_steers()
            try:
                await self._client.interrupt()
            except Exception as error:  # the SDK has no class of its own for a refused control request
                logger.info("the interrupt did not reach Claude Code: %s", type(error).__name__)

    async def aclose(self) -> None:
        """End the program: close its input, send SIGTERM after 5 s and SIGKILL after another 5 s. Idempotent.

        The SDK shields this from cancellation, within those bounds. A turn that was cut off is interrupted first, because
        the program would continue it after its input closed.
        """
        if self._unfinished:
            with trio.move_on_after(INTERRUPT_S, shield=True):  # or it continues for seconds
                await self.interrupt()
        try:
            await self._client.disconnect()
        finally:
            self._held.close()
        if self.is_in_turn:
            return
        # Read the iterator to its end, which has come: trio warns about one that is dropped earlier.
        try:
            async for _ in self._messages:
                pass
        except (anyio.ClosedResourceError, ClaudeSDKError):
            return

    async def _withdraw_steers(self) -> None:
        """Withdraw the messages that the program has not begun. It would continue with them after the interrupt.

        The SDK has no public call for this control request of the program. A message that the program took in the meantime
        is stopped with the turn.
        """
        for name in self._steers.waiting:
            query = self._client._query
            asked = {"subtype": "cancel_async_message", "message_uuid": name}
            try:
                told = {} if query is None else await query._send_control_request(asked)
            except Exception as error:  # as above; force stops what was not withdrawn
                logger.info("a steered message was not withdrawn: %s", type(error).__name__)
                continue
            if told.get("cancelled"):
                self._steers.settle(name)

    async def _send(self, prompt_uuid: str, content: Content) -> None:
        message = {
            "type": "user",
            "message": {"role": "user", "content": content},
            "parent_tool_use_id": None,
            "uuid": prompt_uuid,
        }
        try:
            await self._client.query(Once(message))
        except CLIConnectionError as error:
            raise PromptNotSent(self._last_words(None)) from error

    async def _follow(self, outcome: TurnOutcome, translator: ClaudeTranslator, sink: Sink) -> None:
        consumed = False
        await trio.lowlevel.checkpoint()
        while self._owed:
            await sink.emit(self._owed[0])
            self._owed.popleft()
        while not (outcome.answered and self._state in (None, "idle")) or self._steers.waiting:
            message = await self._next()
            named = named_uuids(message)
            self._steers.note_taken(named)
            if not consumed and outcome.prompt_uuid in named:
                consumed = True
                await sink.emit(Consumed(outcome.turn_id))
            if isinstance(message, UserMessage):
                await self._fetch_output(message, translator, sink)
            for event in self.background.translate(message, outcome.turn_id):
                await sink.emit(event)
            for event in translator.translate(message, trio.current_time()):
                await keep_blobs(translator.take_blobs(), self._blob_folder, translator.turn_id, sink)
                await sink.emit(event)
                await self._note_list(event, sink)
            self._asker.note_progress()
            match message:
                case SystemMessage(subtype="session_state_changed", data=data):
                    self._state = str(data.get("state"))
                case SystemMessage(subtype="status" | "init", data=data):
                    await self._note_program(message.subtype, data, sink)
                case AssistantMessage() | ResultMessage():
                    outcome.note(message)
                case RateLimitEvent(rate_limit_info=info):
                    outcome.limit = info
                    self.gauge.note_limits(info)
                case ConversationResetMessage():
                    self.is_cleared = True
        self._steers.close()
        outcome.compaction_error = translator.compaction_error if translator.compacts else None
        for event in translator.flush():
            await sink.emit(event)

    async def _note_list(self, event: HubEvent, sink: Sink) -> None:
        """Report the to-do list after a call that changed it."""
        if (written := written_list(event)) is not None:
            await sink.emit(written)
        elif changes_list(event):
            config, turn_id = self._projects.parent, str(event.turn_id)
            await sink.emit(await trio.to_thread.run_sync(read_list, config, self._conversation, turn_id))

    async def _note_program(self, subtype: str, data: dict[str, Any], sink: Sink) -> None:
        """Take what the program reports of itself: its mode, and what it offers at the start of a turn."""
        if subtype == "init":
            self._conversation = str(data.get("session_id", ""))
        if subtype == "init" and self.switches.offer.note_turn(data):
            await sink.emit(AgentOffered(None, self.switches.offer.told()))
        mode = data.get("permissionMode")
        if subtype == "status" and isinstance(mode, str) and (told := self.switches.note_mode(mode)):
            await sink.emit(told)

    async def _fetch_output(self, message: UserMessage, translator: ClaudeTranslator, sink: Sink) -> None:
        """Pass the whole output of a tool to the translator if the program has more than a preview."""
        result = message.tool_use_result
        is_file = isinstance(result, dict) and "persistedOutputPath" in result
        if not is_file and not isinstance(result, list):
            return
        output = await trio.to_thread.run_sync(read_output, result, self._projects)
        if output is None:
            return
        translator.note_output(output.cut)
        if output.lost_bytes:
            told = f"The last {output.lost_bytes} bytes of a command's output were not kept."
            await sink.emit(Noticed(translator.turn_id, "output_cut", told))

    async def _next(self) -> Any:
        if self._early and self.is_in_turn:
            await trio.lowlevel.checkpoint()
            return self._early.popleft()
        try:
            return await anext(self._messages)
        except trio.Cancelled:
            # An iterator that was cancelled yields nothing more.
            self._messages = self._client.receive_messages()
            raise
        except StopAsyncIteration:
            self._unfinished = False  # the program has ended: there is nothing to interrupt
            raise ClaudeExited(self._last_words(0)) from None
        except ProcessError as error:
            self._unfinished = False
            raise ClaudeExited(self._last_words(error.exit_code)) from error
        except ClaudeSDKError as error:
            raise ClaudeBadOutput(type(error).__name__) from error

    def _last_words(self, exit_code: int | None) -> str:
        return told_end(exit_code, self._stderr)


def told_end(exit_code: int | None, stderr: deque[str]) -> str:
    """Return how the program ended, with its last output. `exit_code` None: its exit status is unknown."""
    how = "ended" if exit_code is None else f"ended with exit status {exit_code}"
    words = "\n".join(stderr)[-STDERR_BYTES:]
    return f"Claude Code {how}." + (f" Its last output:\n{words}" if words else "")
