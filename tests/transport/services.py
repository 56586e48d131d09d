"""What the routes beside the conversation work with, over a real store in a temporary folder."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from actors.commands import Author
from actors.desk.sessions import GivenBack
from bridgehub.desk.programs import Listed
from bridgehub.desk.records import NoSuchSession
from storage.errors import SessionMissing
from tests.storage.stores import NOW_MS, opened
from transport.access.signed_urls import UrlSigner
from transport.http.services import HttpServices, Readiness, Work
from transport.metrics import Metrics
from transport.push.attention import Attention
from transport.push.notifier import Notifier
from transport.push.settings import PushSettings
from transport.uploads import OwnUploads
from transport.workspace.listing import Roots

__all__ = ["LINKS", "NoSessions", "open_services"]

LINKS = UrlSigner(b"a key of the tests")


class NoSessions:
    """Has no session to remove, to fork or to export, and no conversation of the desk."""

    async def remove(self, session_id: str) -> None:
        raise AssertionError(session_id)

    async def fork(
        self, session_id: str, after_turn: str | None, *, new_id: str, device_id: str, title: str | None
    ) -> None:
        raise SessionMissing(session_id)

    async def export(
        self, session_id: str, form: Literal["md", "json"], write: Callable[[str], Awaitable[None]]
    ) -> None:
        raise SessionMissing(session_id)

    async def listed(self, agent: str | None, workspace: str | None, query: str | None) -> Listed:
        return Listed([], 0)

    async def ours(self, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        return {}

    async def open(self, agent: str, native_id: str, device_id: str) -> tuple[str, bool]:
        raise NoSuchSession(native_id)

    async def give_back(self, session_id: str, author: Author, *, joins: bool = False) -> GivenBack:
        raise NoSuchSession(session_id)


@asynccontextmanager
async def open_services(folder: Path, *, vfs: str | None = None) -> AsyncIterator[HttpServices]:
    """Make them on `folder`, which is data folder and workspace at once. `vfs`: of the database, to let it fail."""
    numbers, sessions = itertools.count(1), NoSessions()
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
            sessions=sessions,
            readiness=lambda: Readiness((), folder, True),
            export=sessions.export,
            forks=sessions,
            desk=sessions,
            metrics=Metrics(),
            work=Work(roots=Roots((folder,))),
            new_id=lambda: f"{next(numbers):032x}",
            new_key=lambda: f"{next(numbers):064x}",
            new_code=lambda: f"code-{next(numbers)}",
        )
