"""What stands before every HTTP route: nobody passes without a key, but where something else opens."""

from __future__ import annotations

from typing import Final

import attrs
from starlette.types import ASGIApp, Receive, Scope, Send

from transport.http.responses import HttpError
from transport.http.routes.web import is_web_path
from transport.ports import Deps
from transport.signed_urls import UPLOADS_PATH
from transport.signin import BadKeyError, SignIns, TooManyTriesError, key_of_headers

__all__ = ["CODE_PATH", "OPEN_PATHS", "Keys"]

OPEN_PATHS: Final = frozenset({"/api/health"})
"""What answers without a key, beside the files of the web client."""

CODE_PATH: Final = "/api/pair"
"""Where a pairing code is what opens, and no key."""


@attrs.frozen
class Keys:
    """Lets nobody past without a key, a good pairing code on its path, or a signed address of a file.

    Routes find `builderos.device` in the scope, None for a signed address, or `builderos.pairing`.
    """

    app: ASGIApp
    deps: Deps
    sign_ins: SignIns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_open(scope):
            try:
                self._check(scope)
            except BadKeyError:
                raise HttpError(401, "unauthorized", "A valid key is needed.") from None
            except TooManyTriesError:
                raise HttpError(429, "too_many", "Too many wrong keys; wait a moment.") from None
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        key = key_of_headers(scope["headers"])
        if scope["path"] == CODE_PATH:
            self._check_code(scope, key)
        elif key is None and self._is_signed(scope):
            scope["builderos.device"] = None
        elif key is None:
            raise BadKeyError
        else:
            self._check_key(scope, key)

    def _check_key(self, scope: Scope, key: str) -> None:
        address: str = scope["client"][0]
        try:
            scope["builderos.device"] = self.sign_ins.enter(key, address)
        except (BadKeyError, TooManyTriesError):
            if not self._is_signed(scope):
                raise
            scope["builderos.device"] = None

    def _check_code(self, scope: Scope, code: str | None) -> None:
        facilities = self.deps.facilities
        if code is None or facilities is None:
            raise BadKeyError
        pairing = facilities.pairings.find(code, now_ms=self.deps.clock())
        self.sign_ins.judge(scope["client"][0], good=pairing is not None, what="code")
        scope["builderos.pairing"] = pairing

    def _is_signed(self, scope: Scope) -> bool:
        facilities = self.deps.facilities
        if facilities is None or scope["method"] not in ("GET", "HEAD"):
            return False
        path: str = scope["path"]
        query = scope["query_string"].decode("latin-1")
        return path.startswith(UPLOADS_PATH) and facilities.uploads.links.opens(path, query)


def _is_open(scope: Scope) -> bool:
    reads = scope["method"] in ("GET", "HEAD")
    return scope["path"] in OPEN_PATHS or (reads and is_web_path(scope["path"]))
