"""`docs/internals/clients.md` shows every frame that the server writes, and the server accepts the frames it describes."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import trio

from actors.events.committed import Event
from tests.golden_frames import BLOCK, PAGE, from_client, from_server, rewrite
from tests.support.server import open_server
from transport.v3.decode import FRAME_TYPES, decode


def shown() -> dict[str, str]:
    blocks = {found["name"]: found["text"] for found in BLOCK.finditer(PAGE.read_text())}
    assert len(blocks) == len(BLOCK.findall(PAGE.read_text())), "a frame is there twice"
    return blocks


def test_the_page_shows_each_frame_as_it_is() -> None:
    blocks = shown()
    made = from_server() | from_client()
    assert {name: json.loads(text) for name, text in blocks.items()} == {
        name: json.loads(text) for name, text in made.items()
    }
    assert rewrite(PAGE.read_text()) == PAGE.read_text(), "python -m tests.golden_frames"


def test_every_kind_of_event_and_of_frame_is_there() -> None:
    kinds = {json.loads(text)["type"] for text in from_server().values()}
    assert {cls.kind for cls in get_args(Event)} <= kinds
    assert set(from_client()) == set(FRAME_TYPES)


def test_the_server_takes_what_the_page_tells_to_send() -> None:
    for name in from_client():
        assert decode(shown()[name]).name == name


def test_every_frame_of_the_server_has_the_three_strings() -> None:
    for name, text in from_server().items():
        body = json.loads(text)
        assert all(type(body[field]) is str for field in ("type", "content", "timestamp")), name


def test_a_changed_page_is_found() -> None:
    page = PAGE.read_text()
    changed = page.replace('"type": "pong"', '"type": "pang"', 1)
    assert changed != page
    assert rewrite(changed) == page


async def test_the_example_loses_nothing_over_a_kill(tmp_path: Path) -> None:
    source = PAGE.read_text().partition("```python\n")[2].partition("```")[0]
    names: dict[str, Callable[..., tuple[str, str]]] = {}
    exec(compile(source, str(PAGE), "exec"), names)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with open_server(tmp_path, arguments=("--port", str(port))) as server:
        chat = partial(names["chat"], f"ws://127.0.0.1:{port}", server.key, "trip", "/words 60 20")
        ended: list[tuple[str, str]] = []

        async def run_chat() -> None:
            ended.append(await trio.to_thread.run_sync(chat))

        with trio.fail_after(40):
            async with trio.open_nursery() as nursery:
                async with server.device() as device:
                    await device.attach("trip", agent="echo")
                    nursery.start_soon(run_chat)
                    await device.wait_for("message")
                await server.kill9()
                await server.restart()
        assert ended == [("complete", "".join(f"w{number} " for number in range(60)))]
