"""ASGI layers around every HTTP route: authentication, security headers, and draining of unread bodies."""

from __future__ import annotations

from functools import partial
from typing import Final

import attrs
import trio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storage.aliases import Aliases
from transport.access.signed_urls import ACT_PATH, UPLOADS_PATH
from transport.access.signin import (
    KEYS_UNKNOWN,
    BadKeyError,
    SignIns,
    TooManyAttemptsError,
    key_of_headers,
)
from transport.http.requests import wait_left
from transport.http.responses import HttpError
from transport.http.routes.web import is_web_path
from transport.http.services import Underway
from transport.ports import Deps, Device

__all__ = ["CODE_PATH", "COMMON", "OPEN_PATHS", "AliasedPaths", "DrainRequestBody", "Keys", "SafeHeaders"]

OPEN_PATHS: Final = frozenset({"/api/health"})
"""Paths that need no key, beside the files of the web client."""

CODE_PATH: Final = "/api/pair"
"""The path that a pairing code opens instead of a key."""


@attrs.frozen
class Keys:
    """Refuses requests without a valid key, except with a valid pairing code on its path, or a signed address of a
    file.

    Routes find `builderos.device` in the scope (None for a signed address), or `builderos.pairing`. If the device's key
    is revoked, its requests end, unless one calls `builderos.spare`.
    """

    app: ASGIApp
    deps: Deps
    sign_ins: SignIns
    underway: Underway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_open(scope):
            if self.deps.nodes is not None and not await self.deps.nodes.knows_keys():
                raise HttpError(503, "storage", KEYS_UNKNOWN)
            try:
                self._check(scope)
            except BadKeyError:
                raise HttpError(401, "unauthorized", "A valid key is needed.") from None
            except TooManyAttemptsError:
                raise HttpError(
                    429, "too_many", "Too many wrong keys from this address. Wait a moment."
                ) from None
        device: Device | None = scope.get("builderos.device")
        if device is None:
            await self.app(scope, receive, send)
        else:
            await self._answer(device, scope, receive, send)

    async def _answer(self, device: Device, scope: Scope, receive: Receive, send: Send) -> None:
        with self.underway.of(device.id) as request:
            scope["builderos.spare"] = partial(self.underway.spare, device.id, request)
            await self.app(scope, receive, send)
        if request.cancelled_caught:  # a response that has begun is cut off
            raise HttpError(401, "unauthorized", "A valid key is needed.")

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
        except (BadKeyError, TooManyAttemptsError):
            if not self._is_signed(scope):
                raise
            scope["builderos.device"] = None

    def _check_code(self, scope: Scope, code: str | None) -> None:
        services = self.deps.services
        if code is None or services is None:
            raise BadKeyError
        pairing = services.pairings.find(code, now_ms=self.deps.clock())
        self.sign_ins.judge(scope["client"][0], good=pairing is not None, what="code")
        scope["builderos.pairing"] = pairing

    def _is_signed(self, scope: Scope) -> bool:
        services = self.deps.services
        if services is None or scope["method"] not in ("GET", "HEAD"):
            return False
        path: str = scope["path"]
        query = scope["query_string"].decode("latin-1")
        return path.startswith(UPLOADS_PATH) and services.uploads.links.opens(path, query)


def _is_open(scope: Scope) -> bool:
    reads = scope["method"] in ("GET", "HEAD")
    signed = scope["path"] == ACT_PATH and scope["method"] == "POST"  # its route checks the signature
    return scope["path"] in OPEN_PATHS or signed or (reads and is_web_path(scope["path"]))


COMMON: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
"""Default headers of a response. A browser must not cache private data.

`Strict-Transport-Security` is missing on purpose, even with our own TLS: it applies to all ports of a host's name, and
would lock a browser out of other services of that machine without TLS. This port speaks only TLS anyway.
"""


@attrs.frozen
class AliasedPaths:
    """Replaces session ids of the iOS app's own form in a request's path by their aliases (`storage.aliases`).

    Runs after the check of signed addresses: older addresses contain the ids.
    """

    app: ASGIApp
    aliases: Aliases

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = self.aliases.path(scope["path"])
        await self.app(scope, receive, send)


@attrs.frozen
class SafeHeaders:
    """Adds the missing headers to each response."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                there = {name.lower() for name, _ in headers}
                more = [pair for pair in COMMON if pair[0] not in there]
                message = {**message, "headers": [*headers, *more]}
            await send(message)

        await self.app(scope, receive, completed)


@attrs.frozen
class DrainRequestBody:
    """The outermost layer: once the response begins, the routes stop reading, and this layer reads the rest."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Implements ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_read = False
        async with trio.open_nursery() as nursery:

            async def watched_receive() -> Message:
                nonlocal is_read
                message = await receive()
                is_read = not message.get("more_body", False)
                return message

            async def watched_send(message: Message) -> None:
                if message["type"] == "http.response.start" and not is_read:
                    nursery.start_soon(wait_left, receive)  # it throws away what comes
                await send(message)

            await self.app(scope, watched_receive, watched_send)
            nursery.cancel_scope.cancel(reason="answered")
