"""Two machines in a real browser and in a real terminal: whose session it is, and one that goes away."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import attrs
import trio
from playwright.sync_api import expect

from tests.builderos.tmux import open_tmux
from tests.e2e.shared_server import Shared, hubs_of
from tests.postgres.nodes.pair import Pair, open_pair
from tests.support.server import Server
from tests.web.browser import Site, open_browser

START_S = 90.0

Running = tuple[Pair, trio.lowlevel.TrioToken, trio.Event]


@attrs.frozen
class Beside:
    """Two nodes whose event loop runs in a thread: the browser's driver wants this one."""

    nodes: Pair
    token: trio.lowlevel.TrioToken

    def wait(self, act: Callable[[], Awaitable[object]]) -> None:
        """Do something with a node, and wait for it."""
        trio.from_thread.run(act, trio_token=self.token)


@contextmanager
def pair_beside(url: str) -> Iterator[Beside]:
    """Run two nodes beside this thread."""
    started: SimpleQueue[Running] = SimpleQueue()

    async def main() -> None:
        async with open_pair(url, config="heartbeat_s = 1\n") as nodes:
            end = trio.Event()
            started.put((nodes, trio.lowlevel.current_trio_token(), end))
            await end.wait()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(trio.run, main)
        nodes, token, end = started.get(timeout=START_S)
        try:
            yield Beside(nodes, token)
        finally:
            token.run_sync_soon(end.set)
            running.result(START_S)


def test_browser_shows_chooses_and_waits_for_a_machine(url: str) -> None:
    """A session is made at the other machine; that one is killed; a message waits for it and is answered once."""
    with pair_beside(url) as beside, open_browser() as browser:
        a, b = beside.nodes.a, beside.nodes.b
        (b.data.parent / "home" / "bread").mkdir()
        site = Site(Shared(a.url, a.key, a.data), browser, "block")
        screen = site.signed_in()
        screen.button("New session").click()
        form = screen.dialog("New session")
        form.get_by_label("Machine", exact=True).select_option("b")
        form.get_by_label("Agent", exact=True).select_option("echo")
        form.get_by_text("Folder, model and mode").click()
        screen.button("Browse", form).click()
        folders = screen.dialog("Choose a folder")
        folders.get_by_role("button", name="bread").click()
        expect(folders).to_contain_text("There are no folders in it.")
        screen.button("Use this folder", folders).click()
        screen.button("Create", form).click()
        screen.wait_live()
        screen.ask("hello", "echo: hello")
        subtitle = screen.page.locator(".subtitle")
        expect(subtitle).to_contain_text("echo · b · bread")
        assert len(hubs_of(b.data)) == 1
        assert hubs_of(a.data) == {}

        beside.wait(b.kill9)
        expect(subtitle).to_contain_text("b is away")
        screen.send("are you there")
        expect(screen.questions.last).to_contain_text("waits for b")
        screen.go()
        session = screen.sessions.get_by_role("link").first
        expect(session).to_contain_text("b is away")
        session.click()
        expect(screen.questions.last).to_contain_text("waits for b")

        beside.wait(b.restart)
        expect(screen.answers.last).to_contain_text("echo: are you there")
        expect(subtitle).not_to_contain_text("away")
        assert screen.questions.all_inner_texts()[-1].count("are you there") == 1
        expect(screen.questions).to_have_count(2)
        assert site.close_pages() == []


async def test_terminal_shows_and_waits_for_a_machine(url: str, tmp_path: Path) -> None:
    async with open_pair(url, config="heartbeat_s = 1\n") as nodes, nodes.b.device() as there:
        await there.attach("trip", agent="echo")
        await there.ask("trip", "hello")
        (nodes.b.data.parent / "home" / "bread").mkdir()
        async with open_tmux(nodes.a, tmp_path / "one", "attach", "trip") as window:
            await window.see("● live · echo · b", "echo: hello")
            await window.keys("C-t")
            await window.see("Sessions", "echo · b")
            await window.keys("C-n")
            await window.see("on which machine?")
            await window.type("b")
            await window.see("which agent?")
            await window.type("echo")
            await window.see("In which folder?", "b/home/bread")
            await window.type("bread")
            await window.see("● live · echo · b")
            await window.type("made there")
            await window.see("echo: made there")
            assert len(hubs_of(nodes.b.data)) == 2
            await window.keys("C-t")
            await window.see("Sessions", "echo · b · home", "echo · b · bread")
            await window.type("trip")
            await window.see("echo: hello")
            await nodes.b.kill9()
            await window.see("echo · b is away")
            await window.type("are you there")
            await window.see("waits for b")
            await window.keys("C-t")
            await window.see("Sessions", "echo · b is away")
            await window.type("trip")
            await window.see("waits for b")
            await nodes.b.restart()
            screen = await window.see("echo: are you there")
            assert len(re.findall("▌ are you there", screen)) == 1
            await window.until(lambda screen: "away" not in screen, "the machine's return")
        await said_once(nodes.b, "are you there")


async def said_once(server: Server, text: str) -> None:
    async with server.device() as device:
        await device.attach("trip")
        said = [one["content"] for one in device.events("trip", "user_message")]
        assert said.count(text) == 1
