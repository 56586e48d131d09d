"""Tracks how much of each answer has certainly arrived, since the app acknowledges nothing.

The app does answer pings, as every WebSocket must, and a pong shows that everything before its ping has arrived. So
each answer has a *written* and a *known* length. After a lost connection only the latter counts: a few repeated words
are better than missing ones. All connections of one server share the receipts, so that a new one knows of the old one,
which may still hang in the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from storage.tables.app_exchanges import OpenExchange

__all__ = ["ConnectionReceipts", "Receipt", "Receipts"]


@attrs.define(eq=False)
class Receipt:
    """One answer on its way over one connection, which is up as long as it is in `Receipts.live`.

    Attributes:
        written: code points that were written.
        known: code points of these that arrived.
        ended: its end was written.
        settled: its end arrived.
        left: its connection has ended.
    """

    message_id: str
    written: int = 0
    known: int = 0
    ended: bool = False
    settled: bool = False
    left: bool = False


@attrs.define(eq=False)
class Receipts:
    """The answers of all live connections, by message."""

    live: dict[str, Receipt] = attrs.field(factory=dict)

    def settled(self) -> set[str]:
        """Return the answers that arrived but are not stored as such yet."""
        return {name for name, receipt in self.live.items() if receipt.settled}

    def still_owed(self, exchange: OpenExchange) -> OpenExchange | None:
        """Return the part of an answer that another connection must send; None if a live one still sends it."""
        receipt = self.live.get(exchange.message_id)
        if receipt is None:
            return exchange
        if receipt.settled or not (receipt.ended or receipt.left):
            return None
        return OpenExchange(exchange.message_id, receipt.known)


@attrs.define(eq=False)
class ConnectionReceipts:
    """The receipts of one connection: created with the frames, written after `sent`, known after a pong.

    Attributes:
        changed: called if more was written than is known to have arrived.
    """

    all: Receipts
    changed: Callable[[], None]
    mine: dict[str, Receipt] = attrs.field(factory=dict)
    _staged: list[tuple[Receipt, int, bool]] = attrs.field(factory=list)

    def open(self, message_id: str) -> Receipt:
        """Start the receipt of a wanted answer."""
        made = self.mine[message_id] = self.all.live[message_id] = Receipt(message_id)
        return made

    def adopt(self, exchange: OpenExchange) -> None:
        """Take over the rest of an earlier connection's answer."""
        receipt = Receipt(exchange.message_id, exchange.told, exchange.told)
        self.mine[exchange.message_id] = self.all.live[exchange.message_id] = receipt

    def wrote(self, message_id: str, told: int) -> None:
        """Count text that the next write sends."""
        receipt = self.mine.get(message_id)
        if receipt is not None:
            self._staged.append((receipt, told, False))

    def ended(self, message_ids: tuple[str, ...]) -> None:
        """Count ends that the next write sends."""
        for message_id in message_ids:
            receipt = self.mine.get(message_id)
            if receipt is not None:
                self._staged.append((receipt, 0, True))

    def sent(self) -> None:
        """Count the created frames as written."""
        if not self._staged:
            return
        for receipt, told, ended in self._staged:
            receipt.written = max(receipt.written, told)
            receipt.ended = receipt.ended or ended
        self._staged.clear()
        self.changed()

    def mark(self) -> list[tuple[Receipt, int, bool]]:
        """Return the current state, for `arrived`."""
        return [(receipt, receipt.written, receipt.ended) for receipt in self.mine.values()]

    def arrived(self, mark: list[tuple[Receipt, int, bool]]) -> list[Receipt]:
        """Everything up to the mark has arrived; return the complete answers, to be stored and then passed to
        `forget`."""
        for receipt, written, ended in mark:
            receipt.known, receipt.settled = written, ended
        return self._take_settled()

    def leave(self, *, orderly: bool) -> list[Receipt]:
        """The connection has ended; return its answers, to be stored and then passed to `forget`.

        Args:
            orderly: the app closed the connection, and lost nothing that it waited for.
        """
        left = list(self.mine.values())
        for receipt in left:
            receipt.settled = receipt.settled or (orderly and receipt.ended)
            receipt.left = True
        self.mine.clear()
        return left

    def forget(self, receipts: Iterable[Receipt]) -> None:
        """The content of these receipts is stored; until then other connections use the receipts themselves."""
        for receipt in receipts:
            self.mine.pop(receipt.message_id, None)
            if self.all.live.get(receipt.message_id) is receipt:
                del self.all.live[receipt.message_id]

    def _take_settled(self) -> list[Receipt]:
        done = [one for one in self.mine.values() if one.settled]
        for receipt in done:
            del self.mine[receipt.message_id]
        return done
