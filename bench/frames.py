"""What the measuring devices understand of the frames that they get. Pure; the same for both chains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import attrs
import orjson

from bench.errors import BenchError

__all__ = ["Kind", "Outcome", "Received", "evaluate", "may_end", "parse_frame"]

Kind = Literal["clock", "words", "big"]
"""How the pieces of a run are counted: as clock words, as words, or as characters."""

_TURN_ENDS = frozenset({"complete", "error", "interrupted"})
_BROKEN = frozenset({"error", "interrupted", "rejected"})
_US_PER_S = 1e6


@attrs.frozen
class Received:
    """A frame as it came: CLOCK_MONOTONIC microseconds when it was there, and its text."""

    at_us: int
    text: str


@attrs.frozen
class Outcome:
    """What one device saw of one run.

    Attributes:
        pieces: how many came (characters, for `big`).
        frames: how many frames they came in.
        first_us: when the first of those frames was there.
        last_us: when the last of them was there.
        in_first: pieces of the first frame.
        latencies_us: for each clock word, how old it was when its frame was there.
        left_us: for each clock word, when it left.
    """

    pieces: int
    frames: int
    first_us: int
    last_us: int
    in_first: int
    latencies_us: tuple[int, ...]
    left_us: tuple[int, ...] = ()

    @property
    def rate(self) -> float:
        """Pieces a second, from the first frame's arrival to the last one's.

        The first frame only starts the clock, so its pieces do not count.

        Raises:
            BenchError: everything came in one frame, which has no duration.
        """
        if self.last_us <= self.first_us:
            raise BenchError("all pieces came in one frame: too few for a throughput")
        return (self.pieces - self.in_first) * _US_PER_S / (self.last_us - self.first_us)


@attrs.define
class _Text:
    """How much of each block has come; a frame may begin again with what is known."""

    lengths: dict[str, int] = attrs.field(factory=dict)

    def take(self, message: dict[str, Any]) -> str:
        content: str = message["content"]
        offset = message.get("offset")
        if offset is None:
            return content
        block = message["block"]
        have = self.lengths.get(block, 0)
        if offset > have:
            raise BenchError(f"a gap in the answer: {have} characters came, the next piece is at {offset}")
        self.lengths[block] = max(have, offset + len(content))
        return content[have - offset :]


def parse_frame(text: str) -> dict[str, Any]:
    """Return the message of a frame.

    Raises:
        BenchError: it is not a JSON object with a type.
    """
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BenchError("a device got a frame that is no JSON") from error
    if not isinstance(found, dict) or "type" not in found:
        raise BenchError("a device got a frame without a type")
    return found


def may_end(text: str) -> bool:
    """Tell whether a frame ends the run. Cheap for a frame of pieces: those are only parsed afterwards.

    Raises:
        BenchError: the run broke.
    """
    if not any(f'"{word}"' in text for word in _TURN_ENDS | _BROKEN):
        return False
    message = parse_frame(text)
    if message["type"] in _BROKEN:
        raise BenchError(
            f"the run broke: {message['type']} {message.get('code', '')} {message.get('content', '')}".rstrip()
        )
    return message["type"] in _TURN_ENDS


def evaluate(frames: Iterable[Received], kind: Kind, expected: int) -> Outcome:
    """Return what a device saw.

    Args:
        expected: how many pieces it must have got.

    Raises:
        BenchError: fewer or more came, or there is a gap.
    """
    text = _Text()
    counts: list[tuple[int, int]] = []
    latencies: list[int] = []
    left: list[int] = []
    for frame in frames:
        message = parse_frame(frame.text)
        if message["type"] != "message":
            continue
        new = text.take(message)
        words = new.split() if kind != "big" else []
        count = len(new) if kind == "big" else len(words)
        if count:
            counts.append((frame.at_us, count))
        if kind == "clock":
            left.extend(int(word) for word in words)
            latencies.extend(frame.at_us - int(word) for word in words)
    pieces = sum(count for _, count in counts)
    if pieces != expected:
        raise BenchError(f"a device got {pieces} pieces of {expected}")
    return Outcome(
        pieces, len(counts), counts[0][0], counts[-1][0], counts[0][1], tuple(latencies), tuple(left)
    )
