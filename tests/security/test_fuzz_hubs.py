"""The link between hub and server: garbage in either direction ends that link, and nothing else.

A stranger on the hub's socket gets no prompt in and no event out; a hub that breaks the protocol gives the
server one of three typed errors. What is tried is made by a seed.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from actors.errors import HubError, HubFenced, HubLost, HubProtocolError
from actors.hubs.link import SocketHubLink, open_link
from bridgehub.protocol.codec import encode, encode_reported
from bridgehub.protocol.events import Noticed, PermissionAsked, TextPiece, ToolEnded, TurnDone
from bridgehub.protocol.messages import (
    VERSION,
    Ack,
    Decided,
    Detach,
    Hello,
    InterruptTurn,
    Refused,
    Steer,
    Welcome,
)
from tests.actors.hubs.test_link import open_scripted
from tests.bridgehub.hub_harness import OpenHub, open_hub, prompt, text_of
from tests.security.mutations import spoiled_many

SEED: Final = 20261122
LIMIT_S: Final = 60.0

TO_HUB: Final = [
    encode(prompt("stolen", "hello")),
    encode(Steer("t1", "m2", "more")),
    encode(Decided("r1", "allow", "fine", {"q": ["a"]})),
    encode(InterruptTurn("t1")),
    encode(Ack(1)),
    encode(Detach()),
]
FROM_HUB: Final = [
    encode_reported(1, 1, TextPiece("t1", "text", "b", "word")),
    encode_reported(2, 2, Noticed("t1", "api_retry", "again", 1, 2.5)),
    encode_reported(3, 3, PermissionAsked("t1", "r", "Bash", {"command": "ls"}, ("allow", "deny"), None)),
    encode_reported(4, 4, ToolEnded("t1", "x", "Bash", "out", is_error=False, duration_ms=3, blob=None)),
    encode_reported(5, 5, TurnDone("t1")),
]
WELCOME: Final = encode(Welcome(VERSION, "hub1", 1, None, running=False, waiting=("r1",)))
REFUSED: Final = encode(Refused("fenced", "owner epoch 9"))


async def bring(opened: OpenHub, data: bytes) -> bytes:
    """Say something to the hub's socket and end; return what it said."""
    got = b""
    async with await trio.open_unix_socket(opened.hub.spec.socket) as stream:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(data)
            await stream.send_eof()
            while more := await stream.receive_some(65536):
                got += more
    return got


async def test_strangers_on_the_hubs_socket(tmp_path: Path) -> None:
    others = [encode(Hello(VERSION + 1, "trip", 9, 0)), encode(Hello(VERSION, "other", 9, 0)), *TO_HUB]
    with trio.fail_after(LIMIT_S):
        async with open_hub(tmp_path) as opened:
            reader = await opened.reader()
            assert text_of(await reader.turn("t1", "before")) == "echo: before "
            for _, data in spoiled_many(others, 300, SEED):
                # A line that still is a hello to this hub is its owner's own, from any sender.
                if b'"trip"' in data and b"hello" in data:
                    continue
                said = await bring(opened, data + b"\n")
                assert b"welcome" not in said, data
            assert text_of(await reader.turn("t2", "after")) == "echo: after "
            assert {getattr(item.event, "turn_id", "t1") for item in reader.events} == {"t1", "t2"}
            assert opened.hub.links.owner_epoch == 1


async def test_garbage_of_the_owner_ends_its_link_only(tmp_path: Path) -> None:
    hello = encode(Hello(VERSION, "trip", 1, 0))
    with trio.fail_after(LIMIT_S):
        async with open_hub(tmp_path) as opened:
            await (await opened.reader()).turn("t0", "before")
            for _, data in spoiled_many(TO_HUB, 200, SEED):
                assert b"welcome" in await bring(opened, hello + data + b"\n")
            link = await opened.connect()
            assert await read_turn(link, "last") == "echo: still here "


async def read_turn(link: SocketHubLink, turn_id: str) -> str:
    """Take a turn; what garbage began before it ends first."""
    await link.send(InterruptTurn("stolen"))
    await link.send(prompt(turn_id, "still here"))
    text = ""
    while True:
        for item in await link.receive():
            event = item.event
            if isinstance(event, TextPiece) and event.turn_id == turn_id:
                text += event.text
            if isinstance(event, TurnDone) and event.turn_id == turn_id:
                return text


async def test_garbage_of_a_hub(tmp_path: Path) -> None:
    kinds: set[str] = set()
    with trio.fail_after(LIMIT_S):  # noqa: ASYNC912 - there is something to try
        for number, data in spoiled_many([b"".join(FROM_HUB), *FROM_HUB], 200, SEED):
            folder = tmp_path / str(number)
            folder.mkdir()
            kinds.add(await listen(folder, data))
    assert kinds == {"HubProtocolError", "HubLost"}, kinds


async def listen(folder: Path, data: bytes) -> str:
    """Read what a hub writes to its end; return the name of the error, which is one of the link's own."""
    name = ""
    async with open_scripted(folder, data) as link:
        while not name:
            try:
                for item in await link.receive():
                    assert isinstance(item.seq, int)
            except (HubProtocolError, HubLost) as error:
                name = type(error).__name__
    return name


async def test_a_garbled_welcome(tmp_path: Path) -> None:
    kinds: set[str] = set()
    with trio.fail_after(LIMIT_S):  # noqa: ASYNC912 - there is something to try
        for number, data in spoiled_many([WELCOME, REFUSED], 150, SEED):
            kinds.add(await greet(str(tmp_path / str(number)), data))
    assert (
        {"HubProtocolError", "HubLost"} <= kinds <= {"HubProtocolError", "HubLost", "HubFenced", "welcome"}
    ), kinds
    assert issubclass(HubFenced, HubError)


async def greet(path: str, answer: bytes) -> str:
    """Connect to a hub that answers so; return what came of it."""
    raw = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await raw.bind(path)
    raw.listen(1)

    async def live(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(answer)

    name = "welcome"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, live, [trio.SocketListener(raw)])  # noqa: ASYNC113 - the socket listens already
        try:
            await (await open_link(path, Hello(VERSION, "trip", 1, 0), hub_id="hub1")).aclose()
        except HubError as error:
            name = type(error).__name__
        nursery.cancel_scope.cancel(reason="the test is over")
    return name
