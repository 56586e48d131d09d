"""The two chains as processes: the yardstick, and our server."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import psutil

from bench.errors import BenchError
from bench.processes import Child, open_child

__all__ = ["BareChain", "Server", "open_bare_chain", "open_server"]

SERVER_WORDS = ("-c", "import sys; from builderos.cli import main; sys.exit(main())")
"""Started so rather than by the installed command: a checkout without an installation can be measured too."""

_BANNER = "Listening on http://"
_BANNER_LINES = 50
"""A banner is a few lines; what prints more than this is not a server."""

_HUB_NAME = "builderos-hub"
_HUB_PROGRAM = "bridgehub.__main__"
_FORK_SERVER_PROGRAM = "bridgehub.fork_server"


@attrs.frozen
class BareChain:
    """A yardstick that runs: devices connect to `port`, the producer to `socket`."""

    port: int
    socket: Path
    pid: int


@asynccontextmanager
async def open_bare_chain(folder: Path, *, join: bool = False) -> AsyncIterator[BareChain]:
    """Run a yardstick with its files in `folder`, which must not hold another one's.

    Raises:
        BenchError: it did not start.
    """
    socket = folder / "line.sock"
    words = ["-m", "bench.bare_chain", str(socket), str(folder / "bare.db"), *(["--join"] if join else [])]
    async with open_child("the yardstick", words, folder) as child:
        word, _, port = (await child.line()).partition(" ")
        if word != "port":
            raise BenchError("the yardstick did not tell its port")
        yield BareChain(int(port), socket, child.pid)


@attrs.frozen
class Server:
    """A server of ours that runs. `boot_s`: from its start to the banner's address."""

    port: int
    key: str = attrs.field(repr=False)
    pid: int
    boot_s: float

    @property
    def url(self) -> str:
        """Where devices connect."""
        return f"ws://127.0.0.1:{self.port}/api/ws"

    def hubs(self) -> list[int]:
        """Return the pids of its hubs."""
        return [process.pid for process in _descendants(self.pid) if _is_hub(process)]

    def fork_server(self) -> int | None:
        """Return the pid of the process that its hubs are forked from, None if there is none."""
        found = _descendants(self.pid)
        return next((one.pid for one in found if _runs(one, _FORK_SERVER_PROGRAM) and not _is_hub(one)), None)


@asynccontextmanager
async def open_server(
    data: Path,
    folder: Path,
    words: Sequence[str] = SERVER_WORDS,
    *,
    env: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
) -> AsyncIterator[Server]:
    """Run `builderos serve` on the data folder `data`; at the end of the block it is stopped, hubs too.

    Args:
        folder: where its stderr and its workspace lie.
        words: how Python starts it.
        env: its whole environment, and that of its agents; None is this process's own.
        arguments: more options of `serve`.

    Raises:
        BenchError: it did not start.
    """
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    options = ["serve", "--port", "0", "--data", str(data), "--workspace", str(workspace), *arguments]
    began = time.monotonic()
    # SIGINT, not SIGTERM: it ends the hubs too.
    async with open_child("the server", [*words, *options], folder, stop=signal.SIGINT, env=env) as child:
        port = await _listening_port(child)
        boot_s = time.monotonic() - began
        key = (data / "api-key").read_text().strip()
        server = Server(port, key, child.pid, boot_s)
        try:
            yield server
        finally:
            left = [process for process in _descendants(child.pid) if _is_hub(process)]
    for process in left:
        with suppress(psutil.Error):  # psutil checks that the id is still the same process's
            process.kill()


async def _listening_port(child: Child) -> int:
    for _ in range(_BANNER_LINES):
        line = await child.line()
        _, found, address = line.partition(_BANNER)
        if found:
            return int(address.split()[0].rstrip("/").rpartition(":")[2])
    raise BenchError("the server's banner told no address")


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []
    return found


def _is_hub(process: psutil.Process) -> bool:
    try:
        return process.name() == _HUB_NAME or _runs(process, _HUB_PROGRAM)
    except psutil.Error:
        return False


def _runs(process: psutil.Process, program: str) -> bool:
    try:
        return any(program in word for word in process.cmdline())
    except psutil.Error:
        return False
