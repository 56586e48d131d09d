"""Messages of the person on their way into a running turn.

Claude Code takes such a message at its next request to the model service: after the tool call that runs, or,
where no tool call is left, in one more round after the answer, before it is idle. The first message of the
program that names it proves that it was taken; until then it can be withdrawn.

    written → waiting ─┬─ named by the program ──▶ taken
                       ├─ withdrawn (interrupt) ─▶ not taken, and never will be
                       └─ the turn broke ────────▶ nobody knows: the program may have read it
"""

from __future__ import annotations

import attrs
import trio

__all__ = ["Steered", "Steers"]


@attrs.define(eq=False)
class Steered:
    """One of them. `taken`: what is known of it, None as long as that is nothing."""

    taken: bool | None = None
    settled: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class Steers:
    """Those of one turn, by the uuid that each was written with."""

    is_open: bool = True
    _known: dict[str, Steered] = attrs.field(factory=dict)
    _left: trio.Event = attrs.field(factory=trio.Event)

    @property
    def waiting(self) -> list[str]:
        """The uuids of those whose fate is open, oldest first."""
        return [name for name, one in self._known.items() if not one.settled.is_set()]

    def add(self, name: str) -> Steered:
        """Note one that is about to be written."""
        one = self._known[name] = Steered()
        return one

    def drop(self, name: str) -> None:
        """Forget one whose sender knows its fate, or does not wait any more."""
        self._known.pop(name, None)
        self._left.set()
        self._left = trio.Event()

    def note_taken(self, names: frozenset[str]) -> None:
        """Take the program's word for these; names of other messages are nothing."""
        for name in names & self._known.keys():
            self._known[name].taken = True
            self._known[name].settled.set()

    def settle(self, name: str) -> None:
        """That one was withdrawn."""
        one = self._known.get(name)
        if one is not None and one.taken is None:
            one.taken = False
            one.settled.set()

    def close(self) -> None:
        """The turn is over: nobody waits any longer, and no further one is let in."""
        self.is_open = False
        for one in self._known.values():
            one.settled.set()

    async def wait_left(self) -> None:
        """Wait until each sender has its answer."""
        while self._known:
            await self._left.wait()
        await trio.lowlevel.checkpoint()
