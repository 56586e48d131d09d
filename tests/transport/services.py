"""What the routes beside the conversation work with, over a real store in a temporary folder."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.storage.stores import NOW_MS, opened
from transport.access.signed_urls import UrlSigner
from transport.http.services import HttpServices, Work
from transport.metrics import Metrics
from transport.push.attention import Attention
from transport.push.notifier import Notifier
from transport.push.settings import PushSettings
from transport.uploads import OwnUploads
from transport.workspace.listing import Roots

__all__ = ["LINKS", "NoSessions", "open_services"]

LINKS = UrlSigner(b"a key of the tests")


class NoSessions:
    """Removes nothing."""

    async def remove(self, session_id: str) -> None:
        raise AssertionError(session_id)


@asynccontextmanager
async def open_services(folder: Path, *, vfs: str | None = None) -> AsyncIterator[HttpServices]:
    """Make them on `folder`, which is data folder and workspace at once. `vfs`: of the database, to let it fail."""
    numbers = itertools.count(1)
    async with opened(folder / "x.db", vfs=vfs) as store:
        yield HttpServices(
            data=folder,
            workspace=folder,
            uploads=OwnUploads(store.uploads, LINKS),
            search=store.search,
            notifier=Notifier(
                store.notifications,
                store.devices,
                PushSettings(),
                Attention(lambda: NOW_MS),
                lambda: NOW_MS,
                lambda: f"{next(numbers):032x}",
                store.settle,
                lambda: f"{next(numbers):064x}",
            ),
            devices=store.devices,
            pairings=store.pairings,
            audit=store.audit,
            sessions=NoSessions(),
            metrics=Metrics(),
            work=Work(roots=Roots((folder,))),
            new_id=lambda: f"{next(numbers):032x}",
            new_key=lambda: f"{next(numbers):064x}",
            new_code=lambda: f"code-{next(numbers)}",
        )
