"""Rendering happens in a process of its own, which no text can keep for long and no end of ours leaves behind."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest
import trio
import trio.testing

from transport.rendering.renderer import MAX_SOURCE_CHARS, Renderer, RenderLimits

LIMIT_S = 60.0

ENDLESS = "![" * 130_000
"""Takes the parser far longer than any limit here."""


@asynccontextmanager
async def open_renderer(limits: RenderLimits | None = None) -> AsyncIterator[Renderer]:
    before = set(children())
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            renderer = Renderer(limits)
            nursery.start_soon(renderer.run)
            yield renderer
            nursery.cancel_scope.cancel()
    assert set(children()) == before


def children() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children():
        try:
            if "transport.rendering.worker" in process.cmdline():
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


async def test_renders_one_after_another() -> None:
    async with open_renderer() as renderer:
        assert children() == [], "nobody has asked"
        assert await renderer.render([("", "**a**")]) == "<p><strong>a</strong></p>\n"
        (first,) = children()
        assert await renderer.render([("b", "c")]) == '<div data-block="b"><p>c</p>\n</div>'
        assert await renderer.render([]) == ""
        assert await renderer.render([("", "\ud7ff \U0001f600 ü")]) == "<p>\ud7ff \U0001f600 ü</p>\n"
        assert children() == [first]


async def test_many_at_once_get_each_their_own() -> None:
    async with open_renderer() as renderer:
        got: dict[int, str | None] = {}

        async def ask(number: int) -> None:
            got[number] = await renderer.render([("", f"n{number}")])

        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(ask, number)
        assert got == {number: f"<p>n{number}</p>\n" for number in range(200)}


async def test_a_slow_text_has_no_rendering_and_the_next_one_has() -> None:
    async with open_renderer(RenderLimits(cpu_s=0.2)) as renderer:
        assert await renderer.render([("", ENDLESS)]) is None
        assert await renderer.render([("", "next")]) == "<p>next</p>\n"
        (process,) = children()
        assert await renderer.render([("", ENDLESS)]) is None, "it is known"
        assert children() == [process]


async def test_the_clock_counts_too() -> None:
    async with open_renderer(RenderLimits(cpu_s=1000.0, wall_s=1.0)) as renderer:
        assert await renderer.render([("", ENDLESS)]) is None


async def test_a_long_answer_is_not_even_tried() -> None:
    async with open_renderer() as renderer:
        assert await renderer.render([("a", "x" * MAX_SOURCE_CHARS), ("b", "x")]) is None
        assert children() == []


async def test_a_rendering_that_is_too_long_is_none() -> None:
    async with open_renderer() as renderer:
        table = "|a|b|\n|-|-|\n" + "|\n" * 80_000
        assert await renderer.render([("", table)]) is None
        assert await renderer.render([("", "x")]) == "<p>x</p>\n"


async def test_the_process_goes_when_nobody_asks_and_comes_back() -> None:
    async with open_renderer(RenderLimits(idle_s=0.05)) as renderer:
        assert await renderer.render([("", "one")]) == "<p>one</p>\n"
        while children():
            await trio.lowlevel.checkpoint()
        assert await renderer.render([("", "two")]) == "<p>two</p>\n"


async def test_a_process_that_dies_is_replaced() -> None:
    async with open_renderer() as renderer:
        assert await renderer.render([("", "one")]) == "<p>one</p>\n"
        (process,) = children()
        process.send_signal(signal.SIGKILL)
        await trio.to_thread.run_sync(process.wait)
        await renderer.render([("", "two")])
        assert await renderer.render([("", "three")]) == "<p>three</p>\n"


async def test_whoever_leaves_costs_the_others_nothing() -> None:
    async with open_renderer(RenderLimits(cpu_s=2.0)) as renderer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(renderer.render, [("", ENDLESS)])
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert await renderer.render([("", "two")]) == "<p>two</p>\n"


async def test_no_program_no_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_renderer() as renderer:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/nowhere/python")
            assert await renderer.render([("", "one")]) is None
        assert await renderer.render([("", "one")]) == "<p>one</p>\n"


async def test_it_ends_with_the_server() -> None:
    """A server that is killed closes nothing by itself; the kernel closes the pipe."""
    program = (
        "import trio\n"
        "from transport.rendering.renderer import Renderer\n"
        "async def main():\n"
        "    async with trio.open_nursery() as nursery:\n"
        "        renderer = Renderer()\n"
        "        nursery.start_soon(renderer.run)\n"
        "        print(await renderer.render([('', 'x')]), flush=True)\n"
        "        await trio.sleep_forever()\n"
        "trio.run(main)\n"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd()}
    with trio.fail_after(LIMIT_S):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", program], stdout=-1, env=environment
        )
        assert process.stdout is not None
        async with process.stdout:
            assert await process.stdout.receive_some() == b"<p>x</p>\n\n"
            (child,) = psutil.Process(process.pid).children()
            process.kill()
            await process.wait()
            await trio.to_thread.run_sync(lambda: psutil.wait_procs([child], timeout=LIMIT_S))
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
