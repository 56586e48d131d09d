"""The table `push`: what it may say, and which key a mistake names."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from builderos.config import ConfigError, parse_config
from builderos.push_config import own_zone, quiet_hours

WHOLE = """
permission_timeout_s = 90
[push]
contact = "mailto:me@example.org"
detail = "request"
escalate_s = 60
fallback_s = 600
quiet_hours = "22:00-07:00 UTC"
hosts = ["push.example.org", "http://127.0.0.1:9000"]
[push.apns]
key_file = "/k.p8"
key_id = "K"
team_id = "T"
topic = "app"
[push.ntfy.phone]
url = "https://ntfy.sh/topic"
when = "fallback"
[push.command.me]
command = ["tell"]
"""


def test_everything_that_it_may_say() -> None:
    push = parse_config(WHOLE).push
    assert (push.detail, push.escalate_s, push.permission_timeout_s) == ("request", 60, 90)
    assert push.apns is not None
    assert push.apns.key_file == Path("/k.p8")
    assert [
        push.detail_of(kind, name) for kind, name in (("web", "x"), ("apns", "x"), ("ntfy", "phone"))
    ] == [
        "request",
        "none",
        "none",
    ]
    assert (push.is_fallback("ntfy", "phone"), push.is_fallback("command", "me")) == (True, False)
    bare = parse_config("").push
    assert [set(push.ntfy), set(push.command), set(bare.ntfy), set(bare.command)] == [
        {"phone"},
        {"me"},
        set(),
        set(),
    ]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[push]\nnothing = 1", "push.nothing"),
        ("[push]\ndetail = 'all'", "push.detail"),
        ("[push]\nescalate_s = 0", "push.escalate_s"),
        ("[push]\ncontact = 'me'", "push.contact"),
        ("[push]\nhosts = ['https://a/b']", "push.hosts"),
        ("[push]\nquiet_hours = '22-7'", "push.quiet_hours"),
        ("[push]\nquiet_hours = '22:00-22:00'", "push.quiet_hours"),
        ("[push]\nquiet_hours = '22:00-07:00 Nowhere/There'", "push.quiet_hours"),
        ("[push.apns]\nkey_id = 'K'", "push.apns.key_file"),
        ("[push.ntfy.phone]\nurl = 'https://ntfy.sh'", "push.ntfy.phone.url"),
        ("[push.ntfy.phone]\nwhen = 'never'", "push.ntfy.phone.url"),
        ("[push.command.me]\ncommand = []", "push.command.me.command"),
        ("[push.command.'a b']\ncommand = ['x']", "push.command.a b"),
        ("push = 1", "push"),
    ],
)
def test_a_mistake_names_its_key(text: str, key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(text)
    assert refused.value.key == key


@pytest.mark.parametrize(
    ("hours", "now", "end"),
    [
        ("22:00-07:00 UTC", "2026-03-01T23:00", "2026-03-02T07:00"),
        ("22:00-07:00 UTC", "2026-03-01T06:59", "2026-03-01T07:00"),
        ("22:00-07:00 UTC", "2026-03-01T07:00", None),
        ("12:00-13:30 UTC", "2026-03-01T12:00", "2026-03-01T13:30"),
        ("12:00-13:30 UTC", "2026-03-01T13:30", None),
        ("22:00-07:00 Europe/Berlin", "2026-03-01T21:30", "2026-03-02T06:00"),
    ],
)
def test_quiet_hours(hours: str, now: str, end: str | None) -> None:
    found = quiet_hours(hours)
    assert found is not None
    until = found.until_ms(int(datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp() * 1000))
    wanted = None if end is None else int(datetime.fromisoformat(end).replace(tzinfo=UTC).timestamp() * 1000)
    assert until == wanted
    assert quiet_hours("") is None


@pytest.mark.parametrize(
    ("variable", "link", "name"),
    [
        ("Europe/Berlin", None, "Europe/Berlin"),
        (":Europe/Berlin", None, "Europe/Berlin"),
        (":/usr/share/zoneinfo/Europe/Berlin", None, "Europe/Berlin"),
        ("", "/usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo"),
        ("", "/var/db/timezone/zoneinfo/Asia/Tokyo", "Asia/Tokyo"),
        ("<+03>-3", "/usr/share/zoneinfo/Asia/Tokyo", "CET/CEST"),
        ("", None, "CET/CEST"),
        ("", "/etc/somewhere", "CET/CEST"),
    ],
)
def test_the_machines_own_zone_has_a_name(
    variable: str, link: str | None, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", variable)
    monkeypatch.setattr("time.tzname", ("CET", "CEST"))
    local = tmp_path / "localtime"
    if link is not None:
        local.symlink_to(link)
    assert own_zone(local) == name


def test_quiet_hours_name_the_machines_own_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    quiet = quiet_hours("22:00-07:00")
    assert quiet is not None
    assert (quiet.zone, quiet.text) == (None, "22:00-07:00 Europe/Berlin")
