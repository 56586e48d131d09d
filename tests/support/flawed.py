"""`builderos` with flaws that a test turns on and off by files: `python -m tests.support.flawed serve …`.

The folder `FLAWS` (a variable of the environment) says what is wrong now: `disk` holds the word of a fault that
every write of the database meets; `unlocked` at the start: the data folder's lock is none; `newer` at the start: the
program knows one more migration; `accept`: the listener breaks with the next connection; `writer`: the writer's
thread dies with the next commit; `defect`: a message that reads `a defect` crashes its session's actor.
"""

from __future__ import annotations

import fcntl
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import attrs
import trio

from actors.config import ActorConfig
from actors.session import actor
from actors.session.steps.decide import decide
from builderos.cli import main
from builderos.server import sessions
from storage import schema, store
from storage.sqlite.writer import Writer

__all__ = ["REVIVE_S", "Flaws"]

REVIVE_S = 1.0
"""What a failed session waits for here, instead of 60 s."""

BASE = apsw.vfs_names()[0]
"""The system's own, which the flawed one stands in front of."""

DISK_FAULTS: dict[str, type[apsw.Error]] = {
    "full": apsw.FullError,
    "read-only": apsw.ReadOnlyError,
    "broken": apsw.IOError,
}


@attrs.frozen
class Flaws:
    """The folder, as the test and the program see it."""

    folder: Path

    def turn_on(self, name: str, word: str = "on") -> None:
        """Have this go wrong from now on."""
        passing = self.folder / f"{name}.new"
        passing.write_text(word)
        passing.replace(self.folder / name)

    def turn_off(self, name: str) -> None:
        """Have it go well again."""
        (self.folder / name).unlink(missing_ok=True)

    def word(self, name: str) -> str:
        """Return what is wrong, empty if nothing is."""
        try:
            return (self.folder / name).read_text()
        except FileNotFoundError:
            return ""


class _File(apsw.VFSFile):
    def __init__(self, flaws: Flaws, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__(BASE, name, flags)
        self._flaws = flaws

    def xWrite(self, data: bytes, offset: int) -> None:
        self._check()
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self._check()
        super().xSync(flags)

    def _check(self) -> None:
        fault = DISK_FAULTS.get(self._flaws.word("disk"))
        if fault is not None:
            raise fault


class _Vfs(apsw.VFS):
    def __init__(self, flaws: Flaws) -> None:
        super().__init__("flawed", BASE, makedefault=True)
        self._flaws = flaws

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return _File(self._flaws, name, flags)


def _spoil(flaws: Flaws) -> None:
    """Put the flaws into the program's parts."""
    commit, accept = Writer._commit, trio.SocketListener.accept

    def flawed_commit(self: Writer, batch: Any) -> None:
        if flaws.word("writer"):
            raise RuntimeError("a flaw of the writer")
        commit(self, batch)

    async def flawed_accept(self: trio.SocketListener) -> trio.SocketStream:
        stream = await accept(self)
        if flaws.word("accept"):
            raise RuntimeError("a flaw of the listener")
        return stream

    def flawed_decide(step: Any, given: Any) -> None:
        command = getattr(getattr(given, "envelope", None), "command", None)
        if getattr(command, "content", "") == "a defect" and flaws.word("defect"):
            raise RuntimeError("a flaw of the actor")
        decide(step, given)

    flawed: list[tuple[object, str, object]] = [
        (Writer, "_commit", flawed_commit),
        (trio.SocketListener, "accept", flawed_accept),
        (actor, "decide", flawed_decide),
        (sessions, "ActorConfig", partial(ActorConfig, revive_after_s=REVIVE_S)),
    ]
    if flaws.word("unlocked"):
        flawed.append((fcntl, "flock", lambda *_: None))
    for owner, name, flaw in flawed:
        setattr(owner, name, flaw)
    if flaws.word("newer"):
        longer = (*schema.MIGRATIONS, "CREATE TABLE later (a TEXT) STRICT")
        vars(store.open_store)["__wrapped__"].__kwdefaults__["migrations"] = longer


if __name__ == "__main__":
    found = Flaws(Path(os.environ["FLAWS"]))
    vfs = _Vfs(found)
    _spoil(found)
    sys.exit(main())
