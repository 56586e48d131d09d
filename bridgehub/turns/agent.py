"""The agent of a hub: its driver, made when it is needed and put away when it failed, and the kill of its processes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import trio

from bridgehub.agents.base import AgentDriver
from bridgehub.protocol.hub_spec import HubSpec

__all__ = ["HubAgent"]

_log = logging.getLogger("builderos.bridgehub")

KILL_S = 0.25
"""How long an interrupt or a failed turn waits for the kill of the agent's processes; the kill itself continues."""

CLOSE_S = 2.0
"""How long a driver that is put away may take; its processes die with the hub at the latest."""


@attrs.define(eq=False)
class HubAgent:
    """The agent of one hub.

    Attributes:
        kill: ends all processes below the hub (blocking, called on a thread).
        driver: None if the next turn makes one.
    """

    spec: HubSpec
    make_driver: Callable[[HubSpec], AgentDriver]
    kill: Callable[[], object]
    driver: AgentDriver | None = None
    _kill_over: trio.Event | None = None

    def open(self) -> AgentDriver:
        """Return the driver, a new one if there is none. Raises what making it raises, `AgentMissing` for one."""
        if self.driver is None:
            self.driver = self.make_driver(self.spec)
        return self.driver

    def try_open(self) -> AgentDriver | None:
        """Return the driver, a new one if there is none; None if none can be made. It is cheap: it starts nothing."""
        with suppress(Exception):  # the first turn finds the same, and says so
            self.open()
        return self.driver

    def keep_memory(self, data: dict[str, Any]) -> None:
        """Have the next driver know what this one remembered."""
        self.spec = attrs.evolve(self.spec, agent_memory=data)

    async def aclose(self) -> None:
        """End the agent's process, within `CLOSE_S`."""
        driver, self.driver = self.driver, None
        if driver is not None:
            await _close(driver)

    def replace_soon(self, nursery: trio.Nursery) -> None:
        """Close the driver in the background; the next turn makes another."""
        driver, self.driver = self.driver, None
        if driver is not None:
            nursery.start_soon(_close, driver)

    async def kill_processes(self, nursery: trio.Nursery) -> None:
        """Kill every process below the hub; wait for that a moment, `killed` waits for the rest."""
        self._kill_over = trio.Event()
        nursery.start_soon(self._kill_all, self._kill_over)
        with trio.move_on_after(KILL_S):
            await self._kill_over.wait()

    async def killed(self) -> None:
        """Wait until a kill that was begun is over: it would take a new program for the old one."""
        if self._kill_over is not None:
            await self._kill_over.wait()

    async def _kill_all(self, over: trio.Event) -> None:
        try:
            await trio.to_thread.run_sync(self.kill, abandon_on_cancel=True)
        finally:
            over.set()


async def _close(driver: AgentDriver) -> None:
    # Shielded: the hub may be ending. When CLOSE_S is over the driver's own farewell is lost; its processes
    # are killed with the hub's tree.
    with trio.move_on_after(CLOSE_S, shield=True):  # noqa: ASYNC912 - a driver that closes at once needs no limit
        try:
            await driver.aclose()
        except* Exception:
            _log.exception("a driver did not close cleanly")
