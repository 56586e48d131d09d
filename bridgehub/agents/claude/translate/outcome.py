"""The end of a turn of Claude Code: its results added up and translated to the protocol. No I/O.

Each result has its own usage. A turn has several results if sub-agents wake the program again. Cost comes as the running
total of the program's life. An error shows in `is_error`, the HTTP status and the error class of the message before the
result, never in its text: `subtype` is `success` even for an error of the model service.
"""

from __future__ import annotations

from typing import Any

import attrs
from claude_agent_sdk import AssistantMessage, RateLimitInfo, ResultMessage

from bridgehub.agents.base import TurnEnd
from bridgehub.agents.claude.memory import RecordPosition
from bridgehub.agents.text import cut_text
from bridgehub.protocol.events import TurnDone, TurnFailed

__all__ = ["TurnOutcome", "named_uuids"]

_NOT_SIGNED_IN = (
    "Claude Code is not signed in on this machine. Run `claude` in a terminal there and type /login, "
    "or set ANTHROPIC_API_KEY in the environment of the server or in `env` of the agent's table."
)

_PASSING_ERRORS = frozenset({"rate_limit", "server_error", "overloaded"})
"""Error classes that may not occur at the next try."""

_PASSING_STATUSES = frozenset({408, 429})


@attrs.define(eq=False)
class TurnOutcome:
    """Collects what one turn's messages report about its end.

    Attributes:
        cost_before: the program's running total when the turn began, US dollars. None if unknown: a program that resumed a
            conversation continues from a sum that it does not report.
        cost_total: the running total now, US dollars.
    """

    turn_id: str
    prompt_uuid: str
    cost_before: float | None
    cost_total: float | None = attrs.field(init=False)
    limit: RateLimitInfo | None = None
    """What the service last reported of the person's limits in this turn."""
    answered: bool = False
    """Whether the prompt has its result. True from the start in a turn that the program began by itself."""
    compaction_error: str | None = None
    """Why the conversation could not be compacted, if the prompt asked for that."""
    _last: ResultMessage | None = None
    position: RecordPosition | None = None
    """The newest message of the agent's main conversation."""
    _error_class: str | None = None
    _tokens: dict[str, int] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.cost_total = self.cost_before

    def note(self, message: AssistantMessage | ResultMessage) -> None:
        """Take a message of the main conversation."""
        if isinstance(message, AssistantMessage):
            if message.parent_tool_use_id is None:
                self._error_class = message.error
                told = {"conversation": message.session_id, "message": message.uuid}
                self.position = RecordPosition.of(told) or self.position
            return
        if not self.answered and not self._is_mine(message):
            return
        self.answered = True
        self._last = message
        for name, count in (message.usage or {}).items():
            if isinstance(count, int):
                self._tokens[name] = self._tokens.get(name, 0) + count
        if message.total_cost_usd is not None:
            self.cost_total = message.total_cost_usd

    def end(self, *, interrupted: bool) -> TurnEnd:
        """Return the turn's end. An interrupted turn is not a failure, whatever its result says."""
        last = self._last
        if self.compaction_error is not None and not interrupted:
            content = cut_text(self.compaction_error).value
            return TurnFailed(self.turn_id, "model_error", content, retryable=True, ways=("renew", "fork"))
        if last is None or not last.is_error or interrupted:
            return self._done()
        if self._is_sign_in(last):
            return TurnFailed(self.turn_id, "not_signed_in", _NOT_SIGNED_IN, retryable=False)
        if (known := self._known_end(last)) is not None:
            return known
        told = last.result or "; ".join(last.errors or ()) or last.subtype
        content = cut_text(told).value
        return TurnFailed(self.turn_id, "model_error", content, retryable=self._may_pass(last))

    def _known_end(self, last: ResultMessage) -> TurnFailed | None:
        """Return an end that a person can do something about. None for any other."""
        content = cut_text(last.result or "; ".join(last.errors or ()) or last.subtype).value
        limit = self.limit
        if limit is not None and limit.status == "rejected" and last.api_error_status in (None, 429):
            resets_at_ms = None if limit.resets_at is None else limit.resets_at * 1000
            return TurnFailed(self.turn_id, "usage_limit", content, retryable=True, resets_at_ms=resets_at_ms)
        if last.terminal_reason == "prompt_too_long":
            ways = ("compact", "renew", "fork")
            return TurnFailed(self.turn_id, "context_full", content, retryable=False, ways=ways)
        if last.api_error_status == 400:
            return TurnFailed(
                self.turn_id, "conversation_refused", content, retryable=False, ways=("renew", "fork")
            )
        return None

    def _is_mine(self, result: ResultMessage) -> bool:
        named = named_uuids(result)
        if named:
            return self.prompt_uuid in named
        return result.origin is None or result.origin["kind"] == "human"

    def _is_sign_in(self, result: ResultMessage) -> bool:
        """Return whether the error means a missing sign-in. A 403 does not: the key is known but not permitted."""
        if result.api_error_status is None:
            return self._error_class == "authentication_failed"
        return result.api_error_status == 401

    def _may_pass(self, result: ResultMessage) -> bool:
        status = result.api_error_status
        if status is None:
            return self._error_class in _PASSING_ERRORS
        return status in _PASSING_STATUSES or status >= 500

    def _done(self) -> TurnDone:
        if self._last is None:
            return TurnDone(self.turn_id)
        return TurnDone(
            self.turn_id,
            input_tokens=self._sum("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
            output_tokens=self._sum("output_tokens"),
            cached_input_tokens=self._sum("cache_read_input_tokens"),
            cost_usd=self._spent(),
            position=None if self.position is None else self.position.told(),
        )

    def _spent(self) -> float | None:
        """Return the turn's cost in US dollars. A total that fell was reset inside this turn (`/clear`)."""
        if self.cost_before is None or self.cost_total is None:
            return None
        spent = self.cost_total - self.cost_before
        return spent if spent >= 0 else self.cost_total

    def _sum(self, *names: str) -> int | None:
        known = [self._tokens[name] for name in names if name in self._tokens]
        return sum(known) if known else None


def named_uuids(message: Any) -> frozenset[str]:
    """Return the uuids of the prompts that a message of the program names."""
    source = message.data if isinstance(getattr(message, "data", None), dict) else vars(message)
    named = [source.get("user_message_uuid"), *(source.get("user_message_uuids") or ())]
    return frozenset(name for name in named if isinstance(name, str))
