"""Rows of a Claude Code transcript: what a row says, and which rows are the conversation as it stands. Pure.

A transcript is a tree: each row names the one before it, and a rewind makes a second row after the same one. Rows of
unknown types are common and say nothing here.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterable
from typing import Any

import attrs

from bridgehub.agents.claude.translate.edits import told_diff
from bridgehub.desk.claude_settings import mode_of, model_of
from bridgehub.desk.files import parse
from bridgehub.desk.records import MAX_TEXT, DeskEvent, Said, ToolCalled, ToolReturned
from bridgehub.desk.turns import RowParts, read_time

__all__ = [
    "ENTRYPOINT",
    "OUR_WAYS",
    "ROW_COSTS",
    "Branch",
    "read_branch",
    "row_id",
    "row_parts",
]

ENTRYPOINT = "builderos"
"""How our own programs are called in the rows that they write."""

OUR_WAYS = (ENTRYPOINT, "sdk-py")
"""The same, with the name that those of an earlier version had."""

HELD_ROWS, HELD_CHARS = 256, 4 * 1024 * 1024
"""Rows beside the branch that are kept while it is read, and their characters: tools that ran at the same time."""

_ROW_ID = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")
"""Not `uuid.UUID`, which takes ten times as long: a large record has a million rows with two ids each."""

ROW_COSTS = 400
"""Characters as which a row counts, beside its text: about what it costs in memory."""

_INTERRUPTED = "[Request interrupted by user"
_COMMAND = re.compile(r"<command-name>\s*/?([^<]{1,200})</command-name>")
_ARGUMENTS = re.compile(r"<command-args>([^<]{0,20000})</command-args>")
_NOT_SAID = (
    "<local-command",
    "<task-notification",
    "<bash-",
    "<system-reminder",
    "Caveat: The messages below",
)
_RESTS = frozenset({"end_turn", "stop_sequence", "max_tokens", "refusal"})


def row_id(value: object) -> str:
    """Return an id of a row; empty if it is none."""
    if not isinstance(value, str) or _ROW_ID.fullmatch(value) is None:
        return ""
    return value.lower()


def row_parts(row: dict[str, Any]) -> RowParts | None:
    """Return what a row says in the conversation; None if nothing."""
    at_ms, key = read_time(row.get("timestamp")), row_id(row.get("uuid"))
    if row.get("isSidechain") is True or not key:
        return None
    kind = row.get("type")
    if kind == "assistant":
        return _answer(row, key, at_ms)
    if kind == "user":
        return _user(row, key, at_ms)
    if kind == "system" and row.get("subtype") == "turn_duration":
        return RowParts("end", at_ms)
    return None


def _user(row: dict[str, Any], key: str, at_ms: int) -> RowParts | None:
    if row.get("isMeta") is True or row.get("isCompactSummary") is True:
        return None
    content = _content(row)
    results = [each for each in content if each.get("type") == "tool_result"]
    if results:
        told = tuple(_result(each, row, at_ms, is_only=len(results) == 1) for each in results)
        return RowParts("part", at_ms, key, parts=told)
    text = "\n".join(_text_of(each) for each in content)[:MAX_TEXT]
    if text.startswith(_INTERRUPTED):
        return RowParts("interrupt", at_ms)
    if (command := _COMMAND.search(text[:2000])) is not None:
        given = _ARGUMENTS.search(text)
        said = f"/{command[1].strip()} {given[1].strip() if given else ''}".strip()
        return RowParts("command", at_ms, key, said)
    if not text.strip() or text.lstrip().startswith(_NOT_SAID):
        return None
    return RowParts("prompt", at_ms, key, text)


def _answer(row: dict[str, Any], key: str, at_ms: int) -> RowParts | None:
    message = row.get("message")
    message = message if isinstance(message, dict) else {}
    told: list[DeskEvent] = []
    for place, block in enumerate(_content(row)):
        name = f"{key}-{place}"
        match block.get("type"):
            case "text" if message.get("model") != "<synthetic>" or row.get("isApiErrorMessage") is True:
                told.append(Said(at_ms, name, _string(block.get("text"))))
            case "thinking":
                told.append(Said(at_ms, name, _string(block.get("thinking")), is_thinking=True))
            case "tool_use":
                tool_id = _string(block.get("id"))[:128] or name
                tool = _string(block.get("name"))[:200] or "tool"
                told.append(ToolCalled(at_ms, tool_id, tool, block.get("input")))
    told = [each for each in told if not isinstance(each, Said) or each.text]
    rests = message.get("stop_reason") in _RESTS
    return RowParts("part", at_ms, key, parts=tuple(told), rests=rests) if told or rests else None


def _result(block: dict[str, Any], row: dict[str, Any], at_ms: int, *, is_only: bool) -> ToolReturned:
    content = block.get("content")
    if isinstance(content, list):
        content = "\n".join(_text_of(each) for each in content[:1000] if isinstance(each, dict))
    diff = told_diff(row.get("toolUseResult")) if is_only else None
    tool_id = _string(block.get("tool_use_id"))[:128]
    return ToolReturned(at_ms, tool_id, _string(content), block.get("is_error") is True, diff)


def _content(row: dict[str, Any]) -> list[dict[str, Any]]:
    message = row.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        return []
    return [each for each in content[:1000] if isinstance(each, dict)]


def _text_of(block: dict[str, Any]) -> str:
    kind = block.get("type")
    return _string(block.get("text")) if kind == "text" else f"[{kind}]" if isinstance(kind, str) else ""


def _string(value: object) -> str:
    return value[:MAX_TEXT].encode(errors="replace").decode() if isinstance(value, str) else ""


@attrs.define
class Branch:
    """The conversation as it stands, oldest row first.

    Attributes:
        rows: what they say; empty if only their ids are wanted.
        leaf: its newest row.
        is_cut: whether older rows were left out.
        ids: which of the wanted rows it has. A large record has a million rows, so only those are kept.
        mode: the newest permission mode; empty if only ids are wanted.
        model: which one the newest answer was asked of, if a terminal asked; empty if only ids are wanted.
    """

    rows: list[RowParts] = attrs.field(factory=list)
    leaf: str = ""
    is_cut: bool = False
    ids: set[str] = attrs.field(factory=set)
    mode: str = ""
    model: str = ""


def read_branch(
    lines: Iterable[bytes],
    *,
    messages: int,
    size: int | None = None,
    wanted: Collection[str] = (),
    heeds_note: bool = True,
) -> Branch:
    """Read the branch out of a transcript's lines, given from the last to the first.

    It ends at its newest row: the one that the program noted last, or the last one if none was noted after it.

    Args:
        messages: how many of a person's messages are read at most.
        size: how many characters of text. None: nothing but `wanted` is read.
        wanted: ids of rows. Once they are found, nothing more is read.
        heeds_note: whether the row counts that the program noted; it may be gone.
    """
    branch, held, following, noted = Branch(), _Held(), "", ""
    left = 0 if size is None else size
    seeks_mode = seeks_model = size is not None
    for line in lines:
        # Most of a large record are rows of other kinds, some of them long.
        has_mode = seeks_mode and b'"permissionMode"' in line
        row = parse(line) if has_mode or b'"uuid"' in line or b'"last-prompt"' in line else None
        if row is None:
            continue
        if has_mode and row.get("isSidechain") is not True and (mode := mode_of(row)):
            branch.mode, seeks_mode = mode, False
        if not branch.leaf and row.get("type") == "last-prompt":
            noted = noted or (row_id(row.get("leafUuid")) if heeds_note else "")
            continue
        name = row_id(row.get("uuid"))
        if not name or row.get("isSidechain") is True:
            continue
        if not branch.leaf:
            if noted and name != noted:
                if size is not None:
                    held.keep(row, name)
                continue
            branch.leaf = following = name
        if name != following:
            if size is not None:
                held.keep(row, name)
            continue
        if messages <= 0 or (size is not None and left <= 0):
            break
        said = row_parts(row) if size is not None or row.get("type") == "user" else None
        messages -= said is not None and said.kind in ("prompt", "command")
        if size is None:
            if name in wanted:
                branch.ids.add(name)
                if len(branch.ids) == len(wanted):
                    break
        else:
            if seeks_model and row.get("type") == "assistant":
                is_ours = row.get("entrypoint") in OUR_WAYS
                branch.model = "" if is_ours else model_of(row)
                seeks_model = not (is_ours or branch.model)
            branch.rows += reversed(held.beside(row))
            if said is not None:
                branch.rows.append(said)
                left -= _size(said)
        following = row_id(row.get("parentUuid")) or row_id(row.get("logicalParentUuid"))
        if not following:
            break
    branch.is_cut |= bool(following)
    branch.rows.reverse()
    return branch


def _size(said: RowParts) -> int:
    texts = [said.text or "", *(getattr(one, "text", "") or getattr(one, "output", "") for one in said.parts)]
    inputs = [one.input for one in said.parts if isinstance(one, ToolCalled)]
    return sum(map(len, texts)) + sum(len(str(one)) for one in inputs) + ROW_COSTS


class _Held:
    """Rows beside the branch: calls and results of tools that ran at the same time as one that is on it."""

    def __init__(self) -> None:
        self._rows: deque[tuple[str, str, RowParts]] = deque()
        self._chars = 0

    def keep(self, row: dict[str, Any], name: str) -> None:
        """Keep a row that may belong to one before it."""
        said = row_parts(row)
        if said is not None and said.kind == "part" and not any(isinstance(one, Said) for one in said.parts):
            self._rows.append((name, _message_id(row) or row_id(row.get("sourceToolAssistantUUID")), said))
            self._chars += _size(said)
            while len(self._rows) > HELD_ROWS or self._chars > HELD_CHARS:
                self._chars -= _size(self._rows.popleft()[2])

    def beside(self, row: dict[str, Any]) -> list[RowParts]:
        """Take the kept rows of the same answer, and the results of their calls, oldest first."""
        message = _message_id(row)
        if not message:
            return []
        found = [one for one in self._rows if one[1] == message]
        names = {row_id(row.get("uuid")), *(name for name, _, _ in found)}
        taken = [one for one in self._rows if one[1] == message or one[1] in names]
        for one in taken:
            self._rows.remove(one)
            self._chars -= _size(one[2])
        return [said for _, _, said in reversed(taken)]


def _message_id(row: dict[str, Any]) -> str:
    message = row.get("message")
    return (
        _string(message.get("id"))[:128]
        if row.get("type") == "assistant" and isinstance(message, dict)
        else ""
    )
