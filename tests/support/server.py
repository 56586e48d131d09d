"""A real server in a process of its own, on a data folder of its own, gone without a trace at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import attrs
import psutil
import trio

from builderos.commands.verify import verify
from storage.postgres.home import HOME_NAME
from tests.support.device import Device, open_device

__all__ = ["ROOT", "Server", "open_server", "processes_of", "runs"]

ROOT = Path(__file__).resolve().parent.parent.parent

START_S = 30.0
"""A start takes half a second; a machine that is busy with other tests takes longer."""

STOP_S = 20.0

GONE_S = 10.0
"""How long processes may take to be gone after the server that stopped them."""


@attrs.define(eq=False)
class Server:
    """One data folder and the server on it, which may be killed and started again.

    Attributes:
        data: the data folder.
        url: where the present server listens; it changes with a restart.
        errors: the file with all that the servers wrote to stderr.
        module: what is run as the server.
        banner: what the present server wrote to stdout so far.
    """

    data: Path
    errors: Path
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    nursery: trio.Nursery
    module: str = "builderos"
    url: str = ""
    banner: str = ""
    _process: trio.Process | None = None

    @property
    def key(self) -> str:
        """The first device's key."""
        return (self.data / "api-key").read_text().strip()

    @property
    def pid(self) -> int:
        """The present server's process id."""
        return self._running.pid

    @property
    def runs(self) -> bool:
        """Whether a server was started and has not ended by `wait`."""
        return self._process is not None

    @property
    def _running(self) -> trio.Process:
        assert self._process is not None, "the server does not run"
        return self._process

    async def start(self, *more: str) -> None:
        """Start a server and wait for its banner. `more`: further options of this start."""
        command = [sys.executable, "-m", self.module, "serve", "--port", "0", "--data", str(self.data)]
        with self.errors.open("ab") as errors:
            self._process = await trio.lowlevel.open_process(
                [*command, *self.arguments, *more],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=dict(self.environment),
                cwd=ROOT,
                start_new_session=True,
            )
        self.banner = ""
        with trio.fail_after(START_S):
            await self.nursery.start(self._read_banner, self._process)

    async def wait(self) -> int:
        """Wait for the server's end; return its exit status."""
        with trio.fail_after(STOP_S):
            status = await self._running.wait()
        self._process = None
        return status

    async def terminate(self) -> int:
        """End the server as a service would: agents in mid-turn continue."""
        self._running.send_signal(signal.SIGTERM)
        return await self.wait()

    async def interrupt(self) -> int:
        """End the server as a person would: every hub of the folder ends too."""
        self._running.send_signal(signal.SIGINT)
        return await self.wait()

    async def kill9(self) -> None:
        """End the server as a crash would."""
        self._running.kill()
        await self.wait()

    async def restart(self) -> None:
        """Start a server again, after `kill9` or `terminate`."""
        await self.start()

    def device(self, **how: bool | str) -> AbstractAsyncContextManager[Device]:
        """Return a device, signed in with the first key: `async with server.device() as device`."""
        return open_device(self.url, self.key, **how)  # type: ignore[arg-type]

    async def aclose(self) -> None:
        """End the server and all its hubs; fail where a process of this folder is left."""
        if self._process is None:
            if not await trio.to_thread.run_sync(processes_of, self.data):
                return
            await self.start()  # only a server stops what an earlier one left
        assert await self.interrupt() == 0, self.errors.read_text()
        left = await trio.to_thread.run_sync(self._wait_gone)
        assert left == [], f"left behind: {left}"

    async def _read_banner(
        self, process: trio.Process, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Read stdout to its end; started once the banner is complete."""
        assert process.stdout is not None
        told = False
        async with process.stdout:
            async for chunk in process.stdout:
                self.banner += chunk.decode()
                if not told and "\n  Sessions " in self.banner:
                    told = True
                    self.url = self.banner.partition("Listening on ")[2].partition("\n")[0]
                    task_status.started()
        if not told:
            raise AssertionError(f"no banner; stderr: {self.errors.read_text()}")

    def _wait_gone(self) -> list[str]:
        """Wait until no process of this data folder is left; return those that stay. Runs on a thread."""
        _, alive = psutil.wait_procs(processes_of(self.data), timeout=GONE_S)
        return [str(process) for process in alive if process.is_running()]


def processes_of(data: Path) -> list[psutil.Process]:
    """Return the processes that have a file below `data` open or were started by a hub of it. Blocks."""
    found = []
    for process in psutil.process_iter():
        try:
            files = [file.path for file in process.open_files()]
            marked = process.environ().get("TEST_DATA_FOLDER") == str(data)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if marked or any(Path(path).is_relative_to(data) for path in files):
            found.append(process)
    return [process for process in found if process.pid != os.getpid()]


def runs(process: psutil.Process, word: str) -> bool:
    """Tell whether a process lives and has a word in its command line. One may end while it is looked at."""
    try:
        words = process.cmdline()
        return process.status() != psutil.STATUS_ZOMBIE and any(word in one for one in words)
    except (psutil.Error, OSError):
        return False


@asynccontextmanager
async def open_server(
    folder: Path,
    *,
    config: str = "",
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    start: bool = True,
    module: str = "builderos",
    verify: bool = True,
) -> AsyncIterator[Server]:
    """Run a server on `folder/data` while inside the block; afterwards no process of it is left, and what it kept is sound.

    Args:
        folder: a temporary folder.
        config: the text of a config file.
        arguments: further options of `serve`.
        environment: further variables; the server starts with few others, and with an empty home.
        start: without it the test starts the server.
        module: a wiring of the test's own instead of `builderos`.
        verify: without it nobody asks whether the database is sound: for tests that damage it.
    """
    home = folder / "home"
    home.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(config)
    data = folder / "data"
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "TEST_DATA_FOLDER": str(data),
        **(environment or {}),
    }
    options = ("--config", str(folder / "config.toml"), "--workspace", str(home), *arguments)
    async with trio.open_nursery() as nursery:
        server = Server(data, folder / "stderr.log", options, variables, nursery, module)
        try:
            if start:
                await server.start()
            yield server
        finally:
            # unbounded only in appearance: each step inside has its own limit
            with trio.CancelScope(shield=True):
                await _close(server)
                if verify:
                    await _verify(server.data)
        nursery.cancel_scope.cancel(reason="the server is gone")


async def _verify(data: Path) -> None:
    lines: list[str] = []
    if (data / "builderos.db").exists() or (data / HOME_NAME).exists():
        assert await verify(data, lines.append) == 0, "".join(lines)
    else:
        await trio.lowlevel.checkpoint()


async def _close(server: Server) -> None:
    try:
        await server.aclose()
    finally:
        for process in await trio.to_thread.run_sync(processes_of, server.data):  # noqa: ASYNC102 - nothing is cancelled here
            process.kill()
