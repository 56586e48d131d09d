"""`builderos export`: one conversation to stdout, as Markdown or JSON, page after page."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from builderos.client.connection import LinkLostError, NoServerError, find_server
from builderos.client.frames import FrameError
from builderos.exit_status import OK, fail
from builderos.export.source import FolderSource, HttpSource, NoSessionError, Source
from builderos.export.write import Form, write_export
from storage.errors import StorageError
from storage.read_only import open_reading

__all__ = ["add_export", "run_export"]

DATABASE = "builderos.db"

Where = tuple[Path, str | None, str | None]
"""Data folder, a server's address instead of it, and its key."""


def run_export(where: Where, session_id: str, form: Form) -> int:
    """Write the session to stdout; return the exit status."""
    try:
        trio.run(_export, where, session_id, form)
    except (NoSessionError, NoServerError, StorageError) as error:
        return fail(str(error))
    except (LinkLostError, FrameError) as error:
        return fail(f"the server cannot be read: {error}")
    return OK


async def _export(where: Where, session_id: str, form: Form) -> None:
    async with _open_source(where, session_id) as source:
        await write_export(source, form, _write)


async def _write(text: str) -> None:
    sys.stdout.write(text)
    await trio.lowlevel.checkpoint()


@asynccontextmanager
async def _open_source(where: Where, session_id: str) -> AsyncIterator[Source]:
    data, url, key = where
    if url is None:
        async with open_reading(data / DATABASE) as reading:
            yield FolderSource(reading, session_id)
    else:
        key = key or os.environ.get("BUILDEROS_API_KEY")
        yield HttpSource(find_server(data, url, key), session_id)


def add_export(parser: argparse.ArgumentParser) -> None:
    """Add the options of `export`."""
    parser.epilog = "Reads the data folder, even if no server runs; with --url it asks that server."
    parser.add_argument("session", metavar="SESSION", help="session ID")
    parser.add_argument("--format", choices=("md", "json"), default="md", help="(default: %(default)s)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    where = (arguments.data, arguments.url, arguments.key)
    return run_export(where, arguments.session, arguments.format)
