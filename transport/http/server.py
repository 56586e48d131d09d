"""HTTP on one connection. Hypercorn's per-connection class, which is not documented API, is used only here.

Every response has `Connection: close`. So an Upgrade request never comes second on a kept connection, where Hypercorn
would handle it; a client that sends one anyway sees a clean end.

Hypercorn, Starlette and the routes are loaded with the first request. They are a fifth of a start and of an idle
server's memory, and a device that only speaks over its WebSocket needs none of them.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs
import trio

from transport.access.signin import SignIns
from transport.config import TransportConfig
from transport.http.services import Port
from transport.http.stream import HttpStream, http_stream
from transport.ports import Deps
from transport.request_head import RequestHead, find_end, without_upgrade
from transport.streams import Transport

if TYPE_CHECKING:
    from hypercorn.config import Config

__all__ = ["HttpServer"]

AFTER_CLOSE_S: Final = 5.0
"""How long a route may still run after its connection was closed."""


class HttpServer:
    """Serves HTTP requests, one a connection."""

    def __init__(self, config: TransportConfig, deps: Deps, port: Port, sign_ins: SignIns) -> None:
        self._write_s = config.write_s
        self._load = partial(_load, config, deps, port, sign_ins)
        self._loading = trio.Lock()
        # A node's routes also answer the other machines, which do not come over HTTP.
        self._loaded = None if deps.nodes is None else self._load()

    async def serve(self, stream: Transport, head: RequestHead, data: bytes) -> None:
        """Answer the request that begins with `data`; return once its connection can be closed."""
        loaded = self._loaded or await self._load_once()
        end = find_end(data) or len(data)
        start = without_upgrade(data[:end])
        left = None if head.body_bytes is None else len(start) + head.body_bytes
        http = http_stream(stream, start + data[end:], left, self._write_s)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_limit, http, nursery.cancel_scope)
            await loaded.answer(http)
            nursery.cancel_scope.cancel(reason="answered")

    async def _load_once(self) -> _Loaded:
        """Load what answers requests, on a thread; a second request waits for the same."""
        async with self._loading:
            if self._loaded is None:
                self._loaded = await trio.to_thread.run_sync(self._load)
        return self._loaded

    async def stop(self) -> None:
        """End idle connections."""
        await trio.lowlevel.checkpoint()
        if self._loaded is not None:
            await self._loaded.stop()


@attrs.frozen
class _Loaded:
    """What answers requests.

    Attributes:
        answer: answers the request on a stream, to its end.
        stop: ends idle connections.
    """

    answer: Callable[[HttpStream], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]


def _load(config: TransportConfig, deps: Deps, port: Port, sign_ins: SignIns) -> _Loaded:
    """Load the modules that answer requests, and make the application. Blocks for a fifth of a second."""
    from hypercorn.app_wrappers import ASGIWrapper
    from hypercorn.config import Config
    from hypercorn.trio.tcp_server import TCPServer
    from hypercorn.trio.worker_context import WorkerContext

    from transport.http.app import make_app

    app = ASGIWrapper(make_app(config, deps, port, sign_ins))  # type: ignore[arg-type]
    context, settings = WorkerContext(None), _settings(Config(), config)

    async def answer(http: HttpStream) -> None:
        server = TCPServer(app, settings, context, {}, http)  # type: ignore[arg-type]
        await server.run()

    # The server leaves what stays out of Python's search for cycles; this stays too.
    if gc.get_freeze_count():
        gc.collect()
        gc.freeze()
    return _Loaded(answer, context.terminated.set)


async def _limit(http: HttpStream, scope: trio.CancelScope) -> None:
    """Cancel a request that still runs after its connection closed.

    Hypercorn itself would wait forever if a second request followed the first directly.
    """
    await http.finished.wait()
    scope.deadline = trio.current_time() + AFTER_CLOSE_S


def _settings(made: Config, config: TransportConfig) -> Config:
    """Set what differs from Hypercorn's own."""
    made.keep_alive_max_requests = 1
    made.h11_max_incomplete_size = 2 * config.head_bytes
    made.include_server_header = False
    made.read_timeout = config.body_s  # type: ignore[assignment]  # it is handed on to Trio as it is
    made.accesslog = None
    made.errorlog = logging.getLogger("builderos.transport.http")
    return made
