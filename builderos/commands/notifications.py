"""`builderos notifications`: lists where devices are notified, tests and switches that, and says what became of alerts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote, urlencode

from builderos.client.terminal import one_line, table
from builderos.client.wire.http import call
from builderos.client.wire.server import Find, Server, with_server
from builderos.exit_status import OK, fail
from builderos.options import Parser, between, options_of_acts

__all__ = ["add_notifications"]

HEADINGS: Final = ("ID", "KIND", "DEVICE", "STATE", "WANTS", "LAST SHOWN", "PROBLEM")
WANTS: Final = ("decision", "finished", "failed")
PATH: Final = "/api/notifications"


def _list(server: Server, arguments: argparse.Namespace) -> int:
    answer = call(server, "GET", PATH + ("?all=1" if arguments.all else ""))
    names = ("id", "kind", "device_id", "state")
    rows = [
        [*(one.get(name) for name in names), _wanted(one), one.get("last_shown_at"), one.get("problem")]
        for one in _tables(answer, "channels")
    ]
    sys.stdout.write(table(HEADINGS, rows))
    if isinstance(quiet := answer.get("quiet_hours"), str):
        sys.stdout.write(f"Quiet hours: {one_line(quiet, 100)}\n")
    return OK


def _test(server: Server, arguments: argparse.Namespace) -> int:
    answer = call(server, "POST", f"{_place(arguments)}/test")
    content = one_line(str(answer.get("content")), 500)
    if answer.get("sent") is not True:
        return fail(f"not sent: {content}")
    sys.stdout.write(f"Sent. {content}\n")
    return OK


def _switch(server: Server, arguments: argparse.Namespace) -> int:
    wants = dict.fromkeys(arguments.kinds or WANTS, arguments.act == "on")
    channel = call(server, "POST", _place(arguments), {"wants": wants})
    sys.stdout.write(f"{one_line(arguments.id)}: {_wanted(channel)}\n")
    return OK


def _why(server: Server, arguments: argparse.Namespace) -> int:
    query = {"limit": arguments.limit}
    if arguments.session is not None:
        query["session_id"] = arguments.session
    for alert in _tables(call(server, "GET", f"{PATH}/why?{urlencode(query)}"), "alerts"):
        head = (alert.get("raised_at"), alert.get("kind"), alert.get("session_id"))
        sys.stdout.write("  ".join(one_line(str(part), 128) for part in head) + "\n")
        for one in _tables(alert, "deliveries"):
            name = one_line(str(one.get("device_id") or one.get("channel")), 128)
            sys.stdout.write(f"  {name}: {one_line(str(one.get('content')), 500)}\n")
    return OK


def _place(arguments: argparse.Namespace) -> str:
    return f"{PATH}/{quote(arguments.id, safe='')}"


def _tables(answer: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [one for one in answer.get(name) or () if isinstance(one, dict)]


def _wanted(channel: Mapping[str, Any]) -> str:
    wants = channel.get("wants")
    named = [name for name in WANTS if isinstance(wants, dict) and wants.get(name)]
    return " ".join(named) or "nothing"


def _kind(text: str) -> str:
    if text not in WANTS:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(WANTS)}")
    return text


_ACTS: Final = {"list": _list, "test": _test, "on": _switch, "off": _switch, "why": _why}


def add_notifications(parser: argparse.ArgumentParser) -> None:
    """Add the options of `notifications` and its acts."""
    parser.epilog = (
        "A channel is a place where a device is notified. Channels of the config belong to admins."
    )
    parser.set_defaults(run=_run, act="list", all=False)
    again = options_of_acts(key="a key, instead of the one in the data folder")
    acts = parser.add_subparsers(metavar="ACT", parser_class=Parser)
    listing = acts.add_parser("list", parents=[again], help="list the key's channels (the default)")
    listing.add_argument("--all", action="store_true", help="those of all keys, for an admin's key")
    listing.set_defaults(act="list")
    for act, text in (
        ("test", "send a test, and print the service's own answer"),
        ("on", "notify a channel of some kinds of alerts, or of all"),
        ("off", "do not notify a channel of some kinds of alerts, or of any"),
    ):
        one = acts.add_parser(act, parents=[again], help=text)
        one.add_argument("id", metavar="ID", help="channel ID, as `notifications list` prints it")
        if act != "test":
            one.add_argument("kinds", metavar="KIND", nargs="*", type=_kind, help=", ".join(WANTS))
        one.set_defaults(act=act)
    why = acts.add_parser("why", parents=[again], help="print the newest alerts, and what became of each")
    why.add_argument("--session", metavar="SESSION", help="alerts of this session alone")
    why.add_argument(
        "--limit",
        type=partial(between, low=1, high=500),
        default=20,
        help="number of alerts, 1 to 500 (default: %(default)s)",
    )
    why.set_defaults(act="why")


def _run(arguments: argparse.Namespace) -> int:
    def work(find: Find) -> int:
        return _ACTS[arguments.act](find(), arguments)

    return with_server((arguments.data, arguments.url, arguments.key), work)
