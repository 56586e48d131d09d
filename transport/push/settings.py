"""What the config says of notifications."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Final, Literal

import attrs

__all__ = ["ApnsSettings", "CommandSettings", "Detail", "NtfySettings", "PushSettings", "QuietHours", "When"]

Detail = Literal["none", "title", "request"]
When = Literal["always", "fallback"]

APNS_HOSTS: Final = ("https://api.push.apple.com", "https://api.sandbox.push.apple.com")


@attrs.frozen
class QuietHours:
    """Hours of each day in which nobody is disturbed. `zone`: None is the machine's own."""

    start: time
    end: time
    zone: tzinfo | None
    text: str

    def until_ms(self, now_ms: int) -> int | None:
        """Return the end of the quiet hours; None outside of them."""
        now = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(self.zone)
        clock = now.time().replace(tzinfo=None)
        after, before = clock >= self.start, clock < self.end
        if not (after and before if self.start <= self.end else after or before):
            return None
        end = now.replace(hour=self.end.hour, minute=self.end.minute, second=0, microsecond=0)
        if clock >= self.end:
            end += timedelta(days=1)
        return int(end.timestamp() * 1000)


@attrs.frozen(kw_only=True)
class ApnsSettings:
    """How to reach the iOS app: the key of its owner. `hosts`: of Apple's service, then of its sandbox."""

    key_file: Path
    key_id: str
    team_id: str
    topic: str
    detail: Detail = "none"
    hosts: tuple[str, str] = APNS_HOSTS


@attrs.frozen(kw_only=True)
class NtfySettings:
    """One topic of an ntfy server. `actions`: whether its cards have buttons that answer a request."""

    url: str = attrs.field(repr=False)
    token_file: Path | None = None
    when: When = "always"
    detail: Detail = "none"
    actions: bool = False


@attrs.frozen(kw_only=True)
class CommandSettings:
    """A program that gets each card as JSON on its standard input."""

    command: tuple[str, ...]
    when: When = "always"
    detail: Detail = "title"


@attrs.frozen(kw_only=True)
class PushSettings:
    """The table `push`, and how long a request may wait for an answer. docs/user/configuration.md has the keys.

    Attributes:
        origin: where devices reach this server, for links of channels that no page has registered.
    """

    contact: str | None = None
    origin: str | None = None
    detail: Detail = "title"
    escalate_s: float = 120.0
    fallback_s: float = 300.0
    quiet: QuietHours | None = None
    hosts: tuple[str, ...] = ()
    apns: ApnsSettings | None = None
    ntfy: Mapping[str, NtfySettings] = attrs.field(factory=dict)
    command: Mapping[str, CommandSettings] = attrs.field(factory=dict)
    permission_timeout_s: float | None = None

    def detail_of(self, kind: str, name: str) -> Detail:
        """Return how much a card of this kind of channel says; `name` is that of its table."""
        if kind == "apns":
            return self.apns.detail if self.apns is not None else "none"
        if kind == "ntfy":
            return self.ntfy[name].detail if name in self.ntfy else "none"
        if kind == "command":
            return self.command[name].detail if name in self.command else "none"
        return self.detail

    def is_fallback(self, kind: str, name: str) -> bool:
        """Return whether a channel is notified only if nobody else settled the alert."""
        if kind == "ntfy":
            return name in self.ntfy and self.ntfy[name].when == "fallback"
        return kind == "command" and name in self.command and self.command[name].when == "fallback"
