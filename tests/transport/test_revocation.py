"""A key that ends, ends everywhere at once: connections, downloads, uploads, and requests that wait."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import apsw
import attrs
import httpx
import trio

from actors.events.conversation import Attachment
from storage.store import open_store
from storage.tables import revocations
from tests.storage.faults import faulty_disk
from tests.storage.stores import until
from tests.transport.client import LIMIT_S, Served, open_server
from tests.transport.raw import RawPeer
from tests.transport.services import open_services

KEY = {"X-API-Key": "key-of-phone"}


@attrs.define(eq=False)
class _EndlessExport:
    """An export that never comes to its end by itself."""

    ended: trio.Event = attrs.field(factory=trio.Event)

    async def __call__(
        self, session_id: str, form: Literal["md", "json"], write: Callable[[str], Awaitable[None]]
    ) -> None:
        await write("x" * 100_000)
        try:
            await trio.sleep_forever()
        finally:
            self.ended.set()


@asynccontextmanager
async def serving(folder: Path, **changes: Any) -> AsyncIterator[Served]:
    async with (
        open_services(folder) as services,
        open_server(attrs.evolve(services, **changes)) as served,
    ):
        served.fakes.add_session("trip")
        served.fakes.devices.add("other")
        yield served


async def begin_upload(served: Served) -> RawPeer:
    peer = await served.raw()
    head = (
        "POST /api/files/upload HTTP/1.1\r\nHost: x\r\nX-API-Key: key-of-phone\r\nContent-Length: 5000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhalf'
    )
    await peer.stream.send_all(head.encode())
    return peer


async def test_running_downloads_and_uploads_end(tmp_path: Path) -> None:
    export = _EndlessExport()
    async with serving(tmp_path, export=export) as served:
        uploading = await begin_upload(served)
        downloading = await served.raw()
        ask = "GET /api/sessions/trip/export HTTP/1.1\r\nHost: x\r\nX-API-Key: key-of-phone\r\n\r\n"
        await downloading.stream.send_all(ask.encode())
        with trio.fail_after(LIMIT_S):
            assert b" 200 " in await downloading.head()
            await until(lambda: list(tmp_path.glob("uploads/*")) != [])
            served.listening.close_device("other")
            assert not export.ended.is_set(), "others go on"
            served.listening.close_device("phone")
            await export.ended.wait()
            rest = await downloading.rest()
            assert not rest.endswith(b"0\r\n\r\n"), "what was cut off does not look whole"
            assert (await uploading.rest()).startswith(b"HTTP/1.1 401")
            await until(lambda: list(tmp_path.glob("uploads/*")) == [])


async def test_revoking_its_own_key_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        services = served.services
        assert services is not None
        await services.devices.add(name="x", scope="admin", key="k", device_id="phone", now_ms=1)
        async with httpx.AsyncClient(base_url=served.base, headers=KEY, timeout=LIMIT_S) as http:
            answer = await http.delete("/api/devices/phone")
        assert answer.json() == {"ok": True, "id": "phone", "stored": True}


async def test_it_works_with_a_full_disk(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(revocations, "RETRY_S", 0.01)
    with faulty_disk() as disk, trio.fail_after(LIMIT_S):
        async with (
            open_services(tmp_path, vfs=disk.name) as services,
            open_server(services) as served,
            httpx.AsyncClient(base_url=served.base, headers=KEY, timeout=LIMIT_S) as http,
        ):
            await services.devices.add(name="x", scope="admin", key="k", device_id="lost", now_ms=1)
            served.fakes.devices.add("lost")
            async with served.client("key-of-lost") as client:
                disk.fail_write = apsw.FullError
                answer = await http.delete("/api/devices/lost")
                assert answer.json() == {"ok": True, "id": "lost", "stored": False}
                assert await client.closed() == 4401
            assert services.devices.find("k") is None
            disk.fail_write = None
            await until(lambda: not services.devices.revocations.owes)
    async with open_store(tmp_path / "x.db", boot_id="boot") as store:
        assert store.devices.find("k") is None


@attrs.define(eq=False)
class _SlowUploads:
    """Looks a file up for as long as the test likes."""

    asked: trio.Event = attrs.field(factory=trio.Event)
    found: trio.Event = attrs.field(factory=trio.Event)

    async def find(self, url: str) -> Attachment:
        self.asked.set()
        await self.found.wait()
        return Attachment("id", "a.txt", "text/plain", 1, url, "document")

    async def use(self, session_id: str, files: Sequence[Attachment]) -> bool:
        await trio.lowlevel.checkpoint()
        return True


async def test_a_message_on_its_way_goes_no_further(tmp_path: Path) -> None:
    uploads = _SlowUploads()
    async with serving(tmp_path, uploads=uploads) as served, served.client() as client:
        await client.attach("trip")
        file = {"url": "/uploads/x"}
        await client.send(type="send", session_id="trip", message_id="m", content="x", attachments=[file])
        with trio.fail_after(LIMIT_S):
            await uploads.asked.wait()
            served.listening.close_device("phone")
            uploads.found.set()
            assert await client.closed() == 4401
        assert served.fakes.envelopes == []
