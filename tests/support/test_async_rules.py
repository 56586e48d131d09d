"""Our way to run flake8-async says what the package's own way says."""

from __future__ import annotations

import sys
from pathlib import Path

import flake8_async
import pytest
from flake8_async.runner import Flake8AsyncRunner_cst

from tests.support.async_rules import RULES, ReadOnlyRunner

MISTAKES = """\
import trio
import trio as t
from trio import fail_after


def scope_in_a_generator():  # 101
    with trio.CancelScope():
        yield 1


def silenced_scope_in_a_generator():
    with trio.CancelScope():
        yield 1  # noqa: ASYNC101


async def clean_up():  # 102, 120
    try:
        await trio.sleep(1)
    finally:
        await trio.sleep(1)
    try:
        await trio.sleep(1)
    except ValueError:
        await trio.sleep(1)
        raise


async def silenced_clean_up():
    try:
        await trio.sleep(1)
    finally:
        await trio.sleep(1)  # noqa: ASYNC102


async def swallow():  # 104
    try:
        await trio.sleep(1)
    except BaseException:
        return


class Owner:
    async def __aenter__(self):  # 113
        self.nursery = trio.open_nursery()
        await self.nursery.__aenter__()
        self.nursery.start_soon(trio.run_process)


async def generator():  # 119, 900
    with open("x"):
        yield 1


async def leave_the_nursery():  # 121
    async with trio.open_nursery():
        while True:
            await trio.sleep(1)
            return


class Group(ExceptionGroup):  # 126
    pass


async def startable(task_status=trio.TASK_STATUS_IGNORED):  # 128
    await trio.sleep(1)


async def nothing_to_cancel(x):  # 912, 913
    with fail_after(1):
        if x:
            await trio.sleep(1)
    with t.fail_after(1):
        print(x)
    while True:
        print(x)


async def group():  # 400
    try:
        await trio.sleep(1)
    except* ValueError as error:
        print(error.maybe)
"""


def told(
    runner: type, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    monkeypatch.setattr(flake8_async, "Flake8AsyncRunner_cst", runner)
    monkeypatch.setattr(sys, "argv", ["flake8-async", "--enable", ",".join(RULES), str(file)])
    flake8_async.main()
    return capsys.readouterr().out.splitlines()


def test_the_same_is_found_in_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mistakes.py"
    file.write_text(MISTAKES)
    theirs = told(Flake8AsyncRunner_cst, file, monkeypatch, capsys)
    assert told(ReadOnlyRunner, file, monkeypatch, capsys) == theirs
    assert {line.split()[1] for line in theirs} == set(RULES)
