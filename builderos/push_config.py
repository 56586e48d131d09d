"""Reads the table `push` of the config: who is notified, when, and how much a card says."""

from __future__ import annotations

import os
import re
import time as clock
from collections.abc import Callable
from datetime import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

import attrs

from builderos.config_values import OutOfRangeError, not_empty, positive
from transport.push.senders.endpoints import origin_parts
from transport.push.settings import (
    ApnsSettings,
    CommandSettings,
    Detail,
    NtfySettings,
    PushSettings,
    QuietHours,
    When,
)

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

__all__ = ["own_zone", "parse_push", "quiet_hours"]

T = TypeVar("T")

_QUIET: Final = re.compile(r"([0-2]\d):([0-5]\d)-([0-2]\d):([0-5]\d)(?: ([A-Za-z0-9_+/-]{1,64}))?")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Structure(Protocol):
    """Turns a table into a frozen class; raises ConfigError for a wrong value or an unknown key."""

    def __call__(self, table: dict[str, Any], cls: type[T], prefix: str) -> T: ...


def quiet_hours(text: str) -> QuietHours | None:
    """Return the hours of a text like `22:00-07:00 Europe/Berlin`; None if it is empty. Raises ValueError."""
    if not text:
        return None
    found = _QUIET.fullmatch(text)
    if found is None:
        raise ValueError("must be like 22:00-07:00 or 22:00-07:00 Europe/Berlin")
    hours = [int(one) for one in found.groups()[:4]]
    if max(hours[0], hours[2]) > 23 or hours[:2] == hours[2:]:
        raise ValueError("must name two different times of a day")
    zone = None
    if found[5] is not None:
        try:
            zone = _zone(found[5])
        except (OSError, ValueError, KeyError) as error:  # no such zone, or no list of them on this machine
            raise ValueError(f"{found[5]} is not a known time zone") from error
    shown = text if zone else f"{text} {own_zone()}"
    return QuietHours(time(hours[0], hours[1]), time(hours[2], hours[3]), zone, shown)


def own_zone(local: Path = Path("/etc/localtime")) -> str:
    """Return what this machine's time zone is called: `Europe/Berlin`, or `CET/CEST` if only that is known."""
    named = os.environ.get("TZ", "").removeprefix(":") or os.path.realpath(local)
    name = named.rpartition("/zoneinfo/")[2]
    try:
        return _zone(name).key
    except (OSError, ValueError, KeyError):
        return "/".join(dict.fromkeys(clock.tzname))


def _zone(name: str) -> ZoneInfo:
    """Return a time zone. Raises OSError, ValueError or KeyError: this machine does not know it."""
    from zoneinfo import ZoneInfo  # few have quiet hours

    return ZoneInfo(name)


def _quiet(_: object, attribute: attrs.Attribute[Any], value: str) -> None:
    try:
        quiet_hours(value)
    except ValueError as error:
        raise OutOfRangeError(attribute.name, str(error)) from error


def _contact(_: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None and not value.startswith(("mailto:", "https://")):
        raise OutOfRangeError(attribute.name, "must begin with mailto: or https://")


def _origins(_: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for one in value:
        if origin_parts(one) is None:
            raise OutOfRangeError(attribute.name, f"must be hosts, or addresses without a path, not {one!r}")


def _topic_url(_: object, attribute: attrs.Attribute[Any], value: str) -> None:
    base, _, topic = value.rstrip("/").rpartition("/")
    if origin_parts(base) is None or not topic or not urlsplit(value).path.strip("/"):
        raise OutOfRangeError(attribute.name, "must be the address of a topic, like https://ntfy.sh/my-topic")


def _origin(_: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None and ("://" not in value or value.endswith("/") or origin_parts(value) is None):
        raise OutOfRangeError(
            attribute.name, "must be an address without a path, like https://box.example.org"
        )


@attrs.frozen(kw_only=True)
class _Push:
    contact: str | None = attrs.field(default=None, validator=_contact)
    origin: str | None = attrs.field(default=None, validator=_origin)
    detail: Detail = "title"
    escalate_s: float = attrs.field(default=120.0, validator=positive)
    fallback_s: float = attrs.field(default=300.0, validator=positive)
    quiet_hours: str = attrs.field(default="", validator=_quiet)
    hosts: tuple[str, ...] = attrs.field(default=(), validator=_origins)


@attrs.frozen(kw_only=True)
class _Apns:
    key_file: str = attrs.field(validator=not_empty)
    key_id: str = attrs.field(validator=not_empty)
    team_id: str = attrs.field(validator=not_empty)
    topic: str = attrs.field(validator=not_empty)
    detail: Detail = "none"
    hosts: tuple[str, ...] = attrs.field(default=(), validator=_origins)

    def settings(self) -> ApnsSettings:
        made = ApnsSettings(
            key_file=Path(self.key_file).expanduser(),
            key_id=self.key_id,
            team_id=self.team_id,
            topic=self.topic,
            detail=self.detail,
        )
        hosts = (*self.hosts, *made.hosts[len(self.hosts) :])
        return attrs.evolve(made, hosts=(hosts[0], hosts[1]))


@attrs.frozen(kw_only=True)
class _Ntfy:
    url: str = attrs.field(validator=_topic_url)
    token_file: str | None = None
    when: When = "always"
    detail: Detail = "none"
    actions: bool = False

    def settings(self) -> NtfySettings:
        token = None if self.token_file is None else Path(self.token_file).expanduser()
        return NtfySettings(
            url=self.url, token_file=token, when=self.when, detail=self.detail, actions=self.actions
        )


@attrs.frozen(kw_only=True)
class _Command:
    command: tuple[str, ...] = attrs.field(validator=not_empty)
    when: When = "always"
    detail: Detail = "title"

    def settings(self) -> CommandSettings:
        return CommandSettings(command=self.command, when=self.when, detail=self.detail)


def parse_push(
    table: Any, structure: Structure, refuse: Callable[[str, str], Exception], timeout_s: float | None
) -> PushSettings:
    """Return the settings of the table `push`.

    Args:
        structure: reads one table.
        refuse: makes the error for a key.
        timeout_s: how long a request may wait for an answer.
    """
    if not isinstance(table, dict):
        raise refuse("push", "must be a table")
    rest = {name: value for name, value in table.items() if name not in ("apns", "ntfy", "command")}
    own = structure(rest, _Push, "push.")
    apns = structure(table["apns"], _Apns, "push.apns.").settings() if "apns" in table else None

    def named(kind: str, cls: type[T]) -> dict[str, T]:
        tables = table.get(kind, {})
        if not isinstance(tables, dict) or not all(isinstance(one, dict) for one in tables.values()):
            raise refuse(f"push.{kind}", "must be a table of tables")
        for name in tables:
            if not _NAME.fullmatch(name):
                raise refuse(f"push.{kind}.{name}", "a name must be 1 to 64 of A-Z a-z 0-9 _ -")
        return {name: structure(one, cls, f"push.{kind}.{name}.") for name, one in tables.items()}

    ntfy = {name: one.settings() for name, one in named("ntfy", _Ntfy).items()}
    for name, topic in ntfy.items():
        if topic.actions and own.origin is None:
            raise refuse(f"push.ntfy.{name}.actions", "needs push.origin, the address of this server")
    return PushSettings(
        contact=own.contact,
        origin=own.origin,
        detail=own.detail,
        escalate_s=own.escalate_s,
        fallback_s=own.fallback_s,
        quiet=quiet_hours(own.quiet_hours),
        hosts=own.hosts,
        apns=apns,
        ntfy=ntfy,
        command={name: one.settings() for name, one in named("command", _Command).items()},
        permission_timeout_s=timeout_s,
    )
