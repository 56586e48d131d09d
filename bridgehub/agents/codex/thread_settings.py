"""The settings of a Codex thread, and what a turn must send to change them. No I/O.

Overrides of `turn/start` stay in force for later turns, so only differences are sent. A thread is opened with the name of
a sandbox, and Codex answers with the policy that results from the person's own settings. A turn takes only policies. So
a sandbox with an unknown policy requires opening the thread again.
"""

from __future__ import annotations

from typing import Any

import attrs

from bridgehub.agents.codex.own_calls import COMMANDS
from bridgehub.agents.codex.protocol import Fields
from bridgehub.agents.codex.start import StartSettings
from bridgehub.protocol.hub_spec import HubSpec, Setup

__all__ = ["PLAN_MODE", "ThreadSettings", "offer_of"]

PLAN_MODE = "plan"
BYPASS = "bypassPermissions"

_MODES = (
    {
        "id": "default",
        "kind": "edits",
        "name": "Default",
        "description": "As the agent's table says: usually edits in the workspace and asks for the rest.",
    },
    {
        "id": "untrusted",
        "kind": "ask",
        "name": "Ask",
        "description": "Asks before each command that is not known to be harmless.",
    },
    {
        "id": "read-only",
        "kind": "ask",
        "name": "Read only",
        "description": "Reads, and asks before it changes anything.",
    },
    {
        "id": "acceptEdits",
        "kind": "edits",
        "name": "Accept edits",
        "description": "Edits files in the workspace without asking.",
    },
    {
        "id": PLAN_MODE,
        "kind": "plan",
        "name": "Plan",
        "description": "Reads and plans, and changes nothing.",
    },
    {
        "id": BYPASS,
        "kind": "bypass",
        "name": "Never ask",
        "description": "Runs everything without asking and without a sandbox.",
    },
)


@attrs.define(eq=False)
class ThreadSettings:
    """What is in force in one thread, as far as it is known.

    Attributes:
        default_model: what an unset model means.
        policies: sandbox policies, by the name with which the thread was opened.
    """

    default_model: str
    model: str
    effort: str | None
    approval: Any
    sandbox: str | None
    policies: dict[str | None, Any]
    is_plan: bool = False

    @classmethod
    def of_start(cls, told: Fields, opened: StartSettings, default_model: str | None) -> ThreadSettings:
        """Read what Codex answered when the thread was opened with `opened`."""
        model = told.text("model")
        return cls(
            default_model or model,
            model,
            told.maybe_text("reasoningEffort"),
            told.value("approvalPolicy"),
            opened.sandbox,
            {opened.sandbox: told.value("sandbox")},
        )

    def knows(self, wanted: StartSettings) -> bool:
        """Return whether a turn can change to these settings. If not, open the thread again."""
        return wanted.sandbox in self.policies and self.policies[wanted.sandbox] is not None

    def overrides(self, setup: Setup, wanted: StartSettings) -> dict[str, Any]:
        """Return what `turn/start` must send so that its turn has these settings. Assumes from then on that it was sent."""
        changes: dict[str, Any] = {}
        model, is_plan = wanted.model or self.default_model, setup.permission_mode == PLAN_MODE
        if wanted.approval is not None and wanted.approval != self.approval:
            changes["approvalPolicy"] = self.approval = wanted.approval
        if wanted.sandbox != self.sandbox:
            changes["sandboxPolicy"] = self.policies[wanted.sandbox]
            self.sandbox = wanted.sandbox
        if is_plan or self.is_plan:
            # It overrides model and effort.
            changes["collaborationMode"] = {
                "mode": "plan" if is_plan else "default",
                "settings": {
                    "model": model,
                    "reasoning_effort": setup.effort,
                    "developer_instructions": None,
                },
            }
        elif model != self.model:
            changes["model"] = model
        if not is_plan and not self.is_plan and setup.effort is not None and setup.effort != self.effort:
            changes["effort"] = setup.effort
        self.model, self.effort, self.is_plan = model, setup.effort or self.effort, is_plan
        return changes


def offer_of(models: Fields) -> dict[str, Any]:
    """Return what Codex offers, from its answer to `model/list`."""
    return {
        "models": [_model(one) for one in models.objects("data") if not one.flag("hidden")],
        "modes": list(_MODES),
        "commands": list(COMMANDS),
        "mcp_servers": [],
        "applies": {"model": "next_turn", "permission_mode": "next_turn", "effort": "next_turn"},
        "can": ["steer", "images", "compact", "fork"],
    }


def refused_mode(spec: HubSpec, setup: Setup) -> str | None:
    """Return why the mode of a setup is refused. None if it is accepted."""
    never = setup.permission_mode in (BYPASS, "never", "danger-full-access")
    if never and spec.options.get("allow_bypass") is not True:
        return "Codex may not work without asking: `allow_bypass` is off in the agent's table"
    return None


def _model(one: Fields) -> dict[str, Any]:
    efforts = [effort.text("reasoningEffort") for effort in one.objects("supportedReasoningEfforts")]
    return {
        "id": one.text("id"),
        "name": one.text("displayName"),
        "description": one.text("description"),
        "efforts": efforts,
        "default": one.flag("isDefault"),
    }
