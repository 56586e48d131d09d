"""The server's end of the fork server, from which hubs are forked. Blocking: called on a thread."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import orjson

import bridgehub.protocol
from actors.errors import HubStartFailed
from bridgehub.protocol.codec import encode
from bridgehub.protocol.hub_spec import HubSpec

__all__ = ["ForkServer"]

ANSWER_S = 8.0
"""How long an answer may take: the fork server gives a hub 5 s, and its own import takes up to 1 s."""

BUSY_S = 60.0
"""The same while it imports what later hubs need. That takes 0.6 s of a processor, and many times that of a busy one."""

END_S = 2.0
"""How long it has to end by itself once its stdin is closed."""

_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")
"""What a bare Python needs of the server's environment; nothing of it reaches a forked hub's."""

_ROOT = Path(bridgehub.protocol.__file__).resolve().parent.parent.parent


class _ForkServerGone(Exception):
    """The fork server is dead. `received`: whether it may have had the spec."""

    def __init__(self, received: bool) -> None:
        super().__init__("the fork server died")
        self.received = received


@attrs.define(eq=False)
class ForkServer:
    """Starts with the first hub, and again when it died. Not safe for two threads at once.

    Attributes:
        log: the file of its warnings and errors.
        by_exec: hubs are programs of their own instead of forks (macOS).
    """

    log: Path
    by_exec: bool
    _process: subprocess.Popen[bytes] | None = None
    _heard: bytes = b""
    """What it said and nobody has read."""

    @property
    def pid(self) -> int | None:
        """Its process id; None while there is none."""
        return self._process.pid if self._process is not None else None

    def start_hub(self, spec: HubSpec) -> int:
        """Start a hub and return its pid once its socket takes connections.

        Raises:
            HubStartFailed: there is none. If the fork server died in the middle of it a process may be left:
                the caller kills the tree by its id.
        """
        for last_try in (False, True):
            process = self._living()
            try:
                return _answered(self._exchange(process, encode(spec)))
            except _ForkServerGone as gone:
                self.close()
                if gone.received or last_try:
                    raise HubStartFailed(str(gone)) from None
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Let it end; hubs keep running. Idempotent."""
        process, self._process = self._process, None
        self._heard = b""
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def _living(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            try:
                self._process = self._launch()
            except OSError as exc:
                raise HubStartFailed(f"no fork server: {exc.strerror}") from exc
        return self._process

    def _launch(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "bridgehub.fork_server"]
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            return subprocess.Popen(
                [*command, "--exec"] if self.by_exec else command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=_ROOT,
                env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                start_new_session=True,
            )
        finally:
            os.close(log)

    def _exchange(self, process: subprocess.Popen[bytes], line: bytes) -> bytes:
        assert process.stdin is not None
        assert process.stdout is not None
        deadline = time.monotonic() + ANSWER_S
        view = memoryview(line)
        try:
            while view:
                view = view[process.stdin.write(view) :]
        except BrokenPipeError:
            raise _ForkServerGone(received=False) from None
        while True:
            said, end, left = self._heard.partition(b"\n")
            if end:
                self._heard = left
                busy = orjson.loads(said).get("busy")
                if busy is None:
                    return said
                deadline = time.monotonic() + (BUSY_S if busy else ANSWER_S)
                continue
            readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(process.stdout.fileno(), 65536) if readable else b""
            if not data:
                raise _ForkServerGone(received=True)
            self._heard += data


def _answered(line: bytes) -> int:
    raw: Any = orjson.loads(line)
    if type(raw.get("pid")) is int:
        return int(raw["pid"])
    raise HubStartFailed(f"the hub did not start: {raw.get('error')}")
