"""One hub: drives one agent for one session, outlives the server, and ends in order.

What ends a hub: `Stop` or SIGTERM; or that no server was there for too long, `idle_abandon_s` after a turn's
end or `busy_abandon_s` without an event in mid-turn. In each case its last acts are to end the agent with its
whole tree and to write what the server has not acknowledged, fsynced, to the file `left`.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import attrs
import trio

from bridgehub.agents.base import AgentDriver
from bridgehub.agents.registry import make_driver
from bridgehub.link import LinkServer
from bridgehub.orphans import reap_orphans
from bridgehub.outbox import OUTBOX_BYTES, Outbox
from bridgehub.protocol.folder import LEFT_NAME, LOG_NAME, SPOOL_NAME
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import (
    VERSION,
    Configure,
    Decided,
    History,
    InterruptTurn,
    Prompt,
    Steer,
    Stop,
    StopTask,
    ToHub,
    WarmUp,
    Welcome,
)
from bridgehub.protocol.process_tree import TreeKillFailed, has_children, kill_descendants
from bridgehub.spool import SPOOL_LIMIT_BYTES, Spool
from bridgehub.turns.runner import TurnRunner

__all__ = ["Hub", "HubLimits", "run_hub"]

_log = logging.getLogger("builderos.bridgehub")

END_S = 15.0
"""How long a hub's own end may take: closing the driver, killing the tree, writing events down."""


@attrs.frozen
class HubLimits:
    """Bounds of one hub; tests make them small.

    Attributes:
        outbox_bytes: unacknowledged events in memory.
        spool_bytes: the same in the file, while no server is there.
        log_bytes: size at which a new log begins.
        log_check_s: how often its size is looked at.
    """

    outbox_bytes: int = OUTBOX_BYTES
    spool_bytes: int = SPOOL_LIMIT_BYTES
    log_bytes: int = 1024 * 1024
    log_check_s: float = 30.0


@attrs.define(eq=False)
class Hub:
    """The parts of one hub, and what a server's messages mean to them.

    `kill_below` ends all other processes of the hub of that id; it blocks and is called on a thread.
    """

    spec: HubSpec
    limits: HubLimits
    make_driver: Callable[[HubSpec], AgentDriver]
    kill_below: Callable[[str], object] = kill_descendants
    outbox: Outbox = attrs.field(init=False)
    turns: TurnRunner = attrs.field(init=False)
    links: LinkServer = attrs.field(init=False)
    ending: trio.Event = attrs.field(factory=trio.Event)
    _changes: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    def __attrs_post_init__(self) -> None:
        spec, wake = self.spec, self._note_change
        spool = Spool(Path(spec.folder) / SPOOL_NAME, self.limits.spool_bytes)
        self.outbox = Outbox(spool, self.limits.outbox_bytes)
        self.turns = TurnRunner(spec, self.outbox, self.make_driver, self._kill, wake)
        self.links = LinkServer(spec.session_id, self, self.outbox, wake)

    def welcome(self) -> Welcome:
        """Return what a server that connects gets."""
        turns = self.turns
        return Welcome(
            version=VERSION,
            hub_id=self.spec.hub_id,
            pid=os.getpid(),
            last_turn_id=turns.last_turn_id,
            running=turns.running,
            waiting=turns.asking.waiting,
            can_steer=turns.can_steer,
            steered=turns.steered,
            history_wanted=turns.asking.history_limit,
            takes_setup=True,
            head_seq=self.outbox.head_seq,
            takes_warm_up=True,
        )

    def take_nowait(self, message: ToHub) -> None:
        """Act on a server's message. Raises PromptsFull."""
        match message:
            case Configure(setup):
                self.turns.configure_nowait(setup)
            case Prompt():
                self.turns.prompt_nowait(message)
            case WarmUp():
                self.turns.warm_up_nowait(message)
            case InterruptTurn():
                self.turns.interrupt_nowait(message.turn_id)
            case StopTask(task_id):
                self.turns.stop_task_nowait(task_id)
            case Decided():
                self.turns.asking.decide_nowait(message)
            case Steer():
                self.turns.steer_nowait(message)
            case History():
                self.turns.asking.history_nowait(message)
            case Stop():
                self.ending.set()
            case _:
                pass

    async def run(self, listener: trio.SocketListener) -> None:
        """Serve until something ends the hub, then end in order."""
        self.links.detached_at = self.turns.ended_at = trio.current_time()
        died = trio.lowlevel.ParkingLot()
        # Outermost: a second SIGTERM must not cut the orderly end.
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGCHLD) as signals:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch_signals, signals, died)
                    if sys.platform.startswith("linux"):
                        nursery.start_soon(reap_orphans, died)
                    nursery.start_soon(self.links.serve, listener)
                    nursery.start_soon(self.turns.run)
                    nursery.start_soon(self._watch_abandonment)
                    nursery.start_soon(self._cap_log)
                    await self.ending.wait()
                    nursery.cancel_scope.cancel(reason="the hub ends")
            finally:
                # When END_S is over, what is lost is the wait for processes that cannot be killed.
                with trio.move_on_after(END_S, shield=True):
                    await self._end()

    async def _end(self) -> None:
        with suppress(OSError):
            os.unlink(self.spec.socket)
        try:
            self.outbox.leave(Path(self.spec.folder) / LEFT_NAME)
        except OSError as exc:
            _log.warning("events up to %d are lost: %s", self.outbox.head_seq, exc.strerror)
        await self.turns.aclose()
        await trio.to_thread.run_sync(self._kill)

    def _note_change(self) -> None:
        self._changes.unpark_all()

    def _kill(self) -> None:
        if sys.platform.startswith("linux") and not has_children():
            return  # it adopts orphans: without a child there is nobody below it
        try:
            self.kill_below(self.spec.hub_id)
        except TreeKillFailed as exc:
            _log.warning("%s", exc)

    async def _watch_abandonment(self) -> None:
        spec, outbox, turns, links = self.spec, self.outbox, self.turns, self.links
        active_at = trio.current_time()
        while True:
            if links.attached:
                await self._changes.park()
                continue
            running, seen_seq = turns.is_busy, outbox.head_seq
            limit_s = spec.busy_abandon_s if running else spec.idle_abandon_s
            since = max(links.detached_at, active_at if running else turns.ended_at)
            with trio.move_on_at(since + limit_s) as scope:
                await self._changes.park()
            if scope.cancelled_caught:
                if not running or outbox.head_seq == seen_seq:
                    break
                active_at = trio.current_time()
        _log.info("no server for %g s: this hub ends", limit_s)
        self.ending.set()

    async def _watch_signals(self, signals: AsyncIterator[int], died: trio.lowlevel.ParkingLot) -> None:
        async for number in signals:
            if number == signal.SIGTERM:
                self.ending.set()
            else:
                died.unpark_all()

    async def _cap_log(self) -> None:
        """Empty the log when it is over its size. It is opened for appending by all who write it."""
        log = Path(self.spec.folder) / LOG_NAME
        while True:
            await trio.sleep(self.limits.log_check_s)
            with suppress(OSError):
                if log.stat().st_size > self.limits.log_bytes:
                    os.truncate(log, 0)


async def run_hub(spec: HubSpec, listener: socket.socket, limits: HubLimits | None = None) -> None:
    """Live as the hub of `spec` on a listening socket, until its end."""
    hub = Hub(spec, limits or HubLimits(), make_driver)
    await hub.run(trio.SocketListener(trio.socket.from_stdlib_socket(listener)))
