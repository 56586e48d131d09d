"""The small process that hubs are forked from: single-threaded, with what an echo hub needs imported.

`python -m bridgehub.fork_server [--exec]` reads specs, one line each, and answers each with one line: the pid of a
hub whose socket takes connections, or an error and no process. It ends when its stdin closes, which is when
the server is gone; its hubs keep running. With `--exec` (macOS, where a fork without exec is not safe) each hub is a
program of its own.

Once it has forked a hub of some kind of agent and has nothing to do, it imports what that agent needs, so that the next
hub of the kind has it at once and shares its pages. It says when it begins with that and when it is done: on a loaded
machine an import takes long, and the server must not take it for dead. If no hub has lived for a while, it begins again
as a fresh process under the same id.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

import attrs

import bridgehub.agents.echo
from bridgehub.agents.registry import preload
from bridgehub.process import encode_answer, live_as_hub
from bridgehub.protocol.codec import LineBuffer, converter, decode_spec, encode
from bridgehub.protocol.errors import LinkError
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.process_tree import MARKER

__all__ = ["main"]

READY_S = 5.0
"""How long a hub may take until its socket takes connections."""

PRELOAD_AFTER_S = 1.5
"""How long nobody wants a hub until modules are imported: the agent that was just started needs the processor first."""

FORGET_AFTER_S = 600.0
"""How long no hub lives until imported modules are given up."""

BUSY, FREE = b'{"busy":true}\n', b'{"busy":false}\n'
"""What it says, beside its answers."""

_ANSWER_BYTES = 4096

_PRELOADED = (bridgehub.agents.echo,)
"""Imported here so that hubs share it."""

_ROOT = str(Path(__file__).resolve().parent.parent)

_hubs: set[int] = set()
"""Pids of living hubs, of this process's whole life: a signal handler can be given nothing."""

_Started = tuple[int, int]
"""Pid of a process that becomes a hub, and the descriptor on which it will answer."""


def main(arguments: list[str]) -> int:
    """Serve specs until stdin closes."""
    start = _exec_hub if "--exec" in arguments else _fork_hub
    sys.path[0] = _ROOT  # drivers are imported later, in hubs, whose working folder is the same
    os.chdir("/")
    signal.signal(signal.SIGCHLD, _reap)
    converter()  # hubs share it
    gc.collect()
    gc.freeze()  # a hub's collector then leaves the shared pages alone
    lines, modules = LineBuffer(), _Modules()
    while data := _read(lines, modules):
        for line in lines.feed(data):
            os.write(1, _serve(line, start, modules))
            _reap(0, None)  # for one that died before it was in the set
    return 0


@attrs.define(eq=False)
class _Modules:
    """What hubs were seen to need: the kinds whose modules are to be imported, and those whose modules are."""

    wanted: list[str] = attrs.field(factory=list)
    loaded: set[str] = attrs.field(factory=set)

    def note(self, kind: str) -> None:
        if kind not in self.loaded and kind not in self.wanted:
            self.wanted.append(kind)

    def load_next(self) -> None:
        kind = self.wanted.pop()
        self.loaded.add(kind)
        try:
            preload(kind)
        except Exception:
            traceback.print_exc()  # the hub reports it to a person, and works or not as before
        gc.collect()
        gc.freeze()


def _read(lines: LineBuffer, modules: _Modules) -> bytes:
    """Return what the server wrote, b"" at its end. Until then use the time."""
    while True:
        limit_s = PRELOAD_AFTER_S if modules.wanted else FORGET_AFTER_S
        if select.select([0], [], [], limit_s)[0]:
            return os.read(0, 65536)
        if modules.wanted:
            os.write(1, BUSY)
            modules.load_next()
            os.write(1, FREE)
        elif modules.loaded and not _hubs and not lines.pending:
            os.chdir(_ROOT)
            os.execv(sys.executable, sys.orig_argv)


def _serve(line: bytes, start: Callable[[HubSpec], _Started], modules: _Modules) -> bytes:
    try:
        spec = decode_spec(line)
    except LinkError as exc:
        return encode_answer("", None, str(exc))
    try:
        pid, answers = start(spec)
    except OSError as exc:
        return encode_answer(spec.hub_id, None, exc.strerror)
    try:
        answer = _await_answer(answers)
    finally:
        os.close(answers)
    if answer is None:
        return _give_up(spec, pid)
    _hubs.add(pid)
    if start is _fork_hub:
        modules.note(spec.kind)
    return answer


def _fork_hub(spec: HubSpec) -> _Started:
    answers, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        _live(spec, ready)
    os.close(ready)
    return pid, answers


def _live(spec: HubSpec, ready: int) -> NoReturn:
    """Be the hub in a forked process, and never return into the fork server's code."""
    status = 1
    try:
        status = live_as_hub(spec, ready)
    except Exception:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stderr.flush()
        os._exit(status)


def _exec_hub(spec: HubSpec) -> _Started:
    # Isolated (-I): the agent's environment may hold PYTHON* variables that are not meant for the hub.
    boot = f"import sys; sys.path.insert(0, {_ROOT!r}); from bridgehub.__main__ import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", boot],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**spec.env, MARKER: spec.hub_id},
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # it died: there will be no answer either
        process.stdin.write(encode(spec))
        process.stdin.close()
    answers = os.dup(process.stdout.fileno())
    process.stdout.close()
    process.returncode = 0  # `_reap` waits for it, not this object
    return process.pid, answers


def _await_answer(answers: int) -> bytes | None:
    """Return the hub's line; None if it died or took too long."""
    held = b""
    deadline = time.monotonic() + READY_S
    while not held.endswith(b"\n"):
        readable, _, _ = select.select([answers], [], [], max(0.0, deadline - time.monotonic()))
        data = os.read(answers, _ANSWER_BYTES) if readable else b""
        if not data:
            return None
        held += data
    return held


def _give_up(spec: HubSpec, pid: int) -> bytes:
    # `_reap` leaves this pid alone until it answered, so it is nobody else's.
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return encode_answer(spec.hub_id, None, "the hub died while it started, or took too long")


def _reap(number: int, frame: FrameType | None) -> None:
    """Reap hubs that died; in the middle of a start others than that one.

    As a signal handler it may run inside itself, and then finds hubs reaped that it has still on its list.
    """
    for pid in tuple(_hubs):
        with suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0]:
                _hubs.discard(pid)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
