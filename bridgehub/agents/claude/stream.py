"""What Claude Code writes, with neighbouring pieces of a text joined before the SDK sees them.

The program writes a line for each piece of text, and the SDK takes each through three tasks: at 35,000 pieces a
second that is more than one processor has. So what one read brought is joined here, and a read that follows
pieces waits `JOIN_S` for their neighbours, while they gather in the pipe. A person's pace is far slower, and
there nothing waits. What is no piece is handed on as it came, a question of the program among it.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import anyio
import anyio.abc
import attrs
import orjson
import trio
from claude_agent_sdk import ClaudeAgentOptions
from claude_agent_sdk._internal.transport.subprocess_cli import SubprocessCLITransport

from bridgehub.agents.base import JOIN_S

__all__ = ["JoiningTransport", "Output", "join_lines"]

READ_BYTES = 64 * 1024
"""Bytes taken at once: what a pipe holds. A line that is longer is handed on in parts."""

_EVENT = b'{"type":"stream_event","event":{"type":"content_block_delta"'
"""How the line of a piece begins; one that is written otherwise is not joined, and nothing else."""

_FIELDS = {"text_delta": "text", "thinking_delta": "thinking"}


class JoiningTransport(SubprocessCLITransport):
    """The SDK's own way to the program but for what it reads. The SDK has no public name for that way."""

    def __init__(self, options: ClaudeAgentOptions) -> None:
        super().__init__(prompt=_Nothing(), options=options)

    async def connect(self) -> None:
        """Start the program. Raises what the SDK's own does."""
        await super().connect()
        assert self._process is not None
        assert self._process.stdout is not None
        self._stdout_stream = Output(self._process.stdout)  # type: ignore[assignment]  # it is only iterated over


class _Nothing(AsyncIterator[dict[str, Any]]):
    """No prompt yet: each turn brings its own."""

    async def __anext__(self) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        raise StopAsyncIteration


@attrs.define(eq=False)
class Output(AsyncIterator[str]):
    """The program's output in chunks of text, as the SDK takes it; pieces in it are joined."""

    _stream: anyio.abc.ByteReceiveStream
    _decoder: codecs.IncrementalDecoder = attrs.field(factory=codecs.getincrementaldecoder("utf-8"))
    _rest: bytes = b""
    """The beginning of a line."""
    _ripe_at: float = -math.inf

    async def __anext__(self) -> str:
        if trio.current_time() < self._ripe_at:
            await trio.sleep_until(self._ripe_at)
        while True:  # noqa: ASYNC913 - reads, which waits
            try:
                chunk = await self._stream.receive(READ_BYTES)
            except anyio.EndOfStream:
                return self._last()
            if text := self._decoder.decode(self._feed(chunk)):
                return text

    def _last(self) -> str:
        rest, self._rest = self._rest, b""
        text = self._decoder.decode(rest)  # what is left of a character is dropped, as the SDK does
        if not text:
            raise StopAsyncIteration
        return text

    def _feed(self, chunk: bytes) -> bytes:
        """Take what was read, and return what is to be handed on."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) >= READ_BYTES:
            lines.append(self._rest)  # what follows of it is no piece either
            self._rest = b""
        else:
            lines.append(b"")
        if len(chunk) < READ_BYTES and len(lines) > 1 and lines[-2].startswith(_EVENT):
            self._ripe_at = trio.current_time() + JOIN_S
        return b"\n".join(join_lines(lines))


@attrs.define
class _Piece:
    """A piece as its line told it, and the texts of those that follow it."""

    line: bytes
    told: dict[str, Any]
    delta: dict[str, Any]
    field: str
    texts: list[str]

    def follows(self, other: _Piece) -> bool:
        """Tell whether this one continues the same block of the same message."""
        told, before = self.told, other.told
        return (
            self.field == other.field
            and told["event"].get("index") == before["event"].get("index")
            and told.get("parent_tool_use_id") == before.get("parent_tool_use_id")
            and told.get("session_id") == before.get("session_id")
        )

    def joined(self) -> bytes:
        """Return the line of all of it; that of a lone piece as it came."""
        if len(self.texts) == 1:
            return self.line
        self.delta[self.field] = "".join(self.texts)
        return orjson.dumps(self.told)


def join_lines(lines: Sequence[bytes]) -> Iterator[bytes]:
    """Give the lines in order, neighbouring pieces of one block as one line."""
    run: _Piece | None = None
    for line in lines:
        piece = _piece_of(line) if line.startswith(_EVENT) else None
        if run is not None:
            if piece is not None and piece.follows(run):
                run.texts += piece.texts
                continue
            yield run.joined()
        run = piece
        if piece is None:
            yield line
    if run is not None:
        yield run.joined()


def _piece_of(line: bytes) -> _Piece | None:
    """Return the piece that a line tells; None where it tells anything more, or is no sound JSON."""
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None  # the SDK's reader is the one to judge it
    delta = told["event"].get("delta")
    if not isinstance(delta, dict) or len(delta) != 2:
        return None
    field = _FIELDS.get(str(delta.get("type")))
    if field is None or not isinstance(delta.get(field), str):
        return None
    return _Piece(line, told, delta, field, [delta[field]])
