"""The calls about a session's files, over HTTP."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import orjson
import pytest
import trio

from storage.records import NewSession
from tests.transport.client import LIMIT_S, Served, open_server
from tests.transport.services import open_services
from transport.http.services import HttpServices
from transport.rendering.renderer import Renderer


@attrs.frozen
class World:
    folder: Path
    http: httpx.AsyncClient
    served: Served
    services: HttpServices

    async def files(self, **query: str) -> dict[str, Any]:
        answer = await self.http.get("/api/sessions/s/files", params=query)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def file(self, path: str) -> httpx.Response:
        return await self.http.get("/api/sessions/s/file", params={"path": path})


@asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[World]:
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    renderer = Renderer()
    async with (
        trio.open_nursery() as nursery,
        open_services(folder) as services,
        open_server(services, renderer) as served,
        httpx.AsyncClient(
            base_url=served.base, headers={"X-API-Key": "key-of-phone"}, timeout=LIMIT_S
        ) as http,
    ):
        nursery.start_soon(services.work.search.run)
        nursery.start_soon(renderer.run)
        settings = orjson.dumps({"workspace": str(workspace)})
        served.fakes._make(NewSession("s", "echo", "phone", settings, 1))
        yield World(workspace, http, served, services)
        nursery.cancel_scope.cancel()


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


async def test_a_folder_is_listed_with_what_git_ignores(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        git(world.folder, "init", "-q")
        (world.folder / ".gitignore").write_text("*.log\n")
        (world.folder / "a.py").write_text("x = 1\n")
        (world.folder / "noise.log").write_text("")
        (world.folder / "src").mkdir()
        (world.folder / "link").symlink_to("/etc")
        os.mkfifo(world.folder / "pipe")
        told = await world.files()
    assert not told["truncated"]
    by_name = {one["name"]: one for one in told["entries"]}
    assert {name: one["kind"] for name, one in by_name.items()} == {
        ".git": "folder", "src": "folder", ".gitignore": "file", "a.py": "file", "noise.log": "file",
        "link": "link", "pipe": "other",
    }  # fmt: skip
    assert [name for name, one in by_name.items() if one["ignored"]] == ["noise.log"]
    assert by_name["a.py"]["size"] == 6
    assert by_name["a.py"]["modified"].endswith("Z")


async def test_a_long_folder_is_cut(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        (world.folder / "many").mkdir()
        for number in range(2001):
            (world.folder / "many" / str(number)).touch()
        told = await world.files(path="many")
    assert len(told["entries"]) == 2000
    assert told["truncated"]


async def test_names_are_found_in_a_repository_and_without_one(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        (world.folder / "src").mkdir()
        (world.folder / "src" / "quokka.py").touch()
        assert [one["path"] for one in (await world.files(q="quok"))["entries"]] == ["src/quokka.py"]
        git(world.folder, "init", "-q")
        (world.folder / ".gitignore").write_text("build/\n")
        (world.folder / "build").mkdir()
        (world.folder / "build" / "quokka.js").touch()
        with trio.fail_after(30):
            while len(told := (await world.files(q="quokka"))["entries"]) < 2:
                pass
    assert [(one["path"], one["ignored"], one["kind"]) for one in told] == [
        ("src/quokka.py", False, "file"),
        ("build/quokka.js", True, "file"),
    ]


async def test_a_text_comes_with_its_language_and_colours(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        (world.folder / "a.py").write_text("# ```` <b>\nx = 1\n")
        body = (await world.file("a.py")).json()
    assert body["content"] == "# ```` <b>\nx = 1\n"
    assert body["language"] == "python"
    assert 'data-language="python"' in body["html"]
    assert "&lt;b&gt;" in body["html"]


@pytest.mark.parametrize(
    ("name", "data", "inline", "kind"),
    [
        ("a.png", b"\x89PNG\0", True, "image/png"),
        ("a.bin", b"\xff\xfe\0", False, "application/octet-stream"),
        ("a.svg\0"[:-1], b"<svg>\0</svg>", False, "application/octet-stream"),
        ("long.txt", b"x" * (1024 * 1024 + 1), False, "application/octet-stream"),
    ],
)
async def test_anything_else_is_a_safe_download(
    tmp_path: Path, name: str, data: bytes, inline: bool, kind: str
) -> None:
    async with open_world(tmp_path) as world:
        (world.folder / name).write_bytes(data)
        answer = await world.file(name)
    assert answer.content == data
    assert answer.headers["content-type"] == kind
    assert answer.headers["content-disposition"].startswith("inline" if inline else "attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("path=../x", 403),
        ("path=%2fetc%2fpasswd", 403),
        ("path=out/passwd", 403),
        ("path=a%00b", 400),
        ("path=%ff", 400),
        ("path=" + "a" * 4097, 400),
        ("", 400),
        ("path=", 415),
        ("path=sub", 415),
        ("path=pipe", 415),
        ("path=nothing", 404),
    ],
)
async def test_wrong_paths_are_refused_in_words(tmp_path: Path, query: str, status: int) -> None:
    async with open_world(tmp_path) as world:
        (world.folder / "out").symlink_to("/etc")
        (world.folder / "sub").mkdir()
        os.mkfifo(world.folder / "pipe")
        answer = await world.http.get(f"/api/sessions/s/file?{query}")
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


async def test_folders_for_a_new_session(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        repository = tmp_path / "repository"
        repository.mkdir()
        git(repository, "init", "-q", "-b", "trunk")
        clean = (await world.http.get("/api/folders", params={"path": str(tmp_path)})).json()
        (repository / "new").touch()
        marker = tmp_path / "ran"
        git(repository, "config", "core.fsmonitor", f"touch {marker}")
        git(repository, "config", "filter.evil.clean", f"touch {marker}; cat")
        (repository / ".gitattributes").write_text("* filter=evil\n")
        dirty = (await world.http.get("/api/folders", params={"path": str(tmp_path)})).json()
        outside = await world.http.get("/api/folders", params={"path": "/"})
        missing = await world.http.get("/api/folders", params={"path": str(tmp_path / "nothing")})
        relative = await world.http.get("/api/folders", params={"path": "repository"})
        plain = (await world.http.get("/api/folders")).json()
    gits = [{one["name"]: one["git"] for one in told["folders"]} for told in (clean, dirty)]
    assert gits[0]["repository"] == {"branch": "trunk", "dirty": False}
    assert gits[1]["repository"] == {"branch": "trunk", "dirty": True}
    assert gits[0]["workspace"] is None
    assert not marker.exists(), "a program that the repository names was run"
    assert [one["path"] for one in clean["recent"]] == [str(world.folder)]
    assert (outside.status_code, missing.status_code, relative.status_code) == (403, 404, 400)
    assert plain["path"] == str(tmp_path)


async def test_a_session_is_made_only_in_a_folder_that_may_be_used(tmp_path: Path) -> None:
    async with open_server(workspace_roots=(tmp_path,)) as served, served.client() as client:
        for name, folder in {"gone": tmp_path / "nothing", "out": Path("/etc")}.items():
            answer = await client.attach(name, agent="echo", settings={"workspace": str(folder)})
            assert (answer["type"], answer["code"]) == ("rejected", "bad_workspace")
        answer = await client.attach("good", agent="echo", settings={"workspace": str(tmp_path)})
    assert answer["settings"]["workspace"] == str(tmp_path)
    assert "gone" not in served.fakes.sessions
