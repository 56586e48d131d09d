"""Saves the workspace around each turn of this hub: before its agent touches anything, and after its end.

Git does the work, at low priority and on a thread. What cannot be saved becomes a notice, and the turn continues.
A hub that died between the two left a turn without its second checkpoint; the next hub takes it with its first one.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs
import trio

from bridgehub.outbox import Outbox
from bridgehub.protocol.events import Checkpointed, LeftOut, Noticed
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import Prompt
from bridgehub.workspace.changes import count_changes
from bridgehub.workspace.git import GitFailed, GitMissing
from bridgehub.workspace.paths import refusal_of_workspace, shown
from bridgehub.workspace.prune import pack
from bridgehub.workspace.store import CheckpointStore, Kept, NoCheckpoint, StoreBusy
from bridgehub.workspace.take import LIMITS, Limits, Snapshot, TooMuch, snapshot, take

__all__ = ["HELD_KINDS", "PROMPT_WAIT_S", "Checkpoints", "with_undone"]

T = TypeVar("T")

_log = logging.getLogger("builderos.bridgehub")

HELD_KINDS = frozenset({"claude", "echo"})
"""Kinds of agents whose first tool waits for the checkpoint."""

PROMPT_WAIT_S = 0.2
"""How long the prompt of any other agent waits for it."""

LOOK_S = 1.0
"""How long a look before the message may take."""

SHOWN_LEFT_OUT = 50
"""Left-out files that an event names."""


class _GivenUp(Exception):
    """The workspace was not saved; the text says why.

    Attributes:
        for_good: it will not be by this hub.
        quiet: shown only to a person who asks: it is so by rule.
    """

    def __init__(self, reason: str, *, for_good: bool = False, quiet: bool = False) -> None:
        super().__init__(reason)
        self.for_good = for_good
        self.quiet = quiet


@attrs.define(eq=False)
class _Saving:
    """The turn that runs.

    Attributes:
        by_itself: the agent began it, so that it may have changed something before it could be held.
        wait_until: when a prompt no longer waits.
        taken: set once later changes are not in it.
        over: set once it is kept and reported, or given up.
        before: its first checkpoint; None while there is none.
    """

    turn_id: str
    held: bool
    by_itself: bool
    wait_until: float
    taken: trio.Event = attrs.field(factory=trio.Event)
    over: trio.Event = attrs.field(factory=trio.Event)
    before: Kept | None = None


@attrs.define(eq=False)
class Checkpoints:
    """The checkpoints of a hub's session."""

    spec: HubSpec
    outbox: Outbox
    new_id: Callable[[], str]
    limits: Limits = LIMITS
    _store: CheckpointStore | None = None
    _is_off: bool = False
    _saving: _Saving | None = None
    _thread: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))

    @property
    def is_on(self) -> bool:
        """Whether this hub saves anything."""
        return bool(self.spec.checkpoint_folder) and not self._is_off

    def begin(self, turn_id: str, nursery: trio.Nursery, *, by_itself: bool = False) -> None:
        """Begin to save the state before a turn."""
        is_held = self.spec.kind in HELD_KINDS
        saving = self._saving = _Saving(turn_id, is_held, by_itself, trio.current_time() + PROMPT_WAIT_S)
        if self.is_on:
            nursery.start_soon(self._save_before, saving)
        else:
            saving.taken.set()
            saving.over.set()

    async def look(self) -> None:
        """Look at the workspace while a person still writes, so that the checkpoint of the message finds little to do.

        It makes no checkpoint and reports nothing. It is short, because the message, and those of other sessions in the
        same folder, wait for its end: a folder that takes longer is for the message's own checkpoint.
        """
        if not self.is_on:
            await trio.lowlevel.checkpoint()
            return
        try:
            limits = attrs.evolve(self.limits, first_s=LOOK_S, later_s=LOOK_S)
            await self._run(lambda: snapshot(self._open(), limits, wait_s=0))
        except _GivenUp as exc:
            _log.info("no look at the workspace before the message: %s", exc)

    async def wait_saved(self) -> None:
        """Wait until the agent may begin to work.

        An agent whose tools can be held waits before its first tool, until the state is kept or given up. Any other one
        waits with its prompt, until the state is taken, for at most `PROMPT_WAIT_S` after `begin`.
        """
        saving = self._saving
        if saving is None:
            await trio.lowlevel.checkpoint()
        elif saving.held:
            await saving.over.wait()
        else:
            with trio.move_on_at(saving.wait_until):  # noqa: ASYNC912 - waits for an event
                await saving.taken.wait()

    async def after(self, nursery: trio.Nursery) -> None:
        """Save the state after the turn that began last, and say so. Does nothing if it was not saved before.

        What is kept is then made smaller in `nursery`, if that is worth it.
        """
        saving, self._saving = self._saving, None
        if saving is None:
            await trio.lowlevel.checkpoint()
            return
        await saving.over.wait()
        if saving.before is None:
            return
        try:
            event = await self._run(self._take_after, saving.turn_id, saving.before)
        except _GivenUp as exc:
            await self._give_up(exc)
        else:
            await self.outbox.put(event)
            nursery.start_soon(self._pack)

    async def _pack(self) -> None:
        try:
            await trio.to_thread.run_sync(pack, self._open(), abandon_on_cancel=True)
        except (GitFailed, GitMissing, StoreBusy, OSError) as exc:
            _log.info("the checkpoints were not packed: %s", exc)

    async def _save_before(self, saving: _Saving) -> None:
        taken_at = trio.current_time()

        def note_taken() -> None:
            nonlocal taken_at
            # A state that is read once more, after the prompt was sent, may have changes of the agent in it.
            taken_at = math.inf if saving.taken.is_set() else trio.current_time()
            saving.taken.set()

        try:
            late, taken, kept = await self._run(
                self._take_before, saving.turn_id, lambda: trio.from_thread.run_sync(note_taken)
            )
        except _GivenUp as exc:
            await self._give_up(exc)
        else:
            saving.before = kept
            if late is not None:
                await self.outbox.put(late)
            is_late = not saving.held and taken_at > saving.wait_until
            await self.outbox.put(attrs.evolve(taken, late=is_late or saving.by_itself))
        finally:
            saving.taken.set()
            saving.over.set()

    async def _give_up(self, given_up: _GivenUp) -> None:
        if given_up.for_good:
            self._is_off = True
        _log.info("no checkpoint: %s", given_up)
        if given_up.quiet:
            await trio.lowlevel.checkpoint()
            return
        content = f"The workspace was not saved: {given_up}. Changes of this turn cannot be shown or undone."
        await self.outbox.put(Noticed(None, "no_checkpoint", content))

    async def _run(self, call: Callable[..., T], *arguments: object) -> T:
        return await trio.to_thread.run_sync(
            partial(self._guarded, call, *arguments), limiter=self._thread, abandon_on_cancel=True
        )

    # ---- on a thread ----

    def _guarded(self, call: Callable[..., T], *arguments: object) -> T:
        try:
            return call(*arguments)
        except GitMissing as exc:
            raise _GivenUp(str(exc), for_good=True) from exc
        except StoreBusy as exc:
            raise _GivenUp("another session saves the same folder") from exc
        except (TooMuch, GitFailed, NoCheckpoint) as exc:
            raise _GivenUp(str(exc)) from exc
        except OSError as exc:
            raise _GivenUp(exc.strerror or type(exc).__name__) from exc

    def _open(self) -> CheckpointStore:
        if self._store is None:
            spec = self.spec
            data = str(Path(spec.checkpoint_folder).parent)
            reason = refusal_of_workspace(spec.workspace, spec.env.get("HOME", ""), data)
            if reason:
                raise _GivenUp(reason, for_good=True, quiet=True)
            self._store = CheckpointStore.of(spec.checkpoint_folder, spec.workspace)
        return self._store

    def _take(
        self, turn_id: str, position: str, on_taken: Callable[[], object] = lambda: None
    ) -> tuple[str, Snapshot]:
        checkpoint_id = self.new_id()
        note = {"session": self.spec.session_id, "turn": turn_id, "position": position}
        store, session_id = self._open(), self.spec.session_id
        return checkpoint_id, take(store, session_id, checkpoint_id, note, self.limits, on_taken=on_taken)

    def _take_before(
        self, turn_id: str, on_taken: Callable[[], object]
    ) -> tuple[Checkpointed | None, Checkpointed, Kept]:
        late = None
        unsaved = self.spec.unsaved
        if unsaved is not None:
            self.spec = attrs.evolve(self.spec, unsaved=None)
            try:
                found = self._open().find(self.spec.session_id, unsaved.checkpoint_id)
                late = attrs.evolve(self._take_after(unsaved.turn_id, found), late=True)
            except NoCheckpoint:
                late = None
        checkpoint_id, taken = self._take(turn_id, "before", on_taken)
        event = Checkpointed(None, turn_id, checkpoint_id, "before", left_out=_shown(taken))
        return late, event, Kept("", taken.tree, taken.left_out)

    def _take_after(self, turn_id: str, before: Kept) -> Checkpointed:
        checkpoint_id, taken = self._take(turn_id, "after")
        store = self._open()
        files, added, removed = count_changes(store, before, Kept("", taken.tree, taken.left_out))
        return Checkpointed(
            None, turn_id, checkpoint_id, "after", files, added, removed, left_out=_shown(taken)
        )


def _shown(taken: Snapshot) -> tuple[LeftOut, ...]:
    names = sorted(taken.left_out.items())[:SHOWN_LEFT_OUT]
    return tuple(LeftOut(shown(path), reason) for path, reason in names)


def with_undone(prompt: Prompt, agent_kind: str) -> Prompt:
    """Return the prompt with what the agent should know of changes that the person took back.

    A command takes no words along, and the test agent would repeat them.
    """
    if not prompt.undone or prompt.content.startswith("/") or agent_kind == "echo":
        return prompt
    names = "\n".join(f"- {path!r}" for path in prompt.undone)
    more = f"\n- and {prompt.undone_more} more" if prompt.undone_more else ""
    words = (
        "[Since your last message the person took changes back that were made earlier in this conversation. "
        f"These files are not as you left them; read them again before you change them:\n{names}{more}]"
    )
    return attrs.evolve(prompt, content=f"{words}\n\n{prompt.content}")
