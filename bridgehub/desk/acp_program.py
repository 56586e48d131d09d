"""The process that asks an agent of the ACP for the conversations that it keeps: `python -m bridgehub.desk.acp_program`.

A process of its own, so that nothing that an agent sends can hold up or fill the server. Two lines come on stdin: the
agent's spec, and the conversation to read, `null` for the list of all. One JSON object goes to stdout. It ends
with its answer, with its stdin, or with SIGTERM; the agent ends with it.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from typing import Any

import attrs
import orjson
import trio

from bridgehub.agents.acp.desk import DeskConversation, DeskReplay, open_desk
from bridgehub.agents.errors import ProgramError
from bridgehub.desk.records import Began, DeskEvent, Ended, Said, ToolCalled, ToolReturned
from bridgehub.desk.turns import read_time
from bridgehub.protocol.codec import decode_spec
from bridgehub.protocol.errors import unwrap
from bridgehub.protocol.events import TextPiece, ToolBegan, ToolEnded
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.trust.gate import may_load

__all__ = ["events_of", "main"]


async def answer(spec: HubSpec, wanted: DeskConversation | None) -> dict[str, Any]:
    """Return the list of an agent's conversations, or the wanted one whole.

    Raises:
        ProgramError, TooSlowError: the agent cannot be used.
    """
    if wanted is None:
        async with open_desk(spec, spec.hub_id) as desk:
            listed = await desk.conversations() if desk.can_continue else ()
        return {"sessions": [attrs.asdict(one) for one in listed]}
    spec = attrs.evolve(spec, workspace=wanted.workspace)
    if not await trio.to_thread.run_sync(may_load, spec):  # the agent would load what nobody has trusted
        return {"events": [], "is_cut": True}
    async with open_desk(spec, spec.hub_id) as desk:
        replay = await desk.turns(wanted)
    events = [] if replay is None else list(events_of(wanted, replay))
    told = [[type(one).__name__, attrs.asdict(one)] for one in events]
    return {"events": told, "is_cut": replay is None or replay.is_cut}


def events_of(found: DeskConversation, replay: DeskReplay) -> Iterator[DeskEvent]:
    """Return a conversation as the desk's events. The protocol has no times: each has the time of the last activity."""
    at_ms = read_time(found.last_activity)
    for number, turn in enumerate(replay.turns, 1):
        yield Began(f"{number}-{found.native_id}", at_ms, turn.said or None)
        for event in turn.events:
            match event:
                case TextPiece():
                    yield Said(at_ms, event.block, event.text, event.channel == "thinking")
                case ToolBegan():
                    yield ToolCalled(at_ms, event.tool_id, event.name, event.input)
                case ToolEnded():
                    yield ToolReturned(at_ms, event.tool_id, event.output, event.is_error)
        yield Ended(at_ms)


async def _run(spec: HubSpec, wanted: DeskConversation | None) -> None:
    told: dict[str, Any] = {"error": "it was stopped"}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_at_the_end, nursery.cancel_scope)
        try:
            told = await answer(spec, wanted)
        except* ProgramError as group:
            told = {"error": type(unwrap(group)).__name__}  # its text may hold the program's last words
        except* trio.TooSlowError:
            told = {"error": "it took too long"}
        nursery.cancel_scope.cancel(reason="it is answered")
    sys.stdout.buffer.write(orjson.dumps(told))
    sys.stdout.buffer.flush()


async def _cancel_at_the_end(scope: trio.CancelScope) -> None:
    """Cancel when the server has gone or asks for it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_wait_for_signal, nursery.cancel_scope)
        async with trio.lowlevel.FdStream(0) as stdin:
            await stdin.receive_some(1)
        nursery.cancel_scope.cancel(reason="the server has gone")
    scope.cancel(reason="nobody waits for the answer")


async def _wait_for_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel(reason="told to end")
            return


def main() -> None:
    """Answer what stdin asks."""
    spec = decode_spec(sys.stdin.buffer.readline())
    wanted = orjson.loads(sys.stdin.buffer.readline())
    trio.run(_run, spec, None if wanted is None else DeskConversation(**wanted))


if __name__ == "__main__":
    main()
