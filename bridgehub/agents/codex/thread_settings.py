"""The settings of a Codex thread, and what a turn must send to change them. No I/O.

Overrides of `turn/start` stay in force for later turns, so only differences are sent. A thread is opened with the name of
a sandbox, and Codex answers with the policy that results from the person's own settings. A turn takes only policies. So
a sandbox with an unknown policy requires opening the thread again.

Codex reports each change of a thread's settings to all its clients, ours too. So a change that is not ours is one of a
terminal that shares the program.
"""

from __future__ import annotations

from typing import Any

import attrs

from bridgehub.agents.codex.start import StartSettings
from bridgehub.agents.codex.turn import COMMANDS
from bridgehub.agents.json_rpc.messages import Fields
from bridgehub.agents.rights import mode_in_force
from bridgehub.protocol.hub_spec import HubSpec, Setup

__all__ = ["PLAN_MODE", "ThreadSettings", "offer_of", "own_efforts", "refused_mode"]

PLAN_MODE = "plan"
BYPASS = "bypassPermissions"

_THEIRS = "of a terminal"
"""In place of a sandbox's name: a policy that we have not set."""

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
        efforts: each model's own effort.
        is_sent: whether a change of ours is on its way, which Codex will report.
    """

    default_model: str
    model: str
    effort: str | None
    approval: Any
    sandbox: str | None
    policies: dict[str | None, Any]
    is_plan: bool = False
    efforts: dict[str, str] = attrs.field(factory=dict)
    is_sent: bool = False
    _reviewer: Any = None
    _own_approval: Any = None
    """What we set, or found at the start: a terminal's other one does not count for a turn of ours."""
    _own_reviewer: Any = None
    _own_sandbox: str | None = None
    _own_mode: str | None = None
    _policy: Any = None
    """The sandbox in force."""

    @classmethod
    def of_start(
        cls, told: Fields, opened: StartSettings, default_model: str | None, mode: str | None = None
    ) -> ThreadSettings:
        """Read what Codex answered when the thread was opened with `opened`, for the session's `mode`."""
        model, approval, policy = told.text("model"), told.value("approvalPolicy"), told.value("sandbox")
        reviewer = told.value("approvalsReviewer")
        return cls(
            default_model or model,
            model,
            told.maybe_text("reasoningEffort"),
            approval,
            opened.sandbox,
            {opened.sandbox: policy},
            _is_plan(told),
            reviewer=reviewer,
            own_approval=approval,
            own_reviewer=reviewer,
            own_sandbox=opened.sandbox,
            own_mode=None if mode == PLAN_MODE else mode,
            policy=policy,
        )

    def knows(self, wanted: StartSettings) -> bool:
        """Return whether a turn can change to these settings. If not, open the thread again."""
        return wanted.sandbox in self.policies and self.policies[wanted.sandbox] is not None

    def overrides(self, setup: Setup, wanted: StartSettings) -> dict[str, Any]:
        """Return what `turn/start` must send so that its turn has these settings. Assumes from then on that it was sent."""
        changes: dict[str, Any] = {}
        model, is_plan = wanted.model or self.default_model, setup.permission_mode == PLAN_MODE
        approval = self._own_approval if wanted.approval is None else wanted.approval
        if approval is not None and approval != self.approval:
            changes["approvalPolicy"] = self.approval = approval
        if self._own_reviewer is not None and self._own_reviewer != self._reviewer:
            changes["approvalsReviewer"] = self._reviewer = self._own_reviewer
        if wanted.sandbox != self.sandbox:
            changes["sandboxPolicy"] = self._policy = self.policies[wanted.sandbox]
            self.sandbox = wanted.sandbox
        self._own_approval, self._own_sandbox, self._own_mode = (
            approval,
            wanted.sandbox,
            setup.permission_mode,
        )
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
        self.is_sent = bool(changes)
        return changes

    def note(self, told: Fields) -> dict[str, str | None]:
        """Take what Codex reports to be in force. Return what a terminal changed, in the session's words."""
        model, effort = told.text("model") or self.model, told.maybe_text("effort")
        is_plan = _is_plan(told)
        if self.is_sent and model == self.model and is_plan == self.is_plan:
            self.is_sent, self.effort = False, effort
            return {}
        changes: dict[str, str | None] = {}
        if model != self.model:
            changes["model"] = model
        # Plan mode has an effort of its own.
        if is_plan == self.is_plan and (changes or effort != self.effort):
            chosen = None if effort == self.efforts.get(model) else effort
            if changes or chosen != (self.effort if self.effort != self.efforts.get(model) else None):
                changes["effort"] = chosen
        before = self._mode()
        self.model, self.effort, self.is_plan = model, effort, is_plan
        self.approval, self._policy = told.value("approvalPolicy"), told.value("sandboxPolicy")
        self._reviewer = told.value("approvalsReviewer")
        if self._policy != self.policies.get(self.sandbox):
            known = (name for name, policy in self.policies.items() if policy == self._policy)
            self.sandbox = next(known, _THEIRS)
        mode = self._mode()
        if mode != before:
            changes["permission_mode"] = mode
        return changes

    def _mode(self) -> str | None:
        """Return the permission mode that is in force."""
        if self.is_plan:
            return PLAN_MODE
        is_own = self.approval == self._own_approval and self.sandbox == self._own_sandbox
        if is_own and self._own_mode != PLAN_MODE:
            return self._own_mode
        return mode_in_force(self.approval, self._policy)


def _is_plan(told: Fields) -> bool:
    """Tell whether a thread is in plan mode. Codex keeps that over a resume."""
    return told.inner("collaborationMode").text("mode") == PLAN_MODE


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


def own_efforts(models: Fields) -> dict[str, str]:
    """Return each model's own effort, from Codex's answer to `model/list`."""
    told = (
        (one.text("model") or one.text("id"), one.text("defaultReasoningEffort"))
        for one in models.objects("data")
    )
    return {model: effort for model, effort in told if effort}


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
