"""What an agent was given in secret must stand in no error text, notice or log. No I/O.

An agent's program repeats such a value where nobody expects it: in its last words, or in what the model service
said to it. What is secret shows in the variable's name, but for a password in an address. Masked is what this
program says *about* an agent; what the agent itself says, and what its tools read, is the conversation and stays as
it is.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping

import attrs

from bridgehub.protocol.events import HubEvent, Noticed, SettingsTold, TaskEnded, TurnFailed
from bridgehub.protocol.hub_spec import HubSpec

__all__ = ["MASK", "Masker", "MaskingFormatter"]

MASK = "…"

MIN_CHARS = 6
"""A shorter value is hardly a secret, and masking it would garble the text."""

MIN_PART_CHARS = 6
"""Of a value that a cut went through, so much left at a line's edge is masked as well."""

_NO_SECRET_NAME = re.compile(
    r"AUTHOR(?!I[ZS])|KEYBOARD|KEYMAP|MAX_.*TOKENS$|_SOCK$|_(?:DIR|FILE|PATH)$", re.IGNORECASE
)
"""What only looks like one: `GIT_AUTHOR_NAME`, `SSH_AUTH_SOCK`, `MAX_TOKENS`. Names, paths and numbers are needed to
understand an error."""

_IN_ADDRESS = re.compile(r"://[^/@\s]*:([^/@\s]+)@")
"""A password in an address, whatever the variable is called: proxies and databases have theirs there."""

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)


@attrs.frozen(repr=False)
class Masker:
    """Masks these values, the longest first."""

    secrets: tuple[str, ...] = ()

    @classmethod
    def of(cls, *environments: Mapping[str, str]) -> Masker:
        """Build one for the secrets of these environments."""
        told = [pair for environment in environments for pair in environment.items()]
        found = {value.strip() for name, value in told if _is_secret(name)}
        found |= {password for _, value in told for password in _IN_ADDRESS.findall(value)}
        kept = (value for value in found if len(value) >= MIN_CHARS)
        return cls(tuple(sorted(kept, key=len, reverse=True)))

    @classmethod
    def of_spec(cls, spec: HubSpec) -> Masker:
        """Build one for all that a hub knows: its agent's environment and those of the agent's delegates."""
        return cls.of(spec.env, *(delegate.env for delegate in spec.delegates.values()))

    def text(self, text: str) -> str:
        """Return the text with each secret masked, at the edges of lines also what a cut has left of one."""
        for secret in self.secrets:
            text = text.replace(secret, MASK)
        return "\n".join(map(self._line, text.split("\n"))) if self.secrets else text

    def _line(self, line: str) -> str:
        for secret in self.secrets:
            line = _without_edges(line, secret)
        return line

    def event(self, event: HubEvent) -> HubEvent:
        """Return an event with its secrets masked, if its words are about an agent and not the agent's."""
        match event:
            case TurnFailed() | Noticed():
                return attrs.evolve(event, content=self.text(event.content))
            case SettingsTold(refused=str(refused)):
                return attrs.evolve(event, refused=self.text(refused))
            case TaskEnded(state="failed", result=str(result)):
                return attrs.evolve(event, result=self.text(result))
        return event


class MaskingFormatter(logging.Formatter):
    """Formats log records, tracebacks included, with secrets masked."""

    def __init__(self, style: str, masker: Masker) -> None:
        super().__init__(style)
        self.masker = masker

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line or lines."""
        return self.masker.text(super().format(record))


def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None and _NO_SECRET_NAME.search(name) is None


def _without_edges(text: str, secret: str) -> str:
    for length in _parts(text, secret):
        if text.startswith(secret[-length:]):
            text = MASK + text[length:]
            break
    for length in _parts(text, secret):
        if text.endswith(secret[:length]):
            return text[:-length] + MASK
    return text


def _parts(text: str, secret: str) -> Iterable[int]:
    return range(min(len(secret) - 1, len(text)), MIN_PART_CHARS - 1, -1)
