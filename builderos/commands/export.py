"""`builderos export`: writes one session to stdout, as Markdown or JSON, page by page."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import trio

from builderos.client.terminal import write_json, write_text
from builderos.client.wire.connection import LinkLostError, NoServerError, find_server
from builderos.client.wire.frames import FrameError
from builderos.exit_status import OK, fail
from builderos.export.download import download_export
from builderos.export.source import FolderSource, NoSessionError
from builderos.export.write import Form, write_export
from storage.errors import StorageError
from storage.read_only import open_folder

__all__ = ["add_export", "run_export"]

Where = tuple[Path, str | None, str | None]
"""Data folder, a server's address instead of it, and its key."""


def run_export(where: Where, session_id: str, form: Form) -> int:
    """Write the session to stdout; return the exit status."""
    data, url, key = where
    write = write_json if form == "json" else write_text
    try:
        if url is None:
            trio.run(_export, data, session_id, form, write)
        else:
            server = find_server(data, url, key or os.environ.get("BUILDEROS_API_KEY"))
            download_export(server, session_id, form, write)
    except (NoSessionError, NoServerError, StorageError) as error:
        return fail(str(error))
    except (LinkLostError, FrameError) as error:
        return fail(f"the server cannot be read: {error}")
    return OK


async def _export(data: Path, session_id: str, form: Form, write: Callable[[str], None]) -> None:
    async def write_part(text: str) -> None:
        write(text)
        await trio.lowlevel.checkpoint()

    async with open_folder(data) as reading:
        source = FolderSource(reading, reading.aliases.session(session_id))
        await write_export(source, form, write_part)


def add_export(parser: argparse.ArgumentParser) -> None:
    """Add the options of `export`."""
    parser.epilog = "Reads the data folder, even if no server runs; with --url it asks that server."
    parser.add_argument("session", metavar="SESSION", help="session ID")
    parser.add_argument("--format", choices=("md", "json"), default="md", help="(default: %(default)s)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    where = (arguments.data, arguments.url, arguments.key)
    return run_export(where, arguments.session, arguments.format)
