"""Messages of the person that are steered into a running turn.

Claude Code takes such a message at its next request to the model service: after the running tool call or, if there is
none left, in one more round after the answer, before it is idle. The first message of the program that names it proves
that the program took it. Until then it can be withdrawn.

    written → waiting ─┬─ named by the program ──▶ taken
                       ├─ withdrawn (interrupt) ─▶ not taken, and never will be
                       └─ the turn broke ────────▶ unknown: the program may have read it
"""

from __future__ import annotations

import attrs
import trio

__all__ = ["Steered", "Steers"]


@attrs.define(eq=False)
class Steered:
    """One steered message. `taken`: whether the program took it, None as long as that is unknown."""

    taken: bool | None = None
    settled: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class Steers:
    """The steered messages of one turn, by the uuid that each was written with."""

    is_open: bool = True
    _known: dict[str, Steered] = attrs.field(factory=dict)
    _left: trio.Event = attrs.field(factory=trio.Event)

    @property
    def waiting(self) -> list[str]:
        """The uuids of the messages without an outcome, oldest first."""
        return [name for name, one in self._known.items() if not one.settled.is_set()]

    def add(self, name: str) -> Steered:
        """Note a message that is about to be written."""
        one = self._known[name] = Steered()
        return one

    def drop(self, name: str) -> None:
        """Forget a message whose sender knows its outcome, or no longer waits."""
        self._known.pop(name, None)
        self._left.set()
        self._left = trio.Event()

    def note_taken(self, names: frozenset[str]) -> None:
        """Note that the program took these messages. Names of other messages are ignored."""
        for name in names & self._known.keys():
            self._known[name].taken = True
            self._known[name].settled.set()

    def settle(self, name: str) -> None:
        """Note that a message was withdrawn."""
        one = self._known.get(name)
        if one is not None and one.taken is None:
            one.taken = False
            one.settled.set()

    def close(self) -> None:
        """End the turn: wake all senders, and accept no further message."""
        self.is_open = False
        for one in self._known.values():
            one.settled.set()

    async def wait_left(self) -> None:
        """Wait until each sender has its answer."""
        while self._known:
            await self._left.wait()
        await trio.lowlevel.checkpoint()
