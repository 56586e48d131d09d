"""The HTTP client for push services: no redirects, no proxies, a limit on time and on what is read."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import attrs
import httpcore2
import trio

from transport.push.senders.endpoints import Allowed, is_public
from transport.push.senders.sending import ServiceAnswer

__all__ = ["Services", "open_services"]

LIMIT_S: Final = 10.0
READ_BYTES: Final = 4096
"""What is read of an answer; a longer one is cut, and its connection is closed."""

MAX_CONNECTIONS: Final = 16
KEEP_S: Final = 60.0


class _Guarded(httpcore2.AsyncNetworkBackend):
    """Connects only to addresses that were checked."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self._inner = httpcore2.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        address = await self._address(host, port)
        return await self._inner.connect_tcp(
            address, port, timeout=timeout, local_address=local_address, socket_options=socket_options
        )

    async def _address(self, host: str, port: int) -> str:
        try:
            found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore2.ConnectError("its name was not found") from error
        free = self._allowed.may_be_private(host, port)
        good = [str(entry[4][0]) for entry in found if free or is_public(str(entry[4][0]))]
        if not good:
            raise httpcore2.ConnectError("its name leads to an address that is not public")
        return good[0]

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        raise httpcore2.ConnectError("a push service has no such socket")

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


@attrs.frozen
class Services:
    """Sends requests to push services."""

    _pool: httpcore2.AsyncConnectionPool

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> ServiceAnswer:
        """Send one request; return the answer, also if there was none. Raises nothing but Cancelled."""
        sent = [(name.encode(), value.encode()) for name, value in headers.items()]
        sent.append((b"content-length", str(len(body)).encode()))
        try:
            with trio.fail_after(LIMIT_S):
                return await self._ask(method, url, sent, body)
        except httpcore2.ConnectError as error:
            return ServiceAnswer(None, str(error) or "it cannot be reached")
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError):
            return ServiceAnswer(None, "the connection broke", maybe=True)
        except trio.TooSlowError:
            return ServiceAnswer(None, f"no answer within {LIMIT_S:.0f} s", maybe=True)

    async def _ask(
        self, method: str, url: str, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> ServiceAnswer:
        async with self._pool.stream(method, url, headers=headers, content=body) as response:
            text = b""
            async with aclosing(response.aiter_stream()) as chunks:
                async for chunk in chunks:
                    text += chunk
                    if len(text) >= READ_BYTES:
                        break
            told = {name.lower(): value for name, value in response.headers}
            wait = told.get(b"retry-after", b"").decode("latin-1")
            retry_s = int(wait) if wait.isascii() and wait.isdigit() and len(wait) < 6 else None
            return ServiceAnswer(response.status, text[:READ_BYTES].decode("utf-8", "replace"), retry_s)


@asynccontextmanager
async def open_services(allowed: Allowed) -> AsyncIterator[Services]:
    """Open the client while inside the block. The authorities of the machine are trusted, or those that
    `SSL_CERT_FILE` names."""
    context = await trio.to_thread.run_sync(ssl.create_default_context)
    async with httpcore2.AsyncConnectionPool(
        ssl_context=context,
        http2=True,
        max_connections=MAX_CONNECTIONS,
        keepalive_expiry=KEEP_S,
        network_backend=_Guarded(allowed),
    ) as pool:
        yield Services(pool)
