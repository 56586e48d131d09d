"""`builderos devices`: lists, adds, pairs and revokes devices."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import attrs
import trio

from bridgehub.protocol.errors import unwrap
from builderos.client.state import RefusedError
from builderos.client.terminal import one_line, table, terminal_code
from builderos.client.wire.server import LinkLostError, NoServerError, find_server
from builderos.device_store import DeviceList, PairingLink, ServerDevices, open_folder_devices
from builderos.exit_status import MISUSED, OK, fail
from builderos.options import Parser, options_of_acts
from storage.data_folder import DATABASE_NAME, read_holder
from storage.errors import StorageError, StorageLocked
from storage.postgres.home import refuse_other_database
from transport.ports import SCOPES

__all__ = ["MAX_NAME", "DevicesOptions", "add_devices", "run_devices"]

MAX_NAME: Final = 100
"""Characters of a device's name; the server accepts no more."""

HEADINGS: Final = ("ID", "NAME", "SCOPE", "SINCE")

LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


@attrs.frozen(kw_only=True)
class DevicesOptions:
    """The options of `builderos devices`.

    Attributes:
        data, url, key: where to work; for `pair` without a key, `url` is only the base URL of the link.
        act: `list`, `add`, `pair` or `revoke`.
        name: of the new device; None lets the device choose.
        scope: of the new device.
        device_id: of the device to revoke.
    """

    data: Path
    url: str | None
    key: str | None = attrs.field(repr=False)
    act: str
    name: str | None = None
    scope: str = "drive"
    device_id: str = ""

    def fault(self) -> str | None:
        """Return what is wrong with the options; None if nothing is."""
        if self.name is not None and not (1 <= len(self.name) <= MAX_NAME and self.name.isprintable()):
            return f"a name must be 1 to {MAX_NAME} printable characters"
        if self.act == "revoke" and not _ID.fullmatch(self.device_id):
            return f"{one_line(self.device_id)} is not a device ID; list them with builderos devices"
        if self.url is not None and not _is_address(self.url):
            return f"{one_line(self.url)} is not an address like https://host.example"
        return None


def run_devices(options: DevicesOptions) -> int:
    """Run the command; return its exit status."""
    fault = options.fault()
    if fault:
        return fail(fault, MISUSED)
    try:
        trio.run(_work, options)
    except* RefusedError as group:
        return_status = fail(f"refused: {unwrap(group)}")
    except* NoServerError as group:
        return_status = fail(str(unwrap(group)))
    except* LinkLostError as group:
        return_status = fail(f"the server cannot be reached: {unwrap(group)}")
    except* StorageLocked as group:
        return_status = fail(
            f"{options.data} is in use, but the process that holds it does not listen: {unwrap(group)}"
        )
    except* StorageError as group:
        return_status = fail(str(unwrap(group)))
    else:
        return_status = OK
    return return_status


async def _work(options: DevicesOptions) -> None:
    async with _open_list(options) as devices:
        if options.act == "list":
            sys.stdout.write(table(HEADINGS, map(attrs.astuple, await devices.known())))
        elif options.act == "add":
            made = await devices.add(options.name or "", options.scope)
            sys.stderr.write(
                f"Made {options.name} ({options.scope}), id {made.id}. Its key is printed only once:\n"
            )
            sys.stderr.flush()
            sys.stdout.write(f"{made.key}\n")
        elif options.act == "pair":
            link = await devices.pair(options.name, options.scope)
            _show(link, _address(link, options.url), options.scope)
        else:
            stored = await devices.revoke(options.device_id)
            sys.stdout.write(f"Revoked {options.device_id}; its connections are closed.\n")
            if not stored:
                sys.stderr.write(
                    "The disk cannot be written yet, and the server keeps trying. Make room before you restart "
                    "the server: until it is on disk, a restart makes the key valid again.\n"
                )
    sys.stdout.flush()


@asynccontextmanager
async def _open_list(options: DevicesOptions) -> AsyncIterator[DeviceList]:
    """Open the named server, else the server that runs on the data folder, else the folder."""
    first_key = os.environ.get("BUILDEROS_API_KEY", "").strip() or None
    is_link_only = options.act == "pair" and options.key is None and options.data.is_dir()
    if options.url is not None and not is_link_only:
        yield ServerDevices(find_server(options.data, options.url, options.key or first_key))
    elif _is_served(options.data):
        yield ServerDevices(find_server(options.data, None, options.key))
    else:
        refuse_other_database(options.data, "start its server first, which does it then")
        if options.act in {"list", "revoke"} and not (options.data / DATABASE_NAME).is_file():
            raise NoServerError(f"there is no database in {options.data}, and no server runs on it")
        if options.act == "pair" and options.url is None:
            raise NoServerError(
                "no running server knows its address: give the base URL of the link with --url"
            )
        async with open_folder_devices(options.data, first_key) as devices:
            yield devices


def _is_served(data: Path) -> bool:
    holder = read_holder(data) if data.is_dir() else None
    return holder is not None and bool(holder.address) and holder.is_running()


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and url.isascii() and url.isprintable()


def _address(link: PairingLink, url: str | None) -> str:
    """Return the link with the address that the device can reach."""
    if url is None:
        return link.url or ""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + "/", "", f"pair={link.code}"))


def _show(link: PairingLink, address: str, scope: str) -> None:
    code = terminal_code(address)
    try:
        code.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        code = ""  # a terminal without block characters gets only the link
    sys.stdout.write(f"{code}{one_line(address, 1000)}\n")
    sys.stderr.write(f"Valid once, until {one_line(link.expires_at)}; adds a device with scope {scope}.\n")
    if urlsplit(address).hostname in LOCAL:
        sys.stderr.write(
            "That address works only on this machine. Use --url to give one that the device can reach.\n"
        )


def add_devices(parser: argparse.ArgumentParser) -> None:
    """Add the options of `devices` and its acts."""
    parser.epilog = "Works on the running server, or on the data folder itself if no server runs."
    parser.set_defaults(run=_run, act="list")
    again = options_of_acts(
        key="an admin's key, instead of the one in the data folder",
        url="server address; for `pair` without --key, the base URL of the pairing link",
    )
    acts = parser.add_subparsers(metavar="ACT", parser_class=Parser)
    acts.add_parser("list", parents=[again], help="list the devices (the default)").set_defaults(act="list")
    add = acts.add_parser("add", parents=[again], help="add a device; prints its key alone on a line")
    add.add_argument("name", metavar="NAME", help="device name")
    pair = acts.add_parser("pair", parents=[again], help="print a link that adds a device, once")
    pair.add_argument("--name", help="device name (default: the device chooses)")
    for act, maker in (("add", add), ("pair", pair)):
        maker.add_argument("--scope", choices=SCOPES, default="drive", help="(default: %(default)s)")
        maker.set_defaults(act=act)
    revoke = acts.add_parser(
        "revoke", parents=[again], help="revoke a device's key and close its connections"
    )
    revoke.add_argument("device_id", metavar="ID", help="device ID, as `devices list` prints it")
    revoke.set_defaults(act="revoke")


def _run(arguments: argparse.Namespace) -> int:
    options = vars(arguments)
    names = [field.name for field in attrs.fields(DevicesOptions) if field.name in options]
    return run_devices(DevicesOptions(**{name: options[name] for name in names}))
