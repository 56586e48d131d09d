"""What `builderos doctor` says of notifications: the packages, the contact, the channels, the last card shown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from builderos.agent_checks import Finding
from builderos.ids import wall_clock_ms
from storage.read_only import count_channels
from transport.push.notifier import has_packages
from transport.push.settings import PushSettings

__all__ = ["push_lines"]

Line = tuple[bool, str, str, str]


def push_lines(database: Path, settings: PushSettings) -> Iterable[Finding]:
    """Return what doctor says of notifications."""
    for good, about, detail, fix in _lines(database, settings):
        yield Finding("ok" if good else "note", about, detail, fix)


def _lines(database: Path, settings: PushSettings) -> Iterable[Line]:
    """Yield for each line whether it is good, its subject, its detail and its fix."""
    if not has_packages():
        yield False, "notifications", "the extra `push` is not installed", "make install"
        return
    found = count_channels(database)
    if found is None:
        yield True, "notifications", "possible over HTTPS; no device has turned them on yet", ""
        return
    channels, shown_ms, plain = found.channels, found.shown_at_ms, found.plain_count
    if not channels:
        fix = "open the page over HTTPS, then Settings, Turn on notifications"
        yield False, "notifications", "no device has turned them on", fix
    for kind, state, count in channels:
        fix = {
            "failing": "see Recent alerts in the settings of the page",
            "asleep": "open the page on that device",
        }.get(state, "")
        yield state != "failing", f"notifications {kind}", f"{count} {state}", fix
    if any(kind == "apns" for kind, _, _ in channels) and settings.apns is None:
        yield False, "notifications apns", "the iOS app is registered, and there is no key", "set [push.apns]"
    if settings.apns is not None and not settings.apns.key_file.is_file():
        yield (
            False,
            "notifications apns",
            f"{settings.apns.key_file} does not exist",
            "set push.apns.key_file",
        )
    if settings.contact is None and plain:
        yield False, "notifications contact", "Safari needs one", 'set contact = "mailto:…" under [push]'
    if channels:
        yield (
            shown_ms is not None,
            "notifications shown",
            _ago(shown_ms),
            "press Send a test" if not shown_ms else "",
        )


def _ago(shown_ms: int | None) -> str:
    if shown_ms is None:
        return "no device has reported a card yet"
    hours = (wall_clock_ms() - shown_ms) / 3_600_000
    return f"the last card {hours:.1f} hours ago"
