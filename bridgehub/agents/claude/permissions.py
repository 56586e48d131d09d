"""Carries Claude Code's permission questions to a person and the answers back.

The SDK calls back from a task of its own, outside every nursery. So the question moves into the running turn's nursery,
where it waits for the person and ends with the turn. If no turn runs, the program has just begun something by itself.
Then the question waits a moment for that turn.

What a person allows for the session goes to the program as the rules that it suggests for such calls. The rules end with
the program. This hub and its successors keep the words for them (`grant`), and answer without a person when the next
program asks for the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import attrs
import orjson
import trio
from claude_agent_sdk import (
    PermissionResultAllow,
    PermissionResultDeny,
    PermissionUpdate,
    ToolPermissionContext,
)
from claude_agent_sdk.types import PermissionRuleValue

from bridgehub.agents.base import Sink
from bridgehub.agents.claude.switches import ClaudeSwitches
from bridgehub.agents.claude.translate.edits import wanted_diff
from bridgehub.agents.request_words import RequestWords, plain_words
from bridgehub.agents.text import clean_text, cut_json
from bridgehub.protocol.messages import Decided

__all__ = ["AnnouncedCalls", "PermissionBroker", "PermissionResult", "grant_of", "reading_rule"]

PermissionResult = PermissionResultAllow | PermissionResultDeny

TOOL_SEEN_S = 1.0
"""How long a question waits until its tool call is reported, so that a person sees them in order, seconds."""

PLAN_TOOL = "ExitPlanMode"
"""The tool by which the agent asks for approval of its plan."""

BYPASS = "bypassPermissions"

QUESTION_TOOL = "AskUserQuestion"
"""The tool by which the agent asks the person something. The answers return inside its input."""

MAX_GRANT_CHARS = 1000
"""Code points of a grant. A longer one is not offered for the session, since nobody would read it."""

_MODES = {
    "acceptEdits": "edit files in the workspace without asking",
    BYPASS: "use every tool without asking",
}
"""Permission modes that the program suggests, in words for a person."""

_EDITABLE = {"Bash": "command", "ExitPlanMode": "plan"}
"""Fields of a tool's input that a person may change before they allow the call."""

TURN_COMES_S = 10.0
"""How long a question waits for the turn that it belongs to, seconds."""

_NO_TURN = "Nobody can be asked between two turns. Ask again in the next one."
_TURN_OVER = "The turn ended before anybody answered."


class AnnouncedCalls(Protocol):
    """The turn's tool calls that a person can see."""

    def has_begun(self, tool_id: str) -> bool:
        """Return whether the call has been reported."""
        ...

    def task_of(self, tool_id: str) -> str | None:
        """Return the task inside which the call was made."""
        ...


@attrs.define(eq=False)
class _Question:
    tool: str
    tool_input: dict[str, Any]
    context: ToolPermissionContext
    answered: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    answer: PermissionResult = attrs.field(factory=lambda: PermissionResultDeny(message=_TURN_OVER))


@attrs.define(eq=False)
class _Turn:
    nursery: trio.Nursery
    sink: Sink
    calls: AnnouncedCalls
    open: set[_Question] = attrs.field(factory=set)
    progress: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class PermissionBroker:
    """Takes the SDK's questions for one running program. One turn at a time.

    Attributes:
        readable: files that the person attached. The agent reads them without asking.
        may_bypass: whether the program may enter the mode that never asks.
        switches: the program's settings. None until it is ready.
    """

    readable: set[str] = attrs.field(factory=set)
    may_bypass: bool = False
    switches: ClaudeSwitches | None = None
    _turn: _Turn | None = None
    _opened: trio.Event = attrs.field(factory=trio.Event)

    @asynccontextmanager
    async def open_turn(self, sink: Sink, calls: AnnouncedCalls) -> AsyncIterator[None]:
        """Pass questions to `sink` while inside the block. At its end, open questions are answered with no.

        Args:
            sink: asks the person.
            calls: the calls that were reported to the sink.

        Raises:
            ExceptionGroup: what the block or the sink raised.
        """
        async with trio.open_nursery() as nursery:
            turn = self._turn = _Turn(nursery, sink, calls)
            self._opened.set()
            try:
                yield
            finally:
                self._turn, self._opened = None, trio.Event()
                nursery.cancel_scope.cancel(reason="the turn is over")
                for question in turn.open:
                    question.answered.set()

    def note_progress(self) -> None:
        """Wake questions that wait until their tool call is reported."""
        if self._turn is not None:
            self._turn.progress.set()
            self._turn.progress = trio.Event()

    async def hold(self, tool_input: Any, tool_use_id: str | None, context: Any) -> dict[str, Any]:
        """Delay a tool until the workspace is saved in its state before the turn. The SDK calls it before each tool.

        It answers nothing: whether the tool may run is decided elsewhere.
        """
        turn = self._turn
        if turn is None:
            await trio.lowlevel.checkpoint()
        else:
            await turn.sink.work_saved()
        return {}

    async def can_use_tool(
        self, tool: str, tool_input: dict[str, Any], context: ToolPermissionContext
    ) -> PermissionResult:
        """Ask the person whether the tool may run, without a time limit. Called by the SDK.

        The program cancels it to withdraw its question. Then the person's request is withdrawn too.
        """
        turn = self._turn
        if tool == "Read" and tool_input.get("file_path") in self.readable:
            await trio.lowlevel.checkpoint()
            return _allow_reading(str(tool_input["file_path"]))
        if turn is None:
            with trio.move_on_after(TURN_COMES_S):
                await self._opened.wait()
            turn = self._turn
        if turn is None:
            return PermissionResultDeny(message=_NO_TURN)
        question = _Question(tool, tool_input, context)
        turn.open.add(question)
        turn.nursery.start_soon(self._ask, turn, question)
        try:
            await question.answered.wait()
        finally:
            turn.open.discard(question)
            question.scope.cancel()
        return question.answer

    async def _ask(self, turn: _Turn, question: _Question) -> None:
        with question.scope:
            context = question.context
            await _until_told(turn, context.tool_use_id)
            questions = question.tool_input.get("questions") if question.tool == QUESTION_TOOL else None
            no_grant = questions or question.tool == PLAN_TOOL
            grant = None if no_grant else grant_of(context.suggestions)
            shown = cut_json(question.tool_input).value
            words = self._words(question, shown, questions)
            diff = await trio.to_thread.run_sync(wanted_diff, question.tool, question.tool_input)
            decided = await turn.sink.ask(
                question.tool,
                shown,
                questions,
                grant=grant,
                task_id=turn.calls.task_of(context.tool_use_id or ""),
                words=attrs.evolve(words, diff=diff),
            )
            if decided.decision == "allow_session" and grant is not None and self.switches is not None:
                for one in context.suggestions:
                    self.switches.lend_mode(one.mode if one.type == "setMode" else None)
            if decided.mode is not None and self.switches is not None:
                self.switches.expect_mode(decided.mode)
            question.answer = _result(decided, question, is_granted=grant is not None)
        question.answered.set()

    def _words(self, question: _Question, shown: Any, questions: Any) -> RequestWords:
        """Return what a person reads. A field is editable if it is shown whole."""
        words = plain_words(question.tool, shown, questions)
        field = _EDITABLE.get(question.tool)
        has_field = field is not None and isinstance(shown, dict) and isinstance(shown.get(field), str)
        modes: list[str] = []
        if words.kind not in ("plan", "question"):
            modes += [one.mode for one in question.context.suggestions if one.type == "setMode" and one.mode]
            modes += [BYPASS] if self.may_bypass else []
        editable = (field,) if field is not None and has_field else ()
        return attrs.evolve(words, editable=editable, modes=tuple(dict.fromkeys(modes)))


async def _until_told(turn: _Turn, tool_id: str | None) -> None:
    with trio.move_on_after(TOOL_SEEN_S):
        await trio.lowlevel.checkpoint()
        while tool_id is not None and not turn.calls.has_begun(tool_id):
            await turn.progress.wait()


def _result(decided: Decided, question: _Question, *, is_granted: bool) -> PermissionResult:
    match decided.decision:
        case "allow_session" if is_granted:
            return PermissionResultAllow(
                updated_input=_changed_input(question.tool_input, decided),
                updated_permissions=[
                    *(_for_session(question.context.suggestions) or ()),
                    *(_mode_of(decided) or ()),
                ]
                or None,
            )
        case "allow" | "allow_session":
            return PermissionResultAllow(
                updated_input=_changed_input(question.tool_input, decided),
                updated_permissions=_mode_of(decided),
            )
        case "deny":
            return PermissionResultDeny(message=decided.note or "The person said no.")
        case "cancelled":
            return PermissionResultDeny(message="The person stopped the turn.")


def _mode_of(decided: Decided) -> list[PermissionUpdate] | None:
    """Return the update that switches the program to the mode in the answer."""
    mode: Any = decided.mode
    return None if mode is None else [PermissionUpdate("setMode", mode=mode, destination="session")]


def _changed_input(tool_input: dict[str, Any], decided: Decided) -> dict[str, Any] | None:
    """Return the input with the person's changes and answers (question to answer). None: unchanged."""
    changed = decided.input if isinstance(decided.input, dict) else {}
    answers = (
        {"answers": _told_answers(tool_input, decided.answers)} if isinstance(decided.answers, dict) else {}
    )
    return {**tool_input, **changed, **answers} if changed or answers else None


def _told_answers(tool_input: dict[str, Any], answers: dict[str, Any]) -> dict[str, str]:
    """Return the answers in the program's form: a text for each question, by the question as it wrote it."""
    asked = tool_input.get("questions")
    texts = [one.get("question") for one in asked if isinstance(one, dict)] if isinstance(asked, list) else []
    written = {clean_text(text): text for text in texts if isinstance(text, str)}
    return {written.get(clean_text(name), name): _as_text(value) for name, value in answers.items()}


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_as_text, value))
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _allow_reading(path: str) -> PermissionResult:
    """Allow the program to read an attached file and, from then on, all files in its folder."""
    rule = PermissionRuleValue("Read", reading_rule(str(Path(path).parent)))
    update = PermissionUpdate("addRules", rules=[rule], behavior="allow", destination="session")
    return PermissionResultAllow(updated_permissions=[update])


def reading_rule(folder: str) -> str:
    """Return the content of the program's rule for `Read` that covers all files below an absolute folder."""
    return f"/{folder}/**"


def grant_of(suggestions: list[PermissionUpdate]) -> str | None:
    """Return in words for a person what the program suggests to allow. None if there is nothing to offer.

    The same suggestion always gives the same words, since they are compared.
    """
    words = [_words(update) for update in suggestions]
    known = [each for each in words if each is not None]
    told = "; ".join(known)
    return told if told and len(known) == len(words) and len(told) <= MAX_GRANT_CHARS else None


def _words(update: PermissionUpdate) -> str | None:
    match update:
        case PermissionUpdate(type="addRules", behavior="allow", rules=[_, *_] as rules):
            return "; ".join(_rule_words(rule.tool_name, rule.rule_content) for rule in rules)
        case PermissionUpdate(type="addDirectories", directories=[_, *_] as folders):
            return "; ".join(f"use the folder {folder}" for folder in folders)
        case PermissionUpdate(type="setMode", mode=str(mode)):
            return _MODES.get(mode)
    return None


def _rule_words(tool: str, content: str | None) -> str:
    return f"use {tool} for {content}" if content else f"use {tool}"


def _for_session(suggestions: list[PermissionUpdate]) -> list[PermissionUpdate] | None:
    """Return the program's suggestions, limited to this session. Unchanged, some of them go to disk.

    They belong together. For a command that writes files the rule alone is not enough: without its mode for edits the
    program would ask again. If it suggests nothing, it asks again.
    """
    return [replace(update, destination="session") for update in suggestions] or None
