"""What the fuzz tests of the port share: bytes in and out, and the proof that nobody else was hurt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from tests.security.guarded_server import KEYS, Guarded

__all__ = ["AT_ONCE", "LIMIT_S", "SEED", "exchange", "unhurt"]

SEED: Final = 20261122
LIMIT_S: Final = 60.0
AT_ONCE: Final = 16
"""Connections of a fuzz."""


async def exchange(guarded: Guarded, data: bytes, *, pieces: bool = False) -> bytes:
    """Send bytes and the end of ours; return all that comes back until the server ends it, too."""
    stream = await guarded.connect()
    async with stream:
        got = b""
        with suppress(trio.BrokenResourceError):
            for part in [data[n : n + 1] for n in range(len(data))] if pieces else [data]:
                await stream.send_all(part)
            await stream.send_eof()
        with suppress(trio.BrokenResourceError):
            while more := await stream.receive_some(65536):
                got += more
        return got


@asynccontextmanager
async def unhurt(guarded: Guarded, sid: str, *may_change: str) -> AsyncIterator[None]:
    """Hold, around a fuzz, that nothing changed and that somebody else's session continues as if nothing was."""
    with trio.fail_after(LIMIT_S):
        async with guarded.device(KEYS["admin"]) as other:
            await other.attach(sid, agent="echo")
            await other.ask(sid, "before")
            before = await trio.to_thread.run_sync(guarded.state)
            yield
            after = await trio.to_thread.run_sync(guarded.state)
            for name, kept in before.items():
                assert name in may_change or after[name] == kept, f"{name} changed"
            end = await other.ask(sid, "/words 50")
            assert other.text(sid, end["turn_id"]) == "".join(f"w{n} " for n in range(50))
    assert "Traceback" not in guarded.words()
