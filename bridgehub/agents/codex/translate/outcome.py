"""The end of a turn of Codex, translated to the protocol. No I/O.

An error shows in Codex's error class and the HTTP status, never in its text.
"""

from __future__ import annotations

import logging

import attrs

from bridgehub.agents.base import TurnEnd
from bridgehub.agents.codex.translate.events import http_status
from bridgehub.agents.errors import (
    BadOutput,
    CallRefused,
    NotResumed,
    NotSignedIn,
    ProgramMissing,
    WorkspaceGone,
)
from bridgehub.agents.json_rpc.messages import Fields
from bridgehub.agents.text import cut_text
from bridgehub.protocol.events import TurnDone, TurnFailed

__all__ = ["NOT_SIGNED_IN", "TokenUsage", "failed", "turn_end"]

_log = logging.getLogger("builderos.bridgehub")

NOT_SIGNED_IN = (
    "Codex is not signed in on this machine, or its sign-in is not valid any more. Run `codex login` in a "
    "terminal there (with a key: `printenv OPENAI_API_KEY | codex login --with-api-key`). If its "
    "configuration names a model provider of your own, fix that provider's key."
)

_INSTALL = "Run `make install` in the checkout, or `pip install 'builderos-mobile[codex]'`, and send the message again."

_PASSING_STATUSES = frozenset({408, 429})

_PASSING_KINDS = frozenset(
    {
        "usageLimitExceeded",
        "rateLimitExceeded",
        "flexUnavailable",
        "serverOverloaded",
        "internalServerError",
        "responseStreamDisconnected",
        "responseTooManyFailedAttempts",
        "responseStreamConnectionFailed",
        "httpConnectionFailed",
    }
)
"""Error classes that may not occur at the next try, unless the HTTP status says otherwise."""


@attrs.define(eq=False)
class TokenUsage:
    """The tokens of one turn, added up over its requests to the model service."""

    _total: int | None = None
    _input: int | None = None
    _output: int = 0
    _cached: int = 0

    def note(self, usage: Fields) -> None:
        """Take a `tokenUsage`. Its `last` belongs to one request. If the total repeats, it counts once."""
        total = usage.inner("total").count("totalTokens")
        last = usage.inner("last")
        if total is not None and total == self._total:
            return
        self._total = total
        self._input = (self._input or 0) + (last.count("inputTokens") or 0)
        self._output += last.count("outputTokens") or 0
        self._cached += last.count("cachedInputTokens") or 0

    def done(self, turn_id: str) -> TurnDone:
        """Return the successful end of a turn, without counts if none came. Codex reports no cost."""
        if self._input is None:
            return TurnDone(turn_id)
        return TurnDone(turn_id, self._input, self._output, self._cached)


def turn_end(
    turn_id: str,
    turn: Fields,
    usage: TokenUsage,
    *,
    retried: bool,
    resets_at_ms: int | None = None,
    position: dict[str, str] | None = None,
) -> TurnEnd:
    """Return a turn's end from the `turn` of `turn/completed`.

    Args:
        turn_id: our own id of the turn.
        turn: what Codex reports.
        usage: the tokens up to now.
        retried: whether the service had failed before. Then another try may succeed.
        resets_at_ms: when the person's limit ends, if one is reached.
        position: the place in Codex's own record after a successful end.
    """
    if turn.text("status") != "failed":
        return attrs.evolve(usage.done(turn_id), position=position)
    error = turn.inner("error")
    status, kind = http_status(error), _kind(error)
    if status == 401 or kind == "unauthorized":
        return TurnFailed(turn_id, "not_signed_in", NOT_SIGNED_IN, retryable=False)
    content = cut_text(error.text("message") or "Codex gave no reason.").value
    if kind == "usageLimitExceeded":
        return TurnFailed(turn_id, "usage_limit", content, retryable=True, resets_at_ms=resets_at_ms)
    if kind == "contextWindowExceeded":
        return TurnFailed(
            turn_id, "context_full", content, retryable=False, ways=("compact", "renew", "fork")
        )
    if kind == "badRequest":
        return TurnFailed(turn_id, "conversation_refused", content, retryable=False, ways=("renew", "fork"))
    may_pass = retried or kind in _PASSING_KINDS
    if status is not None:
        may_pass = status in _PASSING_STATUSES or status >= 500
    return TurnFailed(turn_id, "model_error", content, retryable=may_pass)


def _kind(error: Fields) -> str:
    info = error.value("codexErrorInfo")
    if isinstance(info, dict):
        return next(iter(info), "")
    return info if isinstance(info, str) else ""


def failed(turn_id: str, error: BaseException) -> TurnFailed:
    """Return the end of a turn that an error of the program ended."""
    match error:
        case ProgramMissing():
            return TurnFailed(turn_id, "not_installed", f"{error} {_INSTALL}", retryable=False)
        case NotSignedIn():
            return TurnFailed(turn_id, "not_signed_in", str(error), retryable=False)
        case BadOutput():
            _log.warning("Codex sent what is not its protocol: %s", error)
            told = f"Codex sent something that cannot be read: {error}."
            return TurnFailed(turn_id, "agent_protocol", told, retryable=True)
        case NotResumed():
            return TurnFailed(turn_id, "agent_exited", str(error), retryable=True, ways=("renew",))
        case CallRefused():
            told = f"Codex refused what it was asked: {error}"
            return TurnFailed(turn_id, "agent_exited", told, retryable=False)
        case WorkspaceGone():
            return TurnFailed(turn_id, "agent_exited", str(error), retryable=False)
    return TurnFailed(turn_id, "agent_exited", str(error), retryable=True)
