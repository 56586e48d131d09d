"""The end of an agent's turn, translated to our protocol. No I/O."""

from __future__ import annotations

from bridgehub.agents.acp.start import AUTH_REQUIRED, Greeting, sign_in_words
from bridgehub.agents.base import TurnEnd
from bridgehub.agents.codex.protocol import Fields, Reply
from bridgehub.agents.text import cut_text
from bridgehub.protocol.events import Noticed, TurnDone, TurnFailed
from bridgehub.protocol.hub_spec import HubSpec

__all__ = ["turn_end"]

_FINAL_CODES = frozenset({-32600, -32601, -32602})
"""Errors that the next try would meet again."""

_CUT_SHORT = {
    "max_tokens": "The answer reached the limit of its length and stops here.",
    "max_turn_requests": "The agent reached its limit of steps for one turn and stops here.",
}


def turn_end(
    turn_id: str, reply: Reply, spec: HubSpec, greeting: Greeting, *, stopped: bool
) -> tuple[TurnEnd, Noticed | None]:
    """Return a turn's end from the answer to its prompt, with a notice if one belongs before it.

    Args:
        reply: the answer to `session/prompt`.
        stopped: whether it was interrupted.
    """
    if reply.error is not None and not stopped:
        return _failed(turn_id, reply, spec, greeting), None
    reason = reply.result.text("stopReason")
    if reason == "refusal" and not stopped:
        content = f"{spec.agent} refused to continue this conversation."
        return TurnFailed(turn_id, "model_error", content, retryable=False), None
    if reason == "cancelled" and not stopped:
        return TurnFailed(turn_id, "model_error", f"{spec.agent} stopped by itself.", retryable=True), None
    cut_short = _CUT_SHORT.get(reason)
    notice = None if cut_short is None else Noticed(turn_id, "answer_cut", cut_short)
    return _done(turn_id, reply.result.inner("usage")), notice


def _failed(turn_id: str, reply: Reply, spec: HubSpec, greeting: Greeting) -> TurnFailed:
    if reply.code == AUTH_REQUIRED:
        return TurnFailed(turn_id, "not_signed_in", sign_in_words(spec, greeting.methods), retryable=False)
    content = cut_text(f"{spec.agent} failed: {reply.error}", 4096).value
    return TurnFailed(turn_id, "model_error", content, retryable=reply.code not in _FINAL_CODES)


def _done(turn_id: str, usage: Fields) -> TurnDone:
    given, said = usage.count("inputTokens"), usage.count("outputTokens")
    if given is None and said is None:
        return TurnDone(turn_id)
    return TurnDone(turn_id, given, said, usage.count("cachedReadTokens"))
