"""Two real servers that share a real PostgreSQL."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import trio

from tests.e2e.shared_server import open_http
from tests.support.server import Server, open_server

__all__ = ["KEY", "Pair", "node_arguments", "open_pair", "short_folder"]

KEY = "k" * 64
"""The first device's key, at both nodes."""


@attrs.frozen
class Pair:
    """Two nodes."""

    a: Server
    b: Server


@contextmanager
def short_folder() -> Iterator[Path]:
    """Make a folder with a short path, for servers' sockets."""
    folder = Path(tempfile.mkdtemp(prefix="bos-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def node_arguments(url: str, name: str) -> tuple[str, ...]:
    """Return the options of a node."""
    return ("--database", url, "--node", name)


@asynccontextmanager
async def open_pair(
    url: str,
    *,
    config: str = "",
    config_of_b: str | None = None,
    url_of_b: str | None = None,
    folder: Path | None = None,
    arguments: tuple[str, ...] = (),
) -> AsyncIterator[Pair]:
    """Run nodes `a` and `b`, which know each other, while inside the block; afterwards nothing of them is left, and what
    they kept is sound.

    Args:
        config: of both nodes, or of `a` if `b` has its own.
        url_of_b: another way to the same database.
        folder: one with a short path, for both; by default a temporary one. Their homes may be in it.
        arguments: further options of both.
    """
    async with AsyncExitStack() as stack:
        folder = folder or stack.enter_context(short_folder())
        servers: list[Server] = []
        other = config if config_of_b is None else config_of_b
        for name, way, text in (("a", url, config), ("b", url_of_b or url, other)):
            place = folder / name
            place.mkdir(exist_ok=True)
            opened = open_server(
                place,
                config=text,
                arguments=(*node_arguments(way, name), *arguments),
                environment={"BUILDEROS_API_KEY": KEY},
                start=False,
            )
            servers.append(await stack.enter_async_context(opened))
        async with trio.open_nursery() as nursery:
            for server in servers:
                nursery.start_soon(server.start)
        for server in servers:
            await _wait_for_two(server)
        yield Pair(*servers)


async def _wait_for_two(server: Server) -> None:
    """Wait until a node knows of both."""
    async with open_http(server) as http:
        with trio.fail_after(10):
            while {one["state"] for one in (await http.get("/api/nodes")).json()["nodes"]} != {
                "here",
                "there",
            }:
                pass
