"""Starts what serves channels, once there is one: only then the rest of it is loaded."""

from __future__ import annotations

import logging
from typing import Final

import trio

from actors.crashes import run_guarded
from storage.errors import StorageError
from transport.ports import Deps
from transport.push.notifier import Notifier

__all__ = ["run_notifier"]

RETRY_S: Final = 30.0

logger = logging.getLogger("builderos.transport")


async def run_notifier(notifier: Notifier, deps: Deps) -> None:
    """Wait for a channel that can be served, then serve all, until cancelled. Its crashes stay here."""

    async def serve() -> None:
        await notifier.wait_needed()
        from transport.push.engine import run_engine

        await run_engine(notifier, deps)

    while True:
        died_of = await run_guarded(serve)
        if isinstance(died_of, ExceptionGroup) and died_of.subgroup(StorageError) is not None:
            logger.warning("notifications: the database fails, next try in %.0f s", RETRY_S)
        else:
            logger.error("notifications: stopped, next try in %.0f s", RETRY_S, exc_info=died_of)
        await trio.sleep(RETRY_S)
