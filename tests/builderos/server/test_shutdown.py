"""Signals end a server in order, and a second one at once."""

from __future__ import annotations

import signal

import trio

from builderos.server.server import SHUTDOWN_S, Shutdown


async def test_the_first_signal_asks_and_the_second_ends() -> None:
    shutdown = Shutdown()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(shutdown.run, nursery.cancel_scope)
            signal.raise_signal(signal.SIGTERM)
            await shutdown.asked.wait()
            assert not shutdown.stop_hubs
            assert nursery.cancel_scope.deadline <= trio.current_time() + SHUTDOWN_S
            ended_by_the_first = nursery.cancel_scope.cancel_called
            signal.raise_signal(signal.SIGINT)
            await trio.Event().wait()
    assert (ended_by_the_first, nursery.cancel_scope.cancel_called) == (False, True)


async def test_an_interrupt_stops_the_hubs_too() -> None:
    shutdown = Shutdown()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(shutdown.run, nursery.cancel_scope)
            signal.raise_signal(signal.SIGINT)
            await shutdown.asked.wait()
            assert shutdown.stop_hubs
            nursery.cancel_scope.cancel(reason="seen")
