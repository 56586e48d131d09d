"""The web client's files: to anybody, as they are, and nothing beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.transport.client import open_server
from transport.http.static import MAX_FILE_BYTES, read_web_files

FILES = {
    "index.html": b"<!doctype html><title>BuilderOS</title>",
    "main.js": b"export const one=1;\n",
    "main.css": b"body{margin:0}\n",
    "sw.js": b"self.skipWaiting();\n",
    "manifest.webmanifest": b"{}",
    "icons/icon.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "icons/icon-192.png": b"\x89PNG\r\n\x1a\n",
}
NOT_SERVED = {".secret.html": b"no", ".hidden/a.js": b"no", "types.d.ts": b"no", "README": b"no"}


@pytest.fixture
def web(tmp_path: Path) -> Path:
    folder = tmp_path / "web"
    for name, body in {**FILES, **NOT_SERVED}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    (tmp_path / "outside.html").write_bytes(b"outside")
    return folder


@asynccontextmanager
async def open_stranger(web: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    async with open_server(web=web) as served, httpx.AsyncClient(base_url=served.base) as http:
        yield http


async def test_every_file_with_its_type_and_no_key(web: Path) -> None:
    types = {
        "": "text/html; charset=utf-8",
        "index.html": "text/html; charset=utf-8",
        "main.js": "text/javascript; charset=utf-8",
        "main.css": "text/css; charset=utf-8",
        "sw.js": "text/javascript; charset=utf-8",
        "manifest.webmanifest": "application/manifest+json",
        "icons/icon.svg": "image/svg+xml",
        "icons/icon-192.png": "image/png",
    }
    async with open_stranger(web) as http:
        for name, media_type in types.items():
            answer = await http.get(f"/{name}")
            told = (answer.status_code, answer.headers["content-type"], answer.content)
            assert told == (200, media_type, FILES[name or "index.html"]), name
            head = await http.head(f"/{name}")
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == str(len(answer.content))
            assert head.headers["etag"] == answer.headers["etag"]
        query = await http.get("/main.js?v=1")
        assert query.content == FILES["main.js"]


async def test_headers_let_nothing_foreign_in(web: Path) -> None:
    async with open_stranger(web) as http:
        headers = (await http.get("/")).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    for name in ("object-src", "base-uri", "frame-ancestors", "form-action"):
        assert policy[name] == "'none'", name
    sources = {source for text in policy.values() for source in text.split()}
    assert sources == {"'self'", "'none'", "data:", "blob:"}
    assert "data:" not in policy["script-src"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


async def test_a_browser_that_has_it_is_told_so(web: Path) -> None:
    async with open_stranger(web) as http:
        for name in ("", "sw.js", "icons/icon.svg"):
            first = await http.get(f"/{name}")
            assert first.headers["cache-control"] == "no-cache"
            tag = first.headers["etag"]
            for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
                again = await http.get(f"/{name}", headers={"If-None-Match": known})
                assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag), known
            changed = await http.get(f"/{name}", headers={"If-None-Match": '"other"'})
            assert changed.status_code == 200


async def test_another_content_has_another_tag(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_bytes(b"1")
    (before,) = read_web_files(tmp_path)
    (tmp_path / "a.js").write_bytes(b"2")
    (after,) = read_web_files(tmp_path)
    assert before.etag != after.etag


@pytest.mark.parametrize(
    "path",
    [
        "/nothing.html",
        "/favicon.ico",
        "/main.js/",
        "/icons",
        "/icons/",
        "//main.js",
        "/../outside.html",
        "/%2e%2e/outside.html",
        "/..%2foutside.html",
        "/icons/..%2f..%2foutside.html",
        "/icons/%5c..%5coutside.html",
        "/%00",
        "/main.js%00.css",
        *(f"/{name}" for name in NOT_SERVED),
    ],
)
async def test_nothing_else_is_there(web: Path, path: str) -> None:
    async with open_server(web=web) as served:
        peer = await served.raw()
        answer = await peer.request(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404"), answer
    assert b"application/json" in answer
    assert b"outside" not in answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("path", ["/api", "/api/nothing", "/uploads/x", "/metrics", "/api/status"])
async def test_the_rest_takes_a_key(web: Path, path: str) -> None:
    async with open_stranger(web) as http:
        assert (await http.get(path)).status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_files_are_for_reading(web: Path, method: str) -> None:
    async with open_server(web=web) as served, httpx.AsyncClient(base_url=served.base) as http:
        assert (await http.request(method, "/main.js")).status_code == 401
        keyed = await http.request(method, "/main.js", headers={"X-API-Key": "key-of-phone"})
        assert (keyed.status_code, keyed.json()["error"]["code"]) == (405, "method_not_allowed")


async def test_a_file_that_is_too_large_is_left_out(tmp_path: Path) -> None:
    with (tmp_path / "large.js").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert read_web_files(tmp_path) == ()
    assert read_web_files(tmp_path / "nowhere") == ()
