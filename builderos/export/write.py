"""Writes one session as Markdown or JSON, page by page, to a callback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal

import attrs

from actors.ports import Catalog, Journal
from builderos.client.wire.frames import Frame
from builderos.export.source import FolderSource, NoSessionError, Source
from builderos.export.state import Document
from builderos.export.text import heading, json_event, json_message, json_session, markdown
from storage.errors import SessionMissing

__all__ = ["Form", "StoreExports", "Write", "write_export"]

Form = Literal["md", "json"]

Write = Callable[[str], Awaitable[None]]
"""Takes the next part of the text."""


async def write_export(source: Source, form: Form, write: Write) -> None:
    """Write a whole session; only a page and the open turn are in memory.

    Raises:
        Any error of `source` and `write`; the written part is then incomplete.
    """
    session = await source.session()
    if form == "md":
        await _write_markdown(source, session, write)
    else:
        await _write_json(source, session, write)


async def _write_markdown(source: Source, session: Mapping[str, Any], write: Write) -> None:
    agent, conversation = str(session.get("agent_type")), Document()
    await write(heading(session))

    def told(frame: Frame) -> str:
        return "".join(markdown(part, agent) for part in conversation.take(frame))

    await _each(source, told, write)
    await write("".join(markdown(part, agent) for part in conversation.rest()))


async def _write_json(source: Source, session: Mapping[str, Any], write: Write) -> None:
    """Write the session's fields, its messages and, in a second pass, all its events."""
    conversation = Document()
    messages, events = _List(), _List()
    await write("{\n" + json_session(session) + ',\n"messages": [')
    await _each(
        source,
        lambda frame: "".join(messages.element(json_message(part)) for part in conversation.take(frame)),
        write,
    )
    await write("".join(messages.element(json_message(part)) for part in conversation.rest()))
    await write('\n],\n"events": [')
    await _each(source, lambda frame: events.element(json_event(frame.body)), write)
    await write("\n]\n}\n")


@attrs.define
class _List:
    """The elements of a list in JSON."""

    comma: str = ""

    def element(self, text: str) -> str:
        told, self.comma = f"{self.comma}\n{text}", ","
        return told


async def _each(source: Source, to_text: Callable[[Frame], str], write: Write) -> None:
    after = 0
    while page := await source.page(after):
        for frame in page:
            if text := to_text(frame):
                await write(text)
        after = page[-1].seq or 0


PAGE_ROWS: Final = 16
"""Events that become text at once, so that the server can serve others in between."""


@attrs.frozen
class StoreExports:
    """Implements `transport.http.services.Exports`."""

    journal: Journal
    catalog: Catalog

    async def __call__(
        self,
        session_id: str,
        form: Literal["md", "json"],
        write: Callable[[str], Awaitable[None]],
    ) -> None:
        """Write a session. Raises SessionMissing, StorageError."""
        source = FolderSource(self, session_id, PAGE_ROWS)
        try:
            await write_export(source, form, write)
        except NoSessionError:
            raise SessionMissing(session_id) from None
