"""One running Claude Code program with its conversation, over the Claude Agent SDK.

This module and its neighbours `claude_asks` and `claude_events` import the SDK (about a second and 70 MB), so
only a hub that drives Claude loads them.

**Which prompt a message belongs to.** Each prompt is sent with a uuid. The program names it in its messages:
first in the `status` message just before it calls the model service, at last in the result. The first message
that names it proves that the program has taken the prompt (`Consumed`).

**When a turn is over.** Sub-agents run in the background: the program gives a result, goes on with them, and
then starts a turn of its own with what they found. It says by `session_state_changed` whether more is owed
(`running`) or not (`idle`); the turn ends once its prompt has a result and the program is idle. A program
that does not report its state ends it with the result.

**Which conversation.** Its id is `HubSpec.agent_session_id`. Where the program has a transcript of that id
the conversation is resumed, else begun under it. One that cannot be resumed any more is begun anew under the
next id of a fixed row, so that a later hub finds the newest one again.
"""

from __future__ import annotations

import logging
import uuid
import warnings
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import trio
from claude_agent_sdk import (
    AssistantMessage,
    CanUseToolShadowedWarning,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    ClaudeSDKError,
    CLIConnectionError,
    CLINotFoundError,
    ProcessError,
    ResultMessage,
    SystemMessage,
)

from bridgehub.agents.base import Sink, TurnEnd
from bridgehub.agents.claude_asks import Asker
from bridgehub.agents.claude_events import Translator
from bridgehub.agents.claude_outcome import Outcome, named_uuids
from bridgehub.protocol.messages import Consumed, HubSpec, Prompt

__all__ = [
    "ClaudeSDKError",
    "ClaudeSession",
    "ConversationRow",
    "ProgramExited",
    "ProgramMissing",
    "PromptNotSent",
    "open_session",
]

logger = logging.getLogger("builderos.bridgehub")

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""One JSON message of the program; the SDK's own 1 MiB is less than a large file that a tool reads."""

MAX_CONVERSATIONS = 16
"""How often one session's conversation may be begun anew; beyond it the last one is kept."""

INTERRUPT_S = 2.0
"""How long the program may take to confirm an interrupt; the hub uses force about then."""

STDERR_LINES = 20
"""Lines of the program's stderr that are kept for the message about its end."""

STDERR_BYTES = 2048
"""Characters of it that this message shows."""

_ROW = uuid.UUID("0b7ad4b4-2f4f-4a39-9d0f-6f1f6f0c9f52")
"""Namespace of the ids made here."""


class ProgramMissing(Exception):
    """There is no Claude Code program where the configuration, or the SDK, says."""


class ProgramExited(Exception):
    """The program ended, or never came up. The text is for a person."""


class PromptNotSent(ProgramExited):
    """It was gone before the prompt was written: the same prompt may be given to another one."""


@attrs.frozen
class ConversationRow:
    """The ids that a session's conversation has had or may get, oldest first; the first is the hub's own."""

    ids: tuple[str, ...]

    @classmethod
    def of(cls, agent_session_id: str) -> ConversationRow:
        """Build the row that begins with this id."""
        later = (str(uuid.uuid5(_ROW, f"{agent_session_id}/{n}")) for n in range(1, MAX_CONVERSATIONS))
        return cls((agent_session_id, *later))

    def newest(self, env: dict[str, str]) -> int | None:
        """Return the place of the newest one that has a transcript. Reads the disk: use a thread."""
        config = env.get("CLAUDE_CONFIG_DIR") or str(Path(env.get("HOME") or Path.home()) / ".claude")
        projects = Path(config) / "projects"
        found = [n for n, name in enumerate(self.ids) if any(projects.glob(f"*/{name}.jsonl"))]
        return max(found, default=None)


@attrs.define(eq=False)
class _Once(AsyncIterator[dict[str, Any]]):
    """One message as the stream that the SDK wants. No generator: trio warns of one that is not read to its end."""

    message: dict[str, Any] | None

    async def __anext__(self) -> dict[str, Any]:
        message, self.message = self.message, None
        if message is None:
            raise StopAsyncIteration
        return message


@attrs.define(eq=False)
class ClaudeSession:
    """A warm program. One turn at a time; after an error it must be closed and another one opened."""

    _client: ClaudeSDKClient
    _messages: AsyncIterator[Any]
    _asker: Asker
    _stderr: deque[str]
    _state: str | None = None
    """`running`, `idle` or `requires_action`, as the program last said."""
    _cost_total: float | None = None
    """What the program has counted up to now, US dollars; see `Outcome`."""
    _reading: bool = False
    _interrupted: bool = False
    _sent: trio.Event = attrs.field(factory=trio.Event)
    """Set once this turn's prompt is written: an interrupt that overtook it would stop nothing."""

    async def run_turn(self, prompt: Prompt, text: str, sink: Sink) -> TurnEnd:
        """Send `text` as the prompt and report until the program owes nothing more.

        A cancelled turn leaves the session unusable.

        Raises:
            PromptNotSent: the program was gone before the prompt was written.
            ProgramExited: it went in mid-turn.
            ClaudeSDKError: it said what the SDK cannot read.
        """
        prompt_uuid = str(uuid.uuid5(_ROW, f"{prompt.turn_id}/{sink.new_id()}"))
        outcome = Outcome(prompt.turn_id, prompt_uuid, self._cost_total)
        translator = Translator(prompt.turn_id)
        self._interrupted, self._reading, self._sent = False, True, trio.Event()
        try:
            async with self._asker.open_turn(sink, translator.has_begun):
                await self._send(prompt_uuid, text)
                self._sent.set()
                await self._follow(outcome, translator, sink)
        finally:
            self._reading = False
            self._sent.set()
        self._cost_total = outcome.cost_total
        return outcome.end(interrupted=self._interrupted)

    async def interrupt(self) -> None:
        """Ask the program to stop the turn and its sub-agents; wait for its word at most `INTERRUPT_S`.

        Raises nothing where the program is gone or refuses: who asked has force as the next step.
        """
        self._interrupted = True
        with trio.move_on_after(INTERRUPT_S):
            await self._sent.wait()
            try:
                await self._client.interrupt()
            except Exception as error:  # the SDK has no class of its own for a refused control request
                logger.info("the interrupt did not reach Claude Code: %s", type(error).__name__)

    async def aclose(self) -> None:
        """End the program: close its input, then, 5 s later each, SIGTERM and SIGKILL. Idempotent.

        The SDK shields this from cancellation, with those bounds.
        """
        await self._client.disconnect()
        if self._reading:
            return
        # The iterator is read to its end, which has come: trio warns of one that is dropped before.
        try:
            async for _ in self._messages:
                pass
        except (anyio.ClosedResourceError, ProcessError):
            return

    async def _send(self, prompt_uuid: str, text: str) -> None:
        message = {
            "type": "user",
            "message": {"role": "user", "content": text},
            "parent_tool_use_id": None,
            "uuid": prompt_uuid,
        }
        try:
            await self._client.query(_Once(message))
        except CLIConnectionError as error:
            raise PromptNotSent(self._last_words(None)) from error

    async def _follow(self, outcome: Outcome, translator: Translator, sink: Sink) -> None:
        consumed = False
        while not (outcome.answered and self._state in (None, "idle")):
            message = await self._next()
            if not consumed and outcome.prompt_uuid in named_uuids(message):
                consumed = True
                await sink.emit(Consumed(outcome.turn_id))
            for event in translator.translate(message, trio.current_time()):
                await sink.emit(event)
            self._asker.note_progress()
            match message:
                case SystemMessage(subtype="session_state_changed", data=data):
                    self._state = str(data.get("state"))
                case AssistantMessage() | ResultMessage():
                    outcome.note(message)
        for event in translator.flush():
            await sink.emit(event)

    async def _next(self) -> Any:
        try:
            return await anext(self._messages)
        except StopAsyncIteration:
            raise ProgramExited(self._last_words(0)) from None
        except ProcessError as error:
            raise ProgramExited(self._last_words(error.exit_code)) from error

    def _last_words(self, exit_code: int | None) -> str:
        return _told_end(exit_code, self._stderr)


async def open_session(spec: HubSpec) -> tuple[ClaudeSession, bool]:
    """Start the program on the session's newest conversation, or on a new one.

    Returns:
        The session, and whether its conversation is a new one.

    Raises:
        ProgramMissing: there is no program.
        ProgramExited: it did not come up.
    """
    row = ConversationRow.of(spec.agent_session_id)
    newest = await trio.to_thread.run_sync(row.newest, spec.env)
    if newest is None:
        return await _start(spec, session_id=row.ids[0]), True
    try:
        return await _start(spec, resume=row.ids[newest]), False
    except ProgramExited as error:
        logger.warning("the conversation of %s cannot be resumed: %s", spec.session_id, error)
        following = min(newest + 1, MAX_CONVERSATIONS - 1)
        return await _start(spec, session_id=row.ids[following]), True


async def _start(spec: HubSpec, *, session_id: str | None = None, resume: str | None = None) -> ClaudeSession:
    asker = Asker()
    stderr: deque[str] = deque(maxlen=STDERR_LINES)
    client = ClaudeSDKClient(_options(spec, asker, stderr, session_id=session_id, resume=resume))
    warnings.simplefilter("ignore", CanUseToolShadowedWarning)
    try:
        await client.connect()
    except CLINotFoundError as error:
        raise ProgramMissing(str(spec.options.get("cli_path") or "the SDK's own copy")) from error
    except (ProcessError, CLIConnectionError) as error:
        exit_code = error.exit_code if isinstance(error, ProcessError) else None
        raise ProgramExited(_told_end(exit_code, stderr)) from error
    cost_total = 0.0 if resume is None else None
    return ClaudeSession(client, client.receive_messages(), asker, stderr, cost_total=cost_total)


def _options(
    spec: HubSpec, asker: Asker, stderr: deque[str], *, session_id: str | None, resume: str | None
) -> ClaudeAgentOptions:
    """Set the program up as on the desktop: its own system prompt, the settings of user and project."""
    return ClaudeAgentOptions(
        cwd=spec.workspace,
        env={**spec.env, "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1"},
        model=spec.model or spec.options.get("model"),
        permission_mode=spec.permission_mode or spec.options.get("permission_mode"),  # type: ignore[arg-type]
        cli_path=spec.options.get("cli_path"),
        session_id=session_id,
        resume=resume,
        can_use_tool=asker.can_use_tool,
        include_partial_messages=True,
        setting_sources=["user", "project", "local"],
        system_prompt={"type": "preset", "preset": "claude_code"},
        max_buffer_size=MAX_MESSAGE_BYTES,
        stderr=stderr.append,
    )


def _told_end(exit_code: int | None, stderr: deque[str]) -> str:
    how = "ended" if exit_code is None else f"ended with exit status {exit_code}"
    words = "\n".join(stderr)[-STDERR_BYTES:]
    return f"Claude Code {how}." + (f" Its last words:\n{words}" if words else "")
