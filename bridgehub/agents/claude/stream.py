"""Reads the output of Claude Code and joins neighbouring pieces of a text before the SDK sees them.

The program writes a line for each piece of text, and the SDK passes each through three tasks. At 35,000 pieces a second
one processor cannot keep up. So the pieces of one read are joined here, and a read after pieces waits `JOIN_S` for their
neighbours, which gather in the pipe. At the pace of a person nothing waits, since they come later than that. Anything
else is passed on unchanged, such as a question of the program.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, cast

import anyio
import anyio.abc
import attrs
import orjson
import trio
from claude_agent_sdk import ClaudeAgentOptions
from claude_agent_sdk._internal.transport.subprocess_cli import SubprocessCLITransport

from bridgehub.agents.base import JOIN_S, wait_gathered

__all__ = ["JoiningTransport", "Output", "join_lines"]

READ_BYTES = 64 * 1024
"""Bytes of one read: what a pipe holds. A longer line is passed on in parts."""

_EVENT = b'{"type":"stream_event","event":{"type":"content_block_delta"'
"""How the line of a piece begins. A piece that is written differently is not joined, which is the only effect."""

_FIELDS = {"text_delta": "text", "thinking_delta": "thinking"}


class JoiningTransport(SubprocessCLITransport):
    """The SDK's own transport with another reader of its output. The SDK has no public name for that transport."""

    def __init__(self, options: ClaudeAgentOptions) -> None:
        super().__init__(prompt=_Nothing(), options=options)

    async def connect(self) -> None:
        """Start the program. Raises what the SDK's own method raises."""
        await super().connect()
        assert self._process is not None
        assert self._process.stdout is not None
        output = self._process.stdout
        source = cast("trio.lowlevel.FdStream", output._stream).fileno()  # type: ignore[attr-defined]  # has no public name
        self._stdout_stream = Output(output, source)  # type: ignore[assignment]  # the SDK only iterates over it


class _Nothing(AsyncIterator[dict[str, Any]]):
    """No prompt yet: each turn brings its own."""

    async def __anext__(self) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        raise StopAsyncIteration


@attrs.define(eq=False)
class Output(AsyncIterator[str]):
    """The program's output in chunks of text, in the SDK's form, with its pieces joined."""

    _stream: anyio.abc.ByteReceiveStream
    _source: int
    """The descriptor that `_stream` reads."""
    _decoder: codecs.IncrementalDecoder = attrs.field(factory=codecs.getincrementaldecoder("utf-8"))
    _rest: bytes = b""
    """The beginning of a line."""
    _ripe_at: float = -math.inf

    async def __anext__(self) -> str:
        if self._ripe_at > -math.inf:
            await wait_gathered(self._source, self._ripe_at)
            self._ripe_at = -math.inf
        while True:  # noqa: ASYNC913 - reads, which waits
            try:
                chunk = await self._stream.receive(READ_BYTES)
            except anyio.EndOfStream:
                return self._last()
            if text := self._decoder.decode(self._feed(chunk)):
                return text

    def _last(self) -> str:
        rest, self._rest = self._rest, b""
        text = self._decoder.decode(rest)  # an incomplete character is dropped, as in the SDK
        if not text:
            raise StopAsyncIteration
        return text

    def _feed(self, chunk: bytes) -> bytes:
        """Take what was read. Return what to pass on."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) >= READ_BYTES:
            lines.append(self._rest)  # the rest of this line is not a piece either
            self._rest = b""
        else:
            lines.append(b"")
        if len(chunk) < READ_BYTES and len(lines) > 1 and lines[-2].startswith(_EVENT):
            self._ripe_at = trio.current_time() + JOIN_S
        return b"\n".join(join_lines(lines))


@attrs.define
class _Piece:
    """A piece as parsed from its line, and the texts of the pieces that follow it."""

    line: bytes
    told: dict[str, Any]
    delta: dict[str, Any]
    field: str
    texts: list[str]

    def follows(self, other: _Piece) -> bool:
        """Return whether this piece continues the same block of the same message."""
        told, before = self.told, other.told
        return (
            self.field == other.field
            and told["event"].get("index") == before["event"].get("index")
            and told.get("parent_tool_use_id") == before.get("parent_tool_use_id")
            and told.get("session_id") == before.get("session_id")
        )

    def joined(self) -> bytes:
        """Return one line with all texts. A lone piece keeps its own line."""
        if len(self.texts) == 1:
            return self.line
        self.delta[self.field] = "".join(self.texts)
        return orjson.dumps(self.told)


def join_lines(lines: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the lines in order, with neighbouring pieces of one block as one line."""
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
    """Return the piece that a line holds. None if the line holds anything else, or is not valid JSON."""
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None  # the SDK's reader decides about it
    delta = told["event"].get("delta")
    if not isinstance(delta, dict) or len(delta) != 2:
        return None
    field = _FIELDS.get(str(delta.get("type")))
    if field is None or not isinstance(delta.get(field), str):
        return None
    return _Piece(line, told, delta, field, [delta[field]])
