"""Sessions written out for the HTTP interface, by the code of `builderos export`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Literal

import attrs

from actors.ports import Catalog, Journal
from builderos.export.source import FolderSource, NoSessionError
from builderos.export.write import write_export
from storage.errors import SessionMissing
from transport.v3.session_list import shows_device

__all__ = ["StoreExports"]

PAGE_ROWS: Final = 16
"""Events that become text at once: the server has others to serve in between."""


@attrs.frozen
class StoreExports:
    """See `transport.facilities.Exports`."""

    journal: Journal
    catalog: Catalog

    async def __call__(
        self,
        session_id: str,
        form: Literal["md", "json"],
        scope: str,
        write: Callable[[str], Awaitable[None]],
    ) -> None:
        """Write a session. Raises SessionMissing, StorageError."""
        source = FolderSource(self, session_id, partial(shows_device, scope), PAGE_ROWS)
        try:
            await write_export(source, form, write)
        except NoSessionError:
            raise SessionMissing(session_id) from None
