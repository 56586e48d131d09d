"""The session's settings in its hub: on their way to the driver, and what the driver reports outside of turns."""

from __future__ import annotations

import logging
from collections.abc import Callable

import attrs
import trio

from bridgehub.agents.base import AgentDriver
from bridgehub.masking import Masker
from bridgehub.outbox import Outbox
from bridgehub.protocol.events import AgentOffered, Gauged, HubEvent, ToolsPrinted
from bridgehub.protocol.hub_spec import Setup
from bridgehub.turns.sink import PermissionRequests

__all__ = ["Setups"]

_log = logging.getLogger("builderos.bridgehub")

GAUGE_S = 10.0
"""How long a driver may take to tell its gauge."""

NEWEST_S = 1.0
"""Least time between two gauges, lists of what the agent offers, or outputs of running tools (PROTOCOL section 8)."""


@attrs.define(eq=False)
class Setups:
    """One a hub. `setup`: the settings as the server last sent them."""

    outbox: Outbox
    asking: PermissionRequests
    masker: Masker
    setup: Setup
    _brought: Setup | None = None
    _is_revoked: bool = False
    _came: trio.Event = attrs.field(factory=trio.Event)
    _newest: dict[type[HubEvent], HubEvent] = attrs.field(factory=dict)
    _newest_came: trio.Event = attrs.field(factory=trio.Event)

    def change_nowait(self, setup: Setup) -> None:
        """Take the settings as they are now; the driver hears of them soon."""
        self._take(setup)
        self._came.set()

    def begin_turn(self, setup: Setup | None) -> Setup:
        """Return what a turn starts with: what came with its prompt, else what is known. Its driver knows it then."""
        if setup is not None:
            self._take(setup)
        self._brought = self.setup
        return self.setup

    async def bring(self, driver: Callable[[], AgentDriver | None]) -> None:
        """Bring changed settings to the driver, beside its turn or between two, until cancelled."""
        while True:
            await self._came.wait()
            self._came = trio.Event()
            found, setup = driver(), self.setup
            if found is None or setup == self._brought:
                continue  # the next turn starts with them
            self._brought = setup
            try:
                await found.configure(setup, self.tell)
            except Exception:
                _log.exception("the settings could not be changed now; the next turn starts with them")

    def take_revoked(self) -> bool:
        """Tell, once, whether a right was taken back that the agent's program may still know of."""
        revoked, self._is_revoked = self._is_revoked, False
        return revoked

    async def after_turn(self, driver: AgentDriver | None) -> None:
        """Have the driver tell what it knows of context, cost and limits; it is left out if it cannot."""
        if driver is None:
            await trio.lowlevel.checkpoint()
            return
        with trio.move_on_after(GAUGE_S):  # noqa: ASYNC912 - the driver waits
            try:
                await driver.after_turn(self.tell)
            except Exception as exc:
                _log.info("the gauge is not known: %s", type(exc).__name__)

    def newest_nowait(self, event: AgentOffered | Gauged | ToolsPrinted) -> None:
        """Tell what only the newest of counts, soon."""
        self._newest[type(event)] = event
        self._newest_came.set()

    async def tell_newest(self) -> None:
        """Tell it, at most once in `NEWEST_S`, until cancelled."""
        while True:
            await self._newest_came.wait()
            self._newest_came = trio.Event()
            for event in self._newest.values():
                self.outbox.put_newest_nowait(event)
            self._newest.clear()
            await trio.sleep(NEWEST_S)

    def _take(self, setup: Setup) -> None:
        self.setup = setup
        self._is_revoked |= bool(self.asking.grants - set(setup.grants))
        self.asking.grants = set(setup.grants)

    async def tell(self, event: HubEvent) -> None:
        """Report an event that is of no turn."""
        if isinstance(event, AgentOffered | Gauged):
            self.newest_nowait(event)
            await trio.lowlevel.checkpoint()
        else:
            await self.outbox.put(self.masker.event(event))
