"""The options of `builderos devices`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["add_devices"]

SCOPES = ("view", "approve", "drive", "admin")


def add_devices(commands: Any, server: argparse.ArgumentParser, folder: Callable[[str], Path]) -> None:
    """Add the command and its acts.

    Args:
        commands: what a parser's `add_subparsers` gave.
        server: the options that say which server.
        folder: reads a path.
    """
    parser = commands.add_parser(
        "devices",
        parents=[server],
        help="list, make, pair and revoke devices",
        epilog="Works on the server that runs on the data folder, or on the folder itself where none runs.",
    )
    parser.set_defaults(run=_run, act="list")
    # Once more below each act, without defaults: those would overwrite what stood before the act.
    again = type(server)(add_help=False, argument_default=argparse.SUPPRESS)
    again.add_argument("--data", type=folder, metavar="DIR", help="the data folder")
    again.add_argument(
        "--url", help="a server's address; for pair without --key only what the link begins with"
    )
    again.add_argument("--key", help="an admin's key, instead of the one in the data folder")
    acts = parser.add_subparsers(metavar="ACT", parser_class=type(server))
    acts.add_parser("list", parents=[again], help="who holds a key (the default)").set_defaults(act="list")
    add = acts.add_parser("add", parents=[again], help="make a device; prints its key alone on a line")
    add.add_argument("name", metavar="NAME", help="what people call it")
    pair = acts.add_parser("pair", parents=[again], help="show a link that makes a device, once")
    pair.add_argument("--name", help="what people call it (default: the device says)")
    for act, maker in (("add", add), ("pair", pair)):
        maker.add_argument("--scope", choices=SCOPES, default="drive", help="(default: %(default)s)")
        maker.set_defaults(act=act)
    revoke = acts.add_parser("revoke", parents=[again], help="end a device's key, and its connections")
    revoke.add_argument("device_id", metavar="ID", help="as the list tells it")
    revoke.set_defaults(act="revoke")


def _run(arguments: argparse.Namespace) -> int:
    import attrs

    from builderos.commands.devices import DevicesOptions, run_devices

    given = vars(arguments)
    names = [field.name for field in attrs.fields(DevicesOptions) if field.name in given]
    return run_devices(DevicesOptions(**{name: given[name] for name in names}))
