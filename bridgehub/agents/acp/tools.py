"""An agent's tool calls: a name, an input and an output that a client can draw. Only `diff` does I/O.

The protocol has no names of tools. So the name is the call's kind (`execute`, `edit`, …), or `tool` for all other kinds.
The input has `title`, `paths`, `command` (of a call that executes) and `input`, the agent's own. Absent parts are left
out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import attrs
import orjson

from bridgehub.agents.acp.files import BadFile, read_file, resolve
from bridgehub.agents.diffs import entry_of_texts, relative
from bridgehub.agents.json_rpc.messages import Fields
from bridgehub.agents.pictures import picture_of
from bridgehub.agents.text import MAX_TOOL_BYTES, clean_text
from bridgehub.protocol.tool_events import MAX_OUTPUT_CHARS, ToolOutput

__all__ = ["KINDS", "ToolCall", "clean_id", "clean_json", "content_text"]

KINDS = frozenset({"read", "edit", "delete", "move", "search", "execute", "think", "fetch", "switch_mode"})

MAX_PATHS = 50
MAX_TITLE_CHARS = 500
MAX_ID_CHARS = 200

MAX_DIFF_CHARS = 1024 * 1024
MAX_DIFF_LINES = 4000
"""Lines of both texts of a diff together. To compare longer ones takes too long."""

MAX_KEPT_DIFF_CHARS = 256 * 1024
"""Characters of a call's diffs that are kept until it ends."""

MAX_DEPTH = 32


def clean_id(given: str) -> str:
    """Return an id that the session can keep. A long one is replaced by its hash."""
    if len(given) <= MAX_ID_CHARS:
        return clean_text(given)
    return hashlib.sha256(given.encode(errors="surrogatepass")).hexdigest()


def clean_json(value: Any, levels: int = MAX_DEPTH) -> Any:
    """Return JSON data with every string clean. Values that are nested too deeply are left out."""
    if isinstance(value, str):
        return clean_text(value)
    if levels <= 0:
        return None if isinstance(value, dict | list) else value
    if isinstance(value, list):
        return [clean_json(part, levels - 1) for part in value]
    if isinstance(value, dict):
        return {clean_text(str(name)): clean_json(part, levels - 1) for name, part in value.items()}
    return value


def content_text(block: Fields) -> str:
    """Return a content block as text. Any other kind is named in brackets."""
    match block.text("type"):
        case "text":
            return block.text("text")
        case "resource_link":
            return f"[{block.text('name') or 'file'}]({block.text('uri')})"
        case "resource":
            return block.inner("resource").text("text") or f"[{block.inner('resource').text('uri')}]"
    picture = picture_of(block.raw)
    return f"[{block.text('type') or 'data'}]" if picture is None else picture.words


@attrs.define(eq=False)
class ToolCall:
    """A tool call, with everything reported of it. `since`: the monotonic second at which it began."""

    tool_id: str
    title: str = ""
    kind: str = "other"
    status: str = "pending"
    paths: list[str] = attrs.field(factory=list)
    raw_input: Any = None
    raw_output: Any = None
    content: tuple[Fields, ...] = ()
    said: tuple[int, str] = (0, "")
    """The newest part of the text that the call has reported, after the number of characters before it."""
    changes: dict[str, Fields] = attrs.field(factory=dict)
    """The files that the call changes, by path, in the agent's form: `path`, `oldText`, `newText`."""
    absent: set[str] = attrs.field(factory=set)
    """Those that did not exist when a person was asked."""
    is_begun: bool = False
    since: float = 0.0

    def take(self, told: Fields) -> None:
        """Take a `tool_call` or an update of it. Reported fields replace earlier ones."""
        self.title = clean_text(told.text("title")[:MAX_TITLE_CHARS]) or self.title
        kind = told.text("kind")
        if kind:
            self.kind = kind if kind in KINDS else "other"
        self.status = told.text("status") or self.status
        if told.value("locations") is not None:
            found = [clean_text(one.text("path")) for one in told.objects("locations")[:MAX_PATHS]]
            self.paths = [path for path in found if path]
        if told.value("rawInput") not in (None, {}):
            self.raw_input = clean_json(told.value("rawInput"))
        if told.value("rawOutput") is not None:
            self.raw_output = clean_json(told.value("rawOutput"))
        if told.value("content") is not None:
            self.content = told.objects("content")
            self._note_changes()
            self.said = _newest(0, "\n".join(part for part in self._texts() if part))

    @property
    def name(self) -> str:
        """The id that clients see."""
        return self.kind if self.kind in KINDS else "tool"

    @property
    def is_over(self) -> bool:
        """Whether the call has ended."""
        return self.status in ("completed", "failed")

    @property
    def is_ready(self) -> bool:
        """Whether there is enough to show. Some agents announce a call first and send its input later."""
        return self.raw_input is not None or bool(self.changes) or self.status != "pending"

    @property
    def command(self) -> str:
        """The command of a call that executes. Empty if it does not execute, or if the command is unknown."""
        if self.kind != "execute" or not isinstance(self.raw_input, dict):
            return ""
        command = self.raw_input.get("command")
        if isinstance(command, list):
            command = " ".join(str(word) for word in command)
        return command if isinstance(command, str) else ""

    def trim(self) -> None:
        """Drop data that is too large to keep until the call ends. Call it after everything else has read the call."""
        if self.raw_input is not None and _size(self.raw_input) > MAX_TOOL_BYTES:
            self.raw_input = {"command": self.command[:MAX_TITLE_CHARS]} if self.command else {}
        if _size([one.raw for one in self.content]) > MAX_TOOL_BYTES:
            self.content = ()
        if _size(self.raw_output) > MAX_TOOL_BYTES:
            self.raw_output = None
        if _size([one.raw for one in self.changes.values()]) > MAX_KEPT_DIFF_CHARS:
            self.changes.clear()

    def shown_input(self) -> dict[str, Any]:
        """Return the call's input in the form for clients."""
        paths = self.paths or [clean_text(path) for path in self.changes]
        shown = {"title": self.title, "command": self.command, "paths": paths, "input": self.raw_input}
        return {name: value for name, value in shown.items() if value}

    def output(self, terminal_text: Callable[[str], str]) -> str:
        """Return the call's output. `terminal_text` returns the output of our terminals."""
        parts = self._texts(terminal_text)
        told = "\n".join(part for part in parts if part)
        if told or self.raw_output is None:
            return clean_text(told)
        if isinstance(self.raw_output, dict) and isinstance(self.raw_output.get("output"), str):
            return str(self.raw_output["output"])
        return self.raw_output if isinstance(self.raw_output, str) else _json(self.raw_output)

    def printed(self, recent: Callable[[str], tuple[int, str]]) -> ToolOutput | None:
        """Return what the running call has printed so far. `recent` returns the newest output of our terminals."""
        offset, text = self.said
        for one in self.content:
            before, newest = recent(one.text("terminalId")) if one.text("type") == "terminal" else (0, "")
            between = "\n" if text and newest else ""
            if before:  # what lies between is not kept
                offset, text = offset + len(text + between) + before, newest
            else:
                text += between + newest
        offset, text = _newest(offset, text)
        return ToolOutput(self.tool_id, self.name, clean_text(text), offset) if text else None

    def _texts(self, terminal_text: Callable[[str], str] = lambda terminal_id: "") -> list[str]:
        parts = []
        for one in self.content:
            match one.text("type"):
                case "content":
                    parts.append(content_text(one.inner("content")))
                case "terminal":
                    parts.append(terminal_text(one.text("terminalId")))
        return parts

    def shown_parts(self) -> list[object]:
        """Return the parts of the call's output, some of which may be pictures."""
        return [one.inner("content").raw for one in self.content if one.text("type") == "content"]

    def diff(self, workspace: str, *, is_over: bool = False) -> list[dict[str, Any]] | None:
        """Return the call's changes as file entries (PROTOCOL section 9). Reads the files: use a thread.

        An agent may give a part of a file's text. It is sought in the file, so that the lines have their numbers.
        """
        entries = []
        for given, one in tuple(self.changes.items()):
            part = (one.maybe_text("oldText"), one.maybe_text("newText"))
            texts = next(filter(_is_short, (self._whole(given, *part, workspace, is_over), part)), None)
            if texts is not None:
                path = relative(clean_text(given), workspace)
                entries.append(
                    entry_of_texts(path, *(None if text is None else clean_text(text) for text in texts))
                )
        return entries or None

    def _whole(
        self, given: str, old: str | None, new: str | None, workspace: str, is_over: bool
    ) -> tuple[str | None, str | None]:
        """Return the texts of the whole file for those of a part of it, or the same ones."""
        try:
            path = resolve(given, workspace)
            if not is_over and not old and not path.exists():
                self.absent.add(given)
            text = "" if given in self.absent else read_file(path, Fields())
        except (BadFile, OSError):
            return old, new
        if given in self.absent:
            return old or None, new
        part, other = (new, old or "") if is_over else (old, new or "")
        if not part or part == text or text.count(part) != 1:
            return old, new
        changed = text.replace(part, other)
        return (changed, text) if is_over else (text, changed)

    def _note_changes(self) -> None:
        """Take the diffs in the content. The text of a whole file is kept if a part of it comes later, or nothing."""
        for one in self.content:
            path, known = one.text("path"), self.changes.get(one.text("path"))
            if one.text("type") != "diff" or not path or (known is None and len(self.changes) >= MAX_PATHS):
                continue
            if known is None or not _is_within(one, known):
                self.changes[path] = one


def _is_within(part: Fields, whole: Fields) -> bool:
    return all(part.text(name) in whole.text(name) for name in ("oldText", "newText"))


def _is_short(texts: tuple[str | None, str | None]) -> bool:
    size, lines = (sum(map(count, (text or "" for text in texts))) for count in (len, _lines_of))
    return size <= MAX_DIFF_CHARS and lines <= MAX_DIFF_LINES


def _lines_of(text: str) -> int:
    return text.count("\n")


def _newest(offset: int, text: str) -> tuple[int, str]:
    extra = max(0, len(text) - MAX_OUTPUT_CHARS)
    return offset + extra, text[extra:]


def _size(value: Any) -> int:
    """Return the approximate number of characters in a JSON value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return 8 + sum(map(_size, value))
    if isinstance(value, dict):
        return 8 + sum(len(name) + _size(part) for name, part in value.items())
    return 8


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # a number that is too large for orjson
        return str(value)
