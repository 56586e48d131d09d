"""The text of one running turn: offsets, length, hash, and the rows that its pieces will fold into.

Pure. Everything is kept up to date piece by piece, so that the end of a long answer costs no more than its last row.
Folding ("The life of a message" in `docs/internals/architecture.md`): each run of neighbouring pieces of one block
becomes one row of at most 256 KiB, under its last seq. Every run of the answer is folded, a single piece too, since it
is the folded row that search finds; a single piece of thinking stays as it is.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import attrs

from actors.events.codec import decode_event, encode_event
from actors.events.committed import Committed
from actors.events.conversation import Message, Thinking
from actors.events.pieces import MAX_PIECE_BYTES, json_size, neighbours
from storage.records import Entry, Fold

__all__ = ["AnswerText"]


@attrs.define(eq=False)
class _Run:
    """Neighbouring pieces of one block. `last` is the newest; `content` is joined only when the run closes."""

    first: Committed
    last: Committed
    parts: list[str]
    size: int
    rows: int = 1


@attrs.define(eq=False)
class AnswerText:
    """The text of one running turn.

    Attributes:
        limit: bytes of JSON that the text of one folded row may take.
        length: code points of the answer, thinking left out.
        held: the same with thinking: what is kept in memory until the turn's end.
        runs: into how many runs that falls: each is an object or two besides its text.
        last_seq: the newest piece, of either kind; 0 before the first.
    """

    limit: int = MAX_PIECE_BYTES
    length: int = 0
    held: int = 0
    runs: int = 0
    last_seq: int = 0
    _offsets: dict[tuple[str, str], int] = attrs.field(factory=dict)
    _newest_block: str | None = None
    _hash: Any = attrs.field(factory=sha256)
    _in_order: bool = True
    _run: _Run | None = None
    _folds: list[Fold] = attrs.field(factory=list)

    def offset(self, kind: str, block: str) -> int:
        """Return the code points that this block has so far."""
        return self._offsets.get((kind, block), 0)

    def add(self, item: Committed) -> bool:
        """Take the next piece; its offset must be the block's present length, or it is empty and drops the block.

        Returns:
            Whether it begins a run: a row of the journal must not reach over that border.
        """
        event = item.event
        assert isinstance(event, Message | Thinking)
        self.held += len(event.content)
        self.last_seq = item.seq
        key = (event.kind, event.block)
        known = key in self._offsets
        if not event.content:
            self._drop(event)
            return True
        self._offsets[key] = event.offset + len(event.content)
        if isinstance(event, Message):
            self._hash_piece(event, known=known)
        size = json_size(event.content)
        run = self._run
        if run is not None and run.size + size <= self.limit and neighbours(run.last, item):
            run.parts.append(event.content)
            run.last, run.size, run.rows = item, run.size + size, run.rows + 1
            return False
        self._close_run()
        self._run = _Run(item, item, [event.content], size)
        self.runs += 1
        return True

    def sha256(self) -> str:
        """Return the hash of the answer's text: its blocks joined in order of first appearance, as UTF-8."""
        if self._in_order:
            return str(self._hash.hexdigest())
        return sha256("".join(self._blocks()).encode()).hexdigest()

    def folds(self) -> list[Fold]:
        """Return what to fold at the turn's end. Closes the answer: no piece may follow."""
        self._close_run()
        return self._folds

    def _drop(self, event: Message | Thinking) -> None:
        """Take a block back: neither hash nor search knows it any more, though its rows stay."""
        self._close_run()
        key = (event.kind, event.block)
        if isinstance(event, Message):
            self.length -= self._offsets.get(key, 0)
            self._in_order = False
            self._folds = [_unsearched(fold) if _is_of(fold, event.block) else fold for fold in self._folds]
        self._offsets[key] = 0

    def _hash_piece(self, event: Message, *, known: bool) -> None:
        # The hash runs along while pieces come in the order of the text; a piece for an earlier block breaks
        # that, and the end then hashes the whole once.
        self.length += len(event.content)
        if known and event.block != self._newest_block:
            self._in_order = False
        self._newest_block = event.block
        if self._in_order:
            self._hash.update(event.content.encode())

    def _blocks(self) -> list[str]:
        blocks: dict[str, list[str]] = {block: [] for kind, block in self._offsets if kind == Message.kind}
        for event in self._messages():
            blocks[event.block].append(event.content)
        return ["".join(parts) for parts in blocks.values()]

    def _messages(self) -> list[Message]:
        kept = [fold.entry for fold in self._folds if fold.entry.search_text is not None]
        done = [decode_event(entry.kind, entry.payload) for entry in kept]
        if self._run is not None and isinstance(self._run.first.event, Message):
            done.append(attrs.evolve(self._run.first.event, content="".join(self._run.parts)))
        return [event for event in done if isinstance(event, Message)]

    def _close_run(self) -> None:
        run, self._run = self._run, None
        if run is None or (run.rows == 1 and isinstance(run.first.event, Thinking)):
            return
        first = run.first.event
        assert isinstance(first, Message | Thinking)
        content = "".join(run.parts)
        entry = Entry(
            kind=first.kind,
            payload=encode_event(attrs.evolve(first, content=content)),
            at_ms=run.last.at_ms,
            turn_id=run.first.turn_id,
            device_id=run.first.device_id,
            search_text=content if isinstance(first, Message) else None,
        )
        self._folds.append(Fold(run.first.first_seq, run.last.seq, entry))


def _is_of(fold: Fold, block: str) -> bool:
    event = decode_event(fold.entry.kind, fold.entry.payload)
    return isinstance(event, Message) and event.block == block


def _unsearched(fold: Fold) -> Fold:
    return attrs.evolve(fold, entry=attrs.evolve(fold.entry, search_text=None))
