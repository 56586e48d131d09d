"""The web client at `/`: its files, without a key, with headers that allow only these files to run."""

from __future__ import annotations

from typing import Final

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from transport.http.static import WebFile

__all__ = ["CONTENT_SECURITY_POLICY", "is_web_path", "web_routes"]

_SOURCES: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    # 'self' also allows WebSockets of the same host and port (Chromium, Firefox, Safari since 15.4).
    "connect-src": "'self'",
    # data: and blob: are made by the page itself: previews of files to send, a QR code.
    "img-src": "'self' data: blob:",
    "media-src": "'self' blob:",
    "manifest-src": "'self'",
    "worker-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
    "form-action": "'none'",
}

CONTENT_SECURITY_POLICY: Final = "; ".join(f"{name} {sources}" for name, sources in _SOURCES.items())

_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Names do not change with contents, so each use checks whether the file is still the same.
    "Cache-Control": "no-cache",
}

_KEYED: Final = frozenset({"api", "uploads", "metrics"})
"""The first segments of paths that are not the client's."""


def is_web_path(path: str) -> bool:
    """Return whether a path can only be a file of the client, existing or not. Existing files need no key."""
    return path[:1] == "/" and path[1:].partition("/")[0] not in _KEYED


def web_routes(files: tuple[WebFile, ...]) -> list[Route]:
    """Return a route for each file."""
    return [Route(file.path, _WebRoute(file).answer, methods=["GET"]) for file in files]


@attrs.frozen
class _WebRoute:
    file: WebFile

    async def answer(self, request: Request) -> Response:
        """Return the file, or 304 if the browser has it."""
        headers = {**_HEADERS, "ETag": self.file.etag}
        if self._is_known(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        return Response(self.file.body, headers=headers, media_type=self.file.media_type)

    def _is_known(self, header: str) -> bool:
        tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
        return self.file.etag in tags or tags == ["*"]
