"""A session's workspace: its folders and files, a search of their names, and folders for a new session."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from actors.events.codec import decode_settings
from bridgehub.workspace.paths import MAX_PATH_CHARS, PathRefused
from storage.records import SessionRecord
from transport.http.responses import HttpError, JsonAnswer, query_of
from transport.http.routes.files import INLINE_TYPES, SAFE_HEADERS
from transport.http.services import Work
from transport.ports import Deps, Device
from transport.v3.decode import is_id
from transport.v3.events import timestamp
from transport.workspace.comparing import CannotCompare, Compares
from transport.workspace.listing import PICKER_S, describe_folder, list_folder, list_folders, look_up
from transport.workspace.matching import MAX_QUERY_CHARS
from transport.workspace.reading import OpenFile, language_of, open_for_reading

__all__ = ["WorkspaceRoutes", "file_answer", "folder_of", "path_error", "refuse_elsewhere", "workspace_of"]


def refuse_elsewhere(deps: Deps, record: SessionRecord) -> None:
    """Refuse a session that was moved to another machine since the request was sent here. Raises HttpError."""
    if record.owner != deps.catalog.owner:
        raise HttpError(
            503, "machine_away", f"The session is on another machine ({record.owner}). Try again."
        )


BEST: Final = 50
"""Names that a search returns."""

RECENT: Final = 10
RECENT_SESSIONS: Final = 100
"""Sessions that are searched for recent workspaces."""

CHUNK_BYTES: Final = 256 * 1024

_STATUS: Final = {
    "bad_path": 400,
    "outside": 403,
    "missing": 404,
    "not_a_file": 415,
    "not_a_folder": 415,
    "unreadable": 403,
}
_CODES: Final = {
    "bad_path": "bad_request",
    "outside": "outside_workspace",
    "missing": "not_found",
    "unreadable": "forbidden",
}

_TYPES: Final = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
    "avif": "image/avif", "heic": "image/heic", "bmp": "image/bmp", "mp3": "audio/mpeg", "m4a": "audio/mp4",
    "wav": "audio/wav", "ogg": "audio/ogg", "flac": "audio/flac",
}  # fmt: skip


def path_error(refused: PathRefused) -> HttpError:
    """Return the response to a path that cannot be used."""
    return HttpError(_STATUS[refused.code], _CODES.get(refused.code, refused.code), str(refused))


def folder_of(request: Request) -> str | None:
    """Return the folder that a query's `workspace` names; None if it is not given. Raises HttpError."""
    (path,) = query_of(request, "workspace")
    if path is not None and ("\0" in path or len(path) > MAX_PATH_CHARS):
        raise HttpError(
            400, "bad_request", f"workspace must be a path of at most {MAX_PATH_CHARS} characters."
        )
    return path


async def workspace_of(deps: Deps, request: Request) -> str:
    """Return the folder that the request's session works in. Raises HttpError."""
    session_id = request.path_params["id"]
    record = await deps.catalog.get(session_id) if is_id(session_id) else None
    if record is None:
        raise HttpError(404, "not_found", "There is no such session.")
    refuse_elsewhere(deps, record)
    return decode_settings(record.settings).workspace


@attrs.frozen
class WorkspaceRoutes:
    """The routes of a session's workspace."""

    deps: Deps
    work: Work

    async def listing(self, request: Request, _: Device) -> Response:
        """Return a folder's entries, or the names that match a search."""
        root = await workspace_of(self.deps, request)
        path, query = query_of(request, "path", "q")
        if query is not None:
            return JsonAnswer(await self._search(root, query))
        try:
            entries, cut = await self._thread(list_folder, root, path or "")
        except PathRefused as refused:
            raise path_error(refused) from None
        shown = [{**attrs.asdict(one), "modified": timestamp(int(one.modified * 1000))} for one in entries]
        return JsonAnswer({"entries": shown, "truncated": cut})

    async def _search(self, root: str, query: str) -> dict[str, Any]:
        if not 1 <= len(query) <= MAX_QUERY_CHARS or "\0" in query:
            raise HttpError(400, "bad_request", f"q must be a text of 1 to {MAX_QUERY_CHARS} characters.")
        found = await self.work.search.find(root, query, BEST + 1)
        entries = await self._thread(look_up, root, found[:BEST])
        return {"entries": entries, "truncated": len(found) > BEST}

    async def file(self, request: Request, device: Device) -> Response:
        """Return a file of the workspace: a text with its colours, or a download."""
        root = await workspace_of(self.deps, request)
        path, checkpoint = query_of(request, "path", "checkpoint")
        if path is None:
            raise HttpError(400, "bad_request", "path is missing.")
        self._count(request, device)
        try:
            if checkpoint is None:
                opened = await self._thread(open_for_reading, root, path)
            else:
                opened = await self._thread(self._at_checkpoint, request, root, path, checkpoint)
        except PathRefused as refused:
            raise path_error(refused) from None
        except CannotCompare as failed:
            raise HttpError(404, failed.code, str(failed)) from None
        return await file_answer(self.deps, path, opened)

    def _at_checkpoint(self, request: Request, root: str, path: str, checkpoint: str) -> OpenFile:
        if self.work.checkpoints is None:
            raise CannotCompare("no_checkpoint", "Nothing is saved here.")
        return Compares(self.work.checkpoints, root, request.path_params["id"]).file(path, checkpoint)

    async def folders(self, request: Request, _: Device) -> Response:
        """Return folders that a new session may work in."""
        (path,) = query_of(request, "path")
        try:
            folder, folders = await self._thread(list_folders, self.work.roots, path)
        except PathRefused as refused:
            raise path_error(refused) from None
        recent = await self._recent()
        return JsonAnswer({"path": str(folder), "folders": folders, "recent": recent})

    async def _recent(self) -> list[dict[str, Any]]:
        """Return the folders that sessions worked in recently, the newest first."""
        page = await self.deps.catalog.page(RECENT_SESSIONS)
        here = [one for one in page if one.owner == self.deps.catalog.owner]
        names = list(dict.fromkeys(decode_settings(one.settings).workspace for one in here))
        found: list[dict[str, Any]] = await self._thread(self._describe, names)
        return found

    def _describe(self, names: list[str]) -> list[dict[str, Any]]:
        until = time.monotonic() + PICKER_S
        found: list[dict[str, Any]] = []
        for name in names:
            try:
                self.work.roots.check(Path(name))
            except PathRefused:
                continue
            found.append(describe_folder(Path(name), until))
            if len(found) >= RECENT:
                break
        return found

    def _count(self, request: Request, device: Device) -> None:
        self.deps.trail.signed_in(device.id, request.scope["client"][0], "files_read")

    async def _thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await trio.to_thread.run_sync(partial(call, *arguments), limiter=self.work.threads)


async def file_answer(deps: Deps, path: str, opened: OpenFile) -> Response:
    """Return a file: text as JSON with its colours, anything else as a download."""
    if opened.text is None:
        return _Download(path, opened)
    language = language_of(path)
    html = await deps.renderer.render([("", _fenced(opened.text, language))]) if opened.text else None
    return JsonAnswer({"content": opened.text, "language": language, "html": html})


def _fenced(text: str, language: str) -> str:
    """Return a text as a code block in Markdown, with a fence longer than any in it."""
    longest = run = 0
    for sign in text:
        run = run + 1 if sign == "`" else 0
        longest = max(longest, run)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{fence}\n"


class _Download(Response):
    """Streams an open file and closes it, even if the device disconnects."""

    def __init__(self, path: str, opened: OpenFile) -> None:
        self.opened = opened
        name = path.rstrip("/").rpartition("/")[2] or "file"
        media_type = _TYPES.get(name.rpartition(".")[2].casefold(), "")
        inline = media_type in INLINE_TYPES
        kind = "inline" if inline else "attachment"
        super().__init__(
            None,
            headers={
                **SAFE_HEADERS,
                "Content-Disposition": f"{kind}; filename*=utf-8''{quote(name, safe='')}",
                "Content-Length": str(opened.size),
            },
            media_type=media_type if inline else "application/octet-stream",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            left = self.opened.size
            while left > 0:
                chunk = await trio.to_thread.run_sync(self.opened.read, min(left, CHUNK_BYTES))
                if not chunk:
                    break  # it became shorter: the response is cut off, and the device notices that
                left -= len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self.opened.close()
