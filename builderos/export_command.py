"""`builderos export`: one conversation to stdout, as Markdown or JSON, page after page."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import trio

from builderos.exits import OK, fail
from builderos.export_source import FolderSource, HttpSource, NoSessionError, Source
from builderos.export_state import Conversation
from builderos.export_text import heading, json_event, json_message, json_session, markdown
from builderos.frames import Frame, FrameError
from builderos.link import LinkLostError, NoServerError, find_server
from storage.errors import StorageError
from storage.reading import open_reading

__all__ = ["run_export"]

DATABASE = "builderos.db"

Where = tuple[Path, str | None, str | None]
"""Data folder, a server's address instead of it, and its key."""


def run_export(where: Where, session_id: str, form: Literal["md", "json"]) -> int:
    """Write the session to stdout; return the exit status."""
    try:
        trio.run(_export, where, session_id, form)
    except (NoSessionError, NoServerError, StorageError) as error:
        return fail(str(error))
    except (LinkLostError, FrameError) as error:
        return fail(f"the server cannot be read: {error}")
    return OK


async def _export(where: Where, session_id: str, form: Literal["md", "json"]) -> None:
    async with _open_source(where, session_id) as source:
        session = await source.session()
        if form == "md":
            await _write_markdown(source, session)
        else:
            await _write_json(source, session)


@asynccontextmanager
async def _open_source(where: Where, session_id: str) -> AsyncIterator[Source]:
    data, url, key = where
    if url is None:
        async with open_reading(data / DATABASE) as reading:
            yield FolderSource(reading, session_id)
    else:
        key = key or os.environ.get("BUILDEROS_API_KEY")
        yield HttpSource(find_server(data, url, key), session_id)


async def _write_markdown(source: Source, session: Mapping[str, Any]) -> None:
    agent, conversation = str(session.get("agent_type")), Conversation()
    sys.stdout.write(heading(session))

    def write(frame: Frame) -> None:
        for part in conversation.take(frame):
            sys.stdout.write(markdown(part, agent))

    await _each(source, write)
    for part in conversation.rest():
        sys.stdout.write(markdown(part, agent))


async def _write_json(source: Source, session: Mapping[str, Any]) -> None:
    """Write the session's fields, its messages and, read once more, all its events: nothing large is held."""
    conversation = Conversation()
    messages, events = _List("messages"), _List("events")
    sys.stdout.write("{\n" + json_session(session))

    def write(frame: Frame) -> None:
        for part in conversation.take(frame):
            messages.put(json_message(part))

    messages.begin()
    await _each(source, write)
    for part in conversation.rest():
        messages.put(json_message(part))
    messages.end()
    events.begin()
    await _each(source, lambda frame: events.put(json_event(frame.body)))
    events.end()
    sys.stdout.write("\n}\n")


class _List:
    """A list of an object in JSON, written an element at a time."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._comma = ""

    def begin(self) -> None:
        sys.stdout.write(f',\n"{self._name}": [')

    def put(self, text: str) -> None:
        sys.stdout.write(f"{self._comma}\n{text}")
        self._comma = ","

    def end(self) -> None:
        sys.stdout.write("\n]")


async def _each(source: Source, use: Callable[[Frame], None]) -> None:
    after = 0
    while page := await source.page(after):
        for frame in page:
            use(frame)
        after = page[-1].seq or 0
