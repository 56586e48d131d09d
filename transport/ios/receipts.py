"""How much of what was written has certainly arrived, per answer: the app acknowledges nothing.

It does answer pings, as every WebSocket must, and a pong tells that all before its ping is there. So each
answer has what was *written* of it and what is *known* to be there. After a connection that broke, only the
latter counts: a few words that come twice are better than some that never come. Shared by all connections of
one server, so that a new one knows of the old, which may still hang in the network.
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
        written: code points.
        known: of them, those that arrived.
        ended: its end was written.
        settled: its end arrived.
        left: its connection is over.
    """

    message_id: str
    written: int = 0
    known: int = 0
    ended: bool = False
    settled: bool = False
    left: bool = False


@attrs.define(eq=False)
class Receipts:
    """The answers of all connections that are up, by message."""

    live: dict[str, Receipt] = attrs.field(factory=dict)

    def settled(self) -> set[str]:
        """Return the answers that arrived and are not yet noted as such."""
        return {name for name, one in self.live.items() if one.settled}

    def still_owed(self, exchange: OpenExchange) -> OpenExchange | None:
        """Return what another connection must tell of an answer; None where one that is up still does."""
        receipt = self.live.get(exchange.message_id)
        if receipt is None:
            return exchange
        if receipt.settled or not (receipt.ended or receipt.left):
            return None
        return OpenExchange(exchange.message_id, receipt.known)


@attrs.define(eq=False)
class ConnectionReceipts:
    """Those of one connection: noted as frames are made, counted as written by `sent`, known by a pong.

    Attributes:
        changed: called when more was written than is known to be there.
    """

    all: Receipts
    changed: Callable[[], None]
    mine: dict[str, Receipt] = attrs.field(factory=dict)
    _staged: list[tuple[Receipt, int, bool]] = attrs.field(factory=list)

    def open(self, message_id: str) -> Receipt:
        """An answer is wanted."""
        made = self.mine[message_id] = self.all.live[message_id] = Receipt(message_id)
        return made

    def adopt(self, exchange: OpenExchange) -> None:
        """This connection tells the rest of an earlier one's answer."""
        receipt = Receipt(exchange.message_id, exchange.told, exchange.told)
        self.mine[exchange.message_id] = self.all.live[exchange.message_id] = receipt

    def wrote(self, message_id: str, told: int) -> None:
        """Text goes out with the next write."""
        receipt = self.mine.get(message_id)
        if receipt is not None:
            self._staged.append((receipt, told, False))

    def ended(self, message_ids: tuple[str, ...]) -> None:
        """Ends go out with the next write."""
        for message_id in message_ids:
            receipt = self.mine.get(message_id)
            if receipt is not None:
                self._staged.append((receipt, 0, True))

    def sent(self) -> None:
        """What was made is written."""
        if not self._staged:
            return
        for receipt, told, ended in self._staged:
            receipt.written = max(receipt.written, told)
            receipt.ended = receipt.ended or ended
        self._staged.clear()
        self.changed()

    def mark(self) -> list[tuple[Receipt, int, bool]]:
        """Return how it stands, for `arrived`."""
        return [(one, one.written, one.ended) for one in self.mine.values()]

    def arrived(self, mark: list[tuple[Receipt, int, bool]]) -> list[Receipt]:
        """All up to the mark is there; return the answers that are done with: to be noted, then `forget`."""
        for receipt, written, ended in mark:
            receipt.known, receipt.settled = written, ended
        return self._take_settled()

    def leave(self, *, orderly: bool) -> list[Receipt]:
        """The connection is over; return its answers: to be noted, then `forget`.

        Args:
            orderly: the app said good-bye, or hung up, with nothing lost in between that it waited for.
        """
        left = list(self.mine.values())
        for receipt in left:
            receipt.settled = receipt.settled or (orderly and receipt.ended)
            receipt.left = True
        self.mine.clear()
        return left

    def forget(self, receipts: Iterable[Receipt]) -> None:
        """What these told is noted; until then other connections go by the receipts themselves."""
        for receipt in receipts:
            self.mine.pop(receipt.message_id, None)
            if self.all.live.get(receipt.message_id) is receipt:
                del self.all.live[receipt.message_id]

    def _take_settled(self) -> list[Receipt]:
        done = [one for one in self.mine.values() if one.settled]
        for receipt in done:
            del self.mine[receipt.message_id]
        return done
