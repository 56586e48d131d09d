"""HTTP on one connection. Hypercorn's per-connection class, which is not documented API, is used only here.

Every response has `Connection: close`. So an Upgrade request never comes second on a kept connection, where Hypercorn
would handle it; a client that sends one anyway sees a clean end.
"""

from __future__ import annotations

import logging
from typing import Final

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from transport.access.signin import SignIns
from transport.config import TransportConfig
from transport.http.app import make_app
from transport.http.services import Port
from transport.http.stream import HttpStream, http_stream
from transport.ports import Deps
from transport.request_head import RequestHead, find_end, without_upgrade
from transport.streams import Transport

__all__ = ["HttpServer"]

AFTER_CLOSE_S: Final = 5.0
"""How long a route may still run after its connection was closed."""


class HttpServer:
    """Serves HTTP requests, one a connection."""

    def __init__(self, config: TransportConfig, deps: Deps, port: Port, sign_ins: SignIns) -> None:
        self._write_s = config.write_s
        self._app = ASGIWrapper(make_app(config, deps, port, sign_ins))  # type: ignore[arg-type]
        self._context = WorkerContext(None)
        self._config = _hypercorn_config(config)

    async def serve(self, stream: Transport, head: RequestHead, data: bytes) -> None:
        """Answer the request that begins with `data`; return once its connection can be closed."""
        end = find_end(data) or len(data)
        start = without_upgrade(data[:end])
        left = None if head.body_bytes is None else len(start) + head.body_bytes
        http = http_stream(stream, start + data[end:], left, self._write_s)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_limit, http, nursery.cancel_scope)
            server = TCPServer(self._app, self._config, self._context, {}, http)  # type: ignore[arg-type]
            await server.run()
            nursery.cancel_scope.cancel(reason="answered")

    async def stop(self) -> None:
        """End idle connections."""
        await self._context.terminated.set()


async def _limit(http: HttpStream, scope: trio.CancelScope) -> None:
    """Cancel a request that still runs after its connection closed.

    Hypercorn itself would wait forever if a second request followed the first directly.
    """
    await http.finished.wait()
    scope.deadline = trio.current_time() + AFTER_CLOSE_S


def _hypercorn_config(config: TransportConfig) -> Config:
    made = Config()
    made.keep_alive_max_requests = 1
    made.h11_max_incomplete_size = 2 * config.head_bytes
    made.include_server_header = False
    made.read_timeout = config.body_s  # type: ignore[assignment]  # it is handed on to Trio as it is
    made.accesslog = None
    made.errorlog = logging.getLogger("builderos.transport.http")
    return made
