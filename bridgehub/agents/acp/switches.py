"""Applies the session's settings to the agent: mode, model and effort, one call for each that differs."""

from __future__ import annotations

import attrs
import trio

from bridgehub.agents.acp.offer import SETTINGS, AcpOffer
from bridgehub.agents.base import Tell
from bridgehub.agents.errors import CallRefused
from bridgehub.agents.json_rpc.program import Program
from bridgehub.protocol.events import SettingsTold
from bridgehub.protocol.hub_spec import HubSpec, Setup

__all__ = ["AcpSwitches"]

SET_S = 10.0
"""How long an agent may take to change a setting, seconds."""

MAX_REASON_CHARS = 500


@attrs.define(eq=False)
class AcpSwitches:
    """The settings of one conversation."""

    spec: HubSpec
    program: Program
    session_id: str
    offer: AcpOffer
    _changing: trio.Lock = attrs.field(factory=trio.Lock)

    @property
    def busy(self) -> bool:
        """Whether a change is under way. The agent may report it before it answers."""
        return self._changing.locked()

    async def set_up(self, setup: Setup, tell: Tell, turn_id: str | None) -> None:
        """Change the settings that differ. Report those that the agent refuses, with the values in force.

        Raises:
            ProgramExited, BadOutput: the program ended or broke.
        """
        may_bypass = self.spec.options.get("allow_bypass") is True
        async with self._changing:
            for name in SETTINGS:
                value = getattr(setup, name) or self.offer.defaults.get(name)
                choice = self.offer.choices.get(name)
                if value is None or (choice is not None and choice.current == value):
                    continue
                refused = self.offer.refusal(name, value, may_bypass=may_bypass)
                refused = refused or await self._change(name, value)
                if refused is not None:
                    told = {name: self.offer.value_of(name)}
                    await tell(SettingsTold(turn_id, told, f"{self.spec.agent}: {refused}"))
            await trio.lowlevel.checkpoint()

    async def _change(self, name: str, value: str) -> str | None:
        """Change one setting. Return why the agent did not, None if it did."""
        change, choice = self.offer.change(name, value, self.session_id), self.offer.choices[name]
        before, choice.current = choice.current, value
        try:
            with trio.fail_after(SET_S):
                told = await self.program.call(change.method, change.params)
        except (CallRefused, trio.TooSlowError) as error:
            choice.current = before
            return str(error)[:MAX_REASON_CHARS] or f"it did not answer within {SET_S:g} s"
        self.offer.read_options(told)
        return None
