"""Model, permission mode and effort of a running Claude Code: changed with the session's settings, and watched.

The program forgets mode and effort when it is resumed, so each new program gets them again. It reports each change of
its mode in a `status` message. If we did not ask for a change, the program made it by itself: it entered or left its
plan mode.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

import attrs
import trio
from claude_agent_sdk import ClaudeSDKClient

from bridgehub.agents.claude.offer import ClaudeOffer
from bridgehub.protocol.events import SettingsTold
from bridgehub.protocol.hub_spec import Setup

__all__ = ["ClaudeSwitches"]

logger = logging.getLogger("builderos.bridgehub")

ANSWER_S = 10.0
"""How long the program may take to change a setting, seconds; 0.02 s seen."""

_TYPED = ("/model", "/effort")
"""Commands by which a person changes settings."""


@attrs.define(eq=False)
class ClaudeSwitches:
    """The settings of one running program.

    Attributes:
        default_mode, default_model: from the agent's table, for a session that sets none.
        model, mode, effort, title: what the program has, in the session's words.
    """

    client: ClaudeSDKClient
    offer: ClaudeOffer
    default_model: str | None
    default_mode: str
    model: str | None
    mode: str
    effort: str | None = None
    title: str | None = None
    _expected: deque[str] = attrs.field(factory=deque)
    _lock: trio.Lock = attrs.field(factory=trio.Lock)

    async def bring(self, setup: Setup) -> list[SettingsTold]:
        """Change the settings that differ. Return those that the program refused, with the values in force.

        A model that has another name in the program's own list is returned with that name.

        Raises:
            Exception: the program has ended. The SDK has no class of its own for that.
        """
        refused = []
        async with self._lock:
            if setup.model != self.model:
                refused += await self._set("model", setup.model, self.model)
            mode = setup.permission_mode or self.default_mode
            if mode != self.mode:
                refused += await self._set("permission_mode", mode, self.mode)
            if setup.effort != self.effort:
                refused += await self._set("effort", setup.effort, self.effort)
            named = None if setup.model is None else self.offer.model_of(setup.model)
            # A terminal's own record has the long name.
            if named not in (setup.model, "default") and not refused:
                self.model = named
                refused.append(SettingsTold(None, {"model": named}))
        return refused

    async def call_session(self, title: str | None) -> None:
        """Show the session's title in the program's own list. The program must have a transcript of the session.

        Raises:
            Exception: as `bring`.
        """
        if title and title != self.title:
            await self.ask({"subtype": "rename_session", "title": title})
            self.title = title

    def expect_mode(self, mode: str) -> None:
        """Note that the program changes its mode on our request."""
        if mode != self.mode:
            self._expected.append(mode)
            self.mode = mode

    def lend_mode(self, mode: str | None) -> None:
        """Note that the program gets a mode as part of a permission for the session. The session's mode stays."""
        if mode is not None and mode != self.mode:
            self._expected.append(mode)

    def note_mode(self, mode: str) -> SettingsTold | None:
        """Take the mode that the program reports. Return what to report if the program changed it by itself."""
        if self._expected and self._expected[0] == mode:
            self._expected.popleft()
            return None
        if mode == self.mode:
            return None
        self.mode = mode
        return SettingsTold(None, {"permission_mode": mode})

    async def after_command(self, content: str) -> SettingsTold | None:
        """Return what a typed command has changed. None if nothing changed, or if it is not such a command."""
        if not content.startswith(_TYPED):
            await trio.lowlevel.checkpoint()
            return None
        try:
            told = await self.ask({"subtype": "get_settings"})
        except Exception as error:  # the SDK has no class of its own for a refused control request
            logger.info("the settings after a command are not known: %s", type(error).__name__)
            return None
        applied = told.get("applied")
        known = applied if isinstance(applied, dict) else {}
        changes: dict[str, str | None] = {}
        if isinstance(known.get("model"), str) and content.startswith("/model"):
            self.model = changes["model"] = self.offer.model_of(known["model"])
        if isinstance(known.get("effort"), str) and content.startswith("/effort"):
            self.effort = changes["effort"] = known["effort"]
        return SettingsTold(None, changes) if changes else None

    async def _set(self, name: str, value: str | None, before: str | None) -> list[SettingsTold]:
        requests: dict[str, dict[str, Any]] = {
            "model": {"subtype": "set_model", "model": value or self.default_model},
            "permission_mode": {"subtype": "set_permission_mode", "mode": value},
            "effort": {"subtype": "apply_flag_settings", "settings": {"effortLevel": value}},
        }
        if name == "permission_mode":
            self._expected.append(str(value))
        try:
            await self.ask(requests[name])
        except Exception as error:  # as above
            if name == "permission_mode":
                self._expected.pop()
            return [SettingsTold(None, {name: before}, f"Claude Code refused {name} {value!r}: {error}")]
        setattr(self, "mode" if name == "permission_mode" else name, value)
        return []

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a control request. Return its answer. Raises Exception: the program refused, or has ended."""
        query = self.client._query
        assert query is not None, "a program that is up has one"
        with trio.fail_after(ANSWER_S):
            answer: dict[str, Any] = await query._send_control_request(request)
        return answer
