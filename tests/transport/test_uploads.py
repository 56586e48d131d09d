"""Files over real sockets: what comes in whole is given out again; what does not leaves nothing."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio
import trio.lowlevel

from storage.data_folder import blob_path
from tests.transport.client import LIMIT_S, Served, open_server
from tests.transport.services import LINKS, open_services
from transport.access.signed_urls import blob_url
from transport.uploads import MAX_FILE_BYTES

KEY = {"X-API-Key": "key-of-phone"}
HEAD = "POST /api/files/upload HTTP/1.1\r\nHost: localhost\r\n{key}{more}\r\n"
FORM = "Content-Type: multipart/form-data; boundary=B\r\n"
BEGIN = 'B\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'


async def until(predicate: Callable[[], bool]) -> None:
    """Wait for what a folder or the other end shows: neither gives an event."""
    with trio.fail_after(LIMIT_S):  # noqa: ASYNC912 - waits, or has nothing to wait for
        while not predicate():  # noqa: ASYNC110
            await trio.sleep(0.01)


@attrs.frozen
class World:
    folder: Path
    served: Served
    http: httpx.AsyncClient

    def files(self) -> list[str]:
        folder = self.folder / "uploads"
        return os.listdir(folder) if folder.is_dir() else []

    async def wait_empty(self) -> None:
        """Wait until nothing is left of any upload."""
        await self.wait_files(0)

    async def wait_files(self, count: int) -> None:
        """Wait until so many are there."""
        await until(lambda: len(self.files()) == count)

    async def bring(
        self, name: str = "a.txt", data: bytes = b"abc", kind: str = "text/plain"
    ) -> httpx.Response:
        return await self.http.post(
            "/api/files/upload", files={"file": (name, data, kind)}, data={"type": "document"}
        )


@asynccontextmanager
async def open_world(folder: Path, **config: Any) -> AsyncIterator[World]:
    async with (
        open_services(folder) as services,
        open_server(services, **config) as served,
        httpx.AsyncClient(base_url=served.base, headers=KEY, timeout=LIMIT_S) as http,
    ):
        yield World(folder, served, http)


def error(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.json()["error"]["message"], str)
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_file_is_uploaded_and_fetched_by_key_and_address(tmp_path: Path) -> None:
    data = os.urandom(700_000)
    async with open_world(tmp_path) as world, httpx.AsyncClient() as stranger:
        answer = await world.bring("réport 1.pdf", data, "application/pdf")
        told = answer.json()
        assert answer.status_code == 200
        assert told["ok"] is True
        assert (told["filename"], told["size"], told["type"]) == ("réport 1.pdf", 700_000, "document")
        assert told["url"].startswith(f"{world.served.base}{told['path']}?sig=")
        for got in (await stranger.get(told["url"]), await world.http.get(told["path"])):
            assert got.content == data
            assert got.headers["x-content-type-options"] == "nosniff"
            assert got.headers["content-security-policy"] == "sandbox"
            assert got.headers["content-type"] == "application/octet-stream"
            disposition = "attachment; filename*=utf-8''r%C3%A9port%201.pdf"
            assert got.headers["content-disposition"] == disposition
        assert error(await stranger.get(world.served.base + told["path"])) == (401, "unauthorized")
        wrong = told["url"][:-1] + ("0" if told["url"][-1] != "0" else "1")
        assert error(await stranger.get(wrong)) == (401, "unauthorized")
        assert error(await stranger.post(told["url"])) == (401, "unauthorized")
        other = told["url"].replace("/uploads/", "/api/sessions/")
        assert error(await stranger.get(other)) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("mime_type", "shown"),
    [
        ("image/png", "inline"),
        ("audio/mpeg", "inline"),
        ("image/svg+xml", "attachment"),
        ("text/html", "attachment"),
        ("IMAGE/PNG; x=1", "inline"),
        ("nonsense", "attachment"),
    ],
)
async def test_what_a_browser_may_show(tmp_path: Path, mime_type: str, shown: str) -> None:
    async with open_world(tmp_path) as world:
        told = (await world.bring("a.png", b"x", mime_type)).json()
        got = await world.http.get(told["path"])
        assert got.headers["content-disposition"].startswith(shown)
        assert "html" not in got.headers["content-type"]
        assert "svg" not in got.headers["content-type"]


async def test_the_address_is_the_proxys(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.http.headers.update({"X-Forwarded-Proto": "https", "X-Forwarded-Host": "my.tunnel"})
        assert (await world.bring()).json()["url"].startswith("https://my.tunnel/uploads/")


async def test_ranges(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        path = (await world.bring(data=b"0123456789")).json()["path"]
        for asked, status, data in [
            ("bytes=2-4", 206, b"234"),
            ("bytes=7-", 206, b"789"),
            ("bytes=7-999", 206, b"789"),
            ("bytes=99-", 200, b"0123456789"),
            ("bytes=4-2", 200, b"0123456789"),
            ("bytes=0-0,2-2", 200, b"0123456789"),
            ("lines=1-", 200, b"0123456789"),
        ]:
            got = await world.http.get(path, headers={"Range": asked})
            assert (got.status_code, got.content) == (status, data), asked


@pytest.mark.parametrize(
    "name", ["..%2fx.db", "%2e%2e%2fx.db", "..", "x.db", "%00", "a%2fb", "x" * 500, "..%5cx.db", "blobs"]
)
async def test_no_name_leads_elsewhere(tmp_path: Path, name: str) -> None:
    async with open_world(tmp_path) as world:
        for path in (f"/uploads/{name}", f"/uploads/blobs/{name}/{'0' * 64}", f"/uploads/blobs/trip/{name}"):
            raw = await world.served.raw()
            got = await raw.request(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: key-of-phone\r\n\r\n")
            assert got.startswith(b"HTTP/1.1 404"), path
            assert b'"not_found"' in got


async def test_blobs(tmp_path: Path) -> None:
    digest = "a" * 64
    async with open_world(tmp_path) as world, httpx.AsyncClient(base_url=world.served.base) as stranger:
        path = blob_path(tmp_path, "Trip", digest)
        assert path is not None
        path.parent.mkdir(parents=True)
        path.write_bytes(b"long output")
        got = await world.http.get(blob_url("Trip", digest))
        assert (got.status_code, got.content) == (200, b"long output")
        assert got.headers["content-security-policy"] == "sandbox"
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.headers["content-disposition"].startswith("attachment")
        assert error(await stranger.get(blob_url("Trip", digest))) == (401, "unauthorized")
        assert (await stranger.get(LINKS.sign(blob_url("Trip", digest)))).status_code == 200
        assert error(await world.http.get(blob_url("trip", digest))) == (404, "not_found")


async def test_too_large_by_its_own_word_is_answered_before_it_is_sent(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        raw = await world.served.raw()
        more = f"{FORM}Content-Length: {MAX_FILE_BYTES + 100_000}\r\n"
        await raw.stream.send_all(HEAD.format(key="X-API-Key: key-of-phone\r\n", more=more).encode())
        assert (await raw.head()).startswith(b"HTTP/1.1 413")
        assert world.files() == []


@pytest.mark.parametrize("told", [True, False])
async def test_too_large_is_told_to_a_client_that_reads_last(tmp_path: Path, told: bool) -> None:
    """As many clients do: all is sent, and only then the answer is read."""
    chunk = b"x" * 1_000_000
    async with open_world(tmp_path) as world:
        raw = await world.served.raw()
        body = len(chunk) * 70 + len(BEGIN)
        more = FORM + (f"Content-Length: {body}\r\n" if told else "Transfer-Encoding: chunked\r\n")
        await raw.stream.send_all(HEAD.format(key="X-API-Key: key-of-phone\r\n", more=more).encode())
        for part in [f"--{BEGIN}".encode(), *[chunk] * 70]:
            framed = part if told else b"%x\r\n%b\r\n" % (len(part), part)
            await raw.stream.send_all(framed)
        answer = await raw.rest()
        assert answer.startswith(b"HTTP/1.1 413")
        assert answer.endswith(b'"The file is over 50000000 bytes."}}')
        await world.wait_empty()


async def test_the_largest_file_fits(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        answer = await world.bring(data=bytes(MAX_FILE_BYTES))
        assert (answer.status_code, answer.json()["size"]) == (200, MAX_FILE_BYTES)
        assert error(await world.bring(data=bytes(MAX_FILE_BYTES + 1))) == (413, "too_large")
        assert len(world.files()) == 1


async def test_one_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        raw = await world.served.raw()
        more = f"{FORM}Content-Length: 900000\r\n"
        await raw.stream.send_all(HEAD.format(key="X-API-Key: key-of-phone\r\n", more=more).encode())
        await raw.stream.send_all(f"--{BEGIN}".encode() + b"x" * 300_000)
        await until(lambda: bool(world.files()))
        await raw.stream.aclose()
        await world.wait_empty()


async def test_one_that_stands_still_leaves_nothing(tmp_path: Path) -> None:
    async with open_world(tmp_path, body_s=0.3) as world:
        raw = await world.served.raw()
        more = f"{FORM}Content-Length: 900000\r\n"
        await raw.stream.send_all(HEAD.format(key="X-API-Key: key-of-phone\r\n", more=more).encode())
        await raw.stream.send_all(f"--{BEGIN}".encode() + b"x" * 300_000)
        await raw.rest()
        await world.wait_empty()


async def test_a_slow_one_is_fine(tmp_path: Path) -> None:
    body = f'--{BEGIN}hello\r\n--B\r\nContent-Disposition: form-data; name="type"\r\n\r\ncode\r\n--B--\r\n'
    async with open_world(tmp_path) as world:
        raw = await world.served.raw()
        more = f"{FORM}Content-Length: {len(body)}\r\n"
        await raw.stream.send_all(HEAD.format(key="X-API-Key: key-of-phone\r\n", more=more).encode())
        for byte in body.encode():
            await raw.stream.send_all(bytes([byte]))
            await trio.lowlevel.checkpoint()
        got = await raw.rest()
        assert got.startswith(b"HTTP/1.1 200")
        assert b'"type":"code"' in got


@pytest.mark.parametrize(
    ("body", "more", "status"),
    [
        ("", FORM, 411),
        ("x", f"{FORM}Content-Length: 1\r\n", 400),
        ("", f"{FORM}Content-Length: 0\r\n", 400),
        ("{}", "Content-Type: application/json\r\nContent-Length: 2\r\n", 415),
        ("{}", "Content-Length: 2\r\n", 415),
        ("x", "Content-Type: multipart/form-data\r\nContent-Length: 1\r\n", 400),
        (f"--{BEGIN}abc", FORM + "Content-Length: {length}\r\n", 400),
        (f"--{BEGIN}abc\r\n--{BEGIN}abc\r\n--B--\r\n", FORM + "Content-Length: {length}\r\n", 400),
        (
            '--B\r\nContent-Disposition: form-data; name="type"\r\n\r\ncode\r\n--B--\r\n',
            FORM + "Content-Length: {length}\r\n",
            400,
        ),
        (
            f'--{BEGIN}abc\r\n--B\r\nContent-Disposition: form-data; name="type"\r\n\r\n../x\r\n--B--\r\n',
            FORM + "Content-Length: {length}\r\n",
            400,
        ),
        (
            f'--{BEGIN}abc\r\n--B\r\nContent-Disposition: form-data; name="more"\r\n\r\n{"x" * 5000}\r\n--B--\r\n',
            FORM + "Content-Length: {length}\r\n",
            413,
        ),
        ("x", f"{FORM}Content-Length: one\r\n", 400),
        ("x", f"{FORM}Content-Length: 1\r\nContent-Length: 2\r\n", 400),
    ],
)
async def test_a_form_that_is_none_is_refused_and_leaves_nothing(
    tmp_path: Path, body: str, more: str, status: int
) -> None:
    async with open_world(tmp_path) as world:
        raw = await world.served.raw()
        head = HEAD.format(key="X-API-Key: key-of-phone\r\n", more=more.replace("{length}", str(len(body))))
        got = await raw.request(head + body)
        assert got.startswith(f"HTTP/1.1 {status}".encode()), got
        assert b'{"error":{"code":' in got
        await world.wait_empty()


async def test_too_many_at_once(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        more = f"{FORM}Content-Length: 900000\r\n"
        for _ in range(8):
            raw = await world.served.raw()
            await raw.stream.send_all(HEAD.format(key="X-API-Key: key-of-phone\r\n", more=more).encode())
        await until(lambda: len(world.files()) == 8)
        assert error(await world.bring()) == (429, "too_many")
        world.served.close_peers()
        await world.wait_empty()
        assert (await world.bring()).status_code == 200


async def test_a_viewer_reads_and_brings_nothing(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        path = (await world.bring()).json()["path"]
        world.served.fakes.devices.add("tv", "view")
        world.http.headers["X-API-Key"] = "key-of-tv"
        assert error(await world.bring()) == (403, "forbidden")
        assert (await world.http.get(path)).status_code == 200


async def test_a_message_has_uploads_of_this_server_only(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        told = (await world.bring("a.png", b"abc", "image/png")).json()
        world.served.fakes.add_session("trip")
        async with world.served.client() as device:
            await device.attach("trip")
            for url in ("", "http://elsewhere/x.png", "/uploads/nothing", told["url"][:-3], "/etc/passwd"):
                refs = [{"url": told["url"]}, {"url": url, "size": 3}]
                await device.send(
                    type="send", session_id="trip", message_id="m", content="x", attachments=refs
                )
                answer = await device.receive("rejected", "error")
                assert answer["code"] in ("bad_attachment", "bad_frame"), url
            given = {"id": "x", "filename": "lie", "mime_type": "text/html", "size": 9, "type": "x"}
            refs = [{**given, "url": told["url"]}]
            await device.send(type="send", session_id="trip", message_id="m", content="x", attachments=refs)
            await until(lambda: bool(world.served.fakes.envelopes))
        command = world.served.fakes.envelopes[0][1].command
        (file,) = command.attachments  # type: ignore[union-attr]
        assert (file.filename, file.mime_type, file.size, file.type) == ("a.png", "image/png", 3, "document")
        assert file.url == told["url"]
