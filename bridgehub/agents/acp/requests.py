"""Answers an agent's requests during a turn: permissions, files, commands.

Files and commands need permission like tools. What the person has just allowed as a tool call of the agent is not asked
again in the same turn: an edit of that file, or that command. In a mode that edits without asking, no file is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import trio

from bridgehub.agents.acp.files import MAX_FILE_BYTES, BadFile, read_file, resolve, write_file
from bridgehub.agents.acp.offer import BYPASS, AcpOffer
from bridgehub.agents.acp.permissions import outcome_of, question_of
from bridgehub.agents.acp.start import CANCELLED
from bridgehub.agents.acp.terminals import BadTerminal, Terminals
from bridgehub.agents.acp.tools import ToolCall, clean_id
from bridgehub.agents.acp.translate import Translator
from bridgehub.agents.base import Sink
from bridgehub.agents.diffs import entry_of_texts, relative
from bridgehub.agents.json_rpc.messages import Fields
from bridgehub.agents.request_words import MAX_TITLE_CHARS, RequestWords
from bridgehub.agents.text import clean_text, cut_json
from bridgehub.protocol.events import HubEvent
from bridgehub.protocol.messages import Decided

__all__ = ["RequestHandler", "RequestRefused"]

INVALID_PARAMS = -32602
NOT_FOUND = -32601
REFUSED = -32003
"""Our error for something that a person denied."""

MAX_SHOWN_DIFF = 256 * 1024

_YES = ("allow", "allow_session")


class RequestRefused(Exception):
    """An error that answers the agent's request, with this text and `code`."""

    def __init__(self, text: str, code: int = INVALID_PARAMS) -> None:
        super().__init__(text)
        self.code = code


@attrs.define(eq=False)
class RequestHandler:
    """Answers one turn's requests.

    Attributes:
        emit: reports an event of the turn.
        notes: takes the reason that a person gives for a refusal. The protocol's answer has no field for it.
    """

    workspace: str
    session_id: str
    sink: Sink
    emit: Callable[[HubEvent], Any]
    translator: Translator
    terminals: Terminals
    offer: AcpOffer
    notes: list[str]
    may_bypass: bool = False
    _allowed_paths: set[str] = attrs.field(factory=set)
    _allowed_commands: set[str] = attrs.field(factory=set)

    async def answer(self, method: str, params: Fields) -> Mapping[str, Any] | None:
        """Carry out a request and return the result. Raises Refusal."""
        if params.text("sessionId") != self.session_id:
            await trio.lowlevel.checkpoint()
            if method == "session/request_permission":
                return CANCELLED
            raise RequestRefused("there is no such session")
        try:
            return await self._answer(method, params)
        except (BadFile, BadTerminal) as error:
            raise RequestRefused(str(error)) from error

    async def _answer(self, method: str, params: Fields) -> Mapping[str, Any] | None:
        terminal_id = params.text("terminalId")
        match method:
            case "session/request_permission":
                return await self._permission(params)
            case "fs/read_text_file":
                return await self._read(params)
            case "fs/write_text_file":
                return await self._write(params)
            case "terminal/create":
                return await self._run(params)
            case "terminal/wait_for_exit":
                return await self.terminals.wait(terminal_id)
        await trio.lowlevel.checkpoint()
        match method:
            case "terminal/output":
                return self.terminals.output(terminal_id)
            case "terminal/kill":
                self.terminals.kill(terminal_id)
                return {}
            case "terminal/release":
                self.terminals.release(terminal_id)
                return {}
        raise RequestRefused("not supported", NOT_FOUND)

    # ---- permissions ----

    async def _permission(self, params: Fields) -> Mapping[str, Any]:
        told, now = params.inner("toolCall"), trio.current_time()
        tool_id = told.text("toolCallId")
        if told.text("title") or told.text("kind") or told.value("rawInput"):
            for event in self.translator.note_tool(told, now, begin=True):
                await self.emit(event)
        tool = self.translator.tool(tool_id) or _unknown(told)
        diff = await trio.to_thread.run_sync(tool.diff, self.workspace, abandon_on_cancel=True)
        question = question_of(params, tool, diff, workspace=self.workspace, may_bypass=self.may_bypass)
        decided = await self.sink.ask(
            question.tool, question.tool_input, grant=question.grant, words=question.words
        )
        self.translator.allowed(tool_id, trio.current_time())
        if decided.decision in _YES:
            self._note_allowed(tool)
        elif decided.decision == "deny" and decided.note:
            self.notes.append(f"I did not allow {question.words.title!r}: {decided.note}")
        return outcome_of(decided, question.options)

    def _note_allowed(self, tool: ToolCall) -> None:
        if tool.command:
            self._allowed_commands.add(tool.command)
        if tool.kind in ("edit", "delete", "move"):
            for path in [*tool.paths, *tool.changes]:
                try:
                    self._allowed_paths.add(str(resolve(path, self.workspace)))
                except BadFile:
                    continue

    async def _ask(self, tool: str, shown: dict[str, Any], words: RequestWords, grant: str) -> None:
        decided: Decided = await self.sink.ask(tool, cut_json(shown).value, grant=grant, words=words)
        if decided.decision not in _YES:
            why = f": {decided.note}" if decided.note else ""
            raise RequestRefused(f"the person did not allow it{why}", REFUSED)

    # ---- files ----

    async def _read(self, params: Fields) -> Mapping[str, Any]:
        path, short = await trio.to_thread.run_sync(_place, params.text("path"), self.workspace)
        if str(path) not in self._allowed_paths and not self._mode_is(BYPASS):
            words = RequestWords("read", _line(f"Read {short}"), modes=self._modes(BYPASS))
            await self._ask("read", {"path": short}, words, "read files in the workspace")
        return {"content": await trio.to_thread.run_sync(self._read_now, path, params)}

    def _read_now(self, path: Path, params: Fields) -> str:
        _still(path, self.workspace)
        return read_file(path, params)

    async def _write(self, params: Fields) -> Mapping[str, Any] | None:
        path, short = await trio.to_thread.run_sync(_place, params.text("path"), self.workspace)
        content = params.maybe_text("content")
        if content is None or len(content) > MAX_FILE_BYTES:
            raise RequestRefused("the content is not text, or too long")
        if str(path) not in self._allowed_paths and not self._mode_is("edits", BYPASS):
            diff = await trio.to_thread.run_sync(_write_diff, path, short, content, abandon_on_cancel=True)
            modes = self._modes("edits", BYPASS)
            words = RequestWords("edit", _line(f"Write {short}"), modes=modes, diff=diff)
            shown = {"path": short, "content": clean_text(content)}
            await self._ask("edit", shown, words, "write files in the workspace")
        await trio.to_thread.run_sync(self._write_now, path, content)
        return None

    def _write_now(self, path: Path, content: str) -> None:
        _still(path, self.workspace)
        write_file(path, content, self.workspace)

    # ---- commands ----

    async def _run(self, params: Fields) -> Mapping[str, Any]:
        folder = self.workspace
        given = params.text("cwd")
        if given and Path(given) != Path(folder):
            inside = await trio.to_thread.run_sync(_folder, given, folder)
            folder = str(inside)
        words = [params.text("command"), *(str(one) for one in params.each("args"))]
        command = clean_text(" ".join(words))
        if command not in self._allowed_commands and not self._mode_is(BYPASS):
            shown = {"command": command, "cwd": folder}
            told = RequestWords("command", _line(f"Run {command}"), modes=self._modes(BYPASS))
            await self._ask("execute", shown, told, f"run {command} in {folder}")
        return {"terminalId": await self.terminals.create(params, folder)}

    # ---- modes ----

    def _mode_is(self, *kinds: str) -> bool:
        choice = self.offer.choices.get("permission_mode")
        if choice is None or choice.current is None:
            return False
        kind = self.offer.kind_of(choice.current)
        return kind in kinds and (kind != BYPASS or self.may_bypass)

    def _modes(self, *kinds: str) -> tuple[str, ...]:
        return self.offer.modes_of_kind(*kinds)


def _unknown(told: Fields) -> ToolCall:
    tool = ToolCall(clean_id(told.text("toolCallId")))
    tool.take(told)
    return tool


def _place(given: str, workspace: str) -> tuple[Path, str]:
    path = resolve(given, workspace)
    return path, relative(str(path), str(Path(workspace).resolve()))


def _still(path: Path, workspace: str) -> None:
    """Refuse a path that has changed its target while a person was asked."""
    if resolve(str(path), workspace) != path:
        raise BadFile("the path leads to another file now")


def _folder(given: str, workspace: str) -> Path:
    root = Path(workspace).resolve()
    path = root if (root / given).resolve() == root else resolve(given, workspace)
    if not path.is_dir():
        raise BadFile("the folder is not there")
    return path


def _write_diff(path: Path, short: str, content: str) -> list[dict[str, Any]] | None:
    old: str | None = None
    if path.exists():
        try:
            old = read_file(path, Fields())
        except BadFile:
            return None
    if len(old or "") + len(content) > MAX_SHOWN_DIFF:
        return None
    return [entry_of_texts(short, old, clean_text(content))]


def _line(text: str) -> str:
    line = " ".join(text[: 4 * MAX_TITLE_CHARS].split())
    return line if len(line) <= MAX_TITLE_CHARS else line[: MAX_TITLE_CHARS - 1] + "…"
