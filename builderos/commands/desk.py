"""The command `desk`: let the questions of plain terminals be answered from any device."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from pathlib import Path
from typing import Final

import trio

from bridgehub.agents.claude.settings import config_folder
from bridgehub.protocol.errors import unwrap
from builderos.client.state import RefusedError
from builderos.client.wire.http import call
from builderos.client.wire.server import LinkLostError, NoServerError, find_server
from builderos.desk_hook import DeskHook, HookError, describe
from builderos.device_store import open_folder_devices
from builderos.exit_status import OK, fail
from storage.data_folder import DATABASE_NAME
from storage.errors import StorageError
from storage.postgres.home import refuse_other_database

__all__ = ["add_desk", "run_install", "run_remove", "run_status"]

_YES: Final = frozenset({"y", "yes"})


def _hook(data: Path) -> DeskHook:
    return DeskHook(config_folder(dict(os.environ)) / "settings.json", data.expanduser().absolute())


def run_install(data: Path, *, yes: bool) -> int:
    """Add the hook to Claude Code's user settings, after the person agreed."""
    hook = _hook(data)
    try:
        change = hook.plan()
        if change is None:
            sys.stdout.write(f"The hook is there already: {hook.settings}\n")
            return OK
        old, new = change
        lines = difflib.unified_diff(
            old.decode(errors="replace").splitlines(keepends=True),
            new.decode(errors="replace").splitlines(keepends=True),
            str(hook.settings),
            str(hook.settings),
        )
        sys.stdout.write("".join(line if line.endswith("\n") else line + "\n" for line in lines))
        if not yes and not _agrees():
            return fail("nothing was changed")
        hook.install(old, new)
    except HookError as error:
        return fail(str(error))
    _note(hook.data, installed=True)
    sys.stdout.write("Questions of terminals that start from now on can be answered on any device.\n")
    return OK


def _agrees() -> bool:
    if not sys.stdin.isatty():
        return False
    sys.stdout.write("Change the file? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in _YES


def _note(data: Path, *, installed: bool) -> None:
    """Note the change in the audit, or say that it is not there."""
    try:
        trio.run(_note_with_server, data, installed)
    except* (RefusedError, LinkLostError, StorageError) as group:
        fail(f"this is not in the audit: {unwrap(group)}")


async def _note_with_server(data: Path, installed: bool) -> None:
    try:
        server = find_server(data, None, None)
    except NoServerError:
        if (data / DATABASE_NAME).is_file():  # else no server was ever here, and nothing is in an audit yet
            refuse_other_database(data, "start its server first")
            async with open_folder_devices(data, None) as folder:
                await folder.note("desk_installed" if installed else "desk_removed")
        return
    await trio.to_thread.run_sync(call, server, "POST", "/api/desk/hook", {"installed": installed})


def run_remove(data: Path) -> int:
    """Take out exactly what `install` added."""
    hook = _hook(data)
    try:
        was_there = hook.remove()
    except HookError as error:
        return fail(str(error))
    if was_there:
        _note(hook.data, installed=False)
    sys.stdout.write("The hook is removed.\n" if was_there else "There is no hook.\n")
    return OK


def run_status(data: Path) -> int:
    """Print whether the hook is there and would reach a server."""
    sys.stdout.write(describe(_hook(data)) + "\n")
    return OK


def add_desk(parser: argparse.ArgumentParser) -> None:
    """Add the options of `desk`."""
    parser.add_argument(
        "action",
        choices=("install", "remove", "status"),
        help="add the hook to Claude Code's user settings, remove it, or print whether it is there",
    )
    parser.add_argument("--yes", action="store_true", help="install without asking")
    parser.set_defaults(run=_desk)


def _desk(arguments: argparse.Namespace) -> int:
    if arguments.action == "install":
        return run_install(arguments.data, yes=arguments.yes)
    return run_remove(arguments.data) if arguments.action == "remove" else run_status(arguments.data)
