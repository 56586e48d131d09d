"""The web client at `/`: its files, to anybody, with headers that let nothing run but these files."""

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
    # 'self' holds for WebSockets of the same host and port too (Chromium, Firefox, Safari since 15.4).
    "connect-src": "'self'",
    # data: and blob: are what the page itself has made: previews of what is about to be sent, a QR code.
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
    # Names do not change with contents, so every use asks whether it is still the same.
    "Cache-Control": "no-cache",
}

_KEYED: Final = frozenset({"api", "uploads", "metrics"})
"""Where a path begins that is none of the client's."""


def is_web_path(path: str) -> bool:
    """Tell whether a path can only be a file of the client, there or not. What does exist takes no key."""
    return path[:1] == "/" and path[1:].partition("/")[0] not in _KEYED


def web_routes(files: tuple[WebFile, ...]) -> list[Route]:
    """Return a route for each file."""
    return [Route(file.path, _WebRoute(file).answer, methods=["GET"]) for file in files]


@attrs.frozen
class _WebRoute:
    file: WebFile

    async def answer(self, request: Request) -> Response:
        """Give the file out, or say that the browser has it."""
        headers = {**_HEADERS, "ETag": self.file.etag}
        if self._is_known(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        return Response(self.file.body, headers=headers, media_type=self.file.media_type)

    def _is_known(self, told: str) -> bool:
        tags = [tag.strip().removeprefix("W/") for tag in told.split(",")]
        return self.file.etag in tags or tags == ["*"]
