"""A node call is done once at most, its answer comes whole or not at all, and nothing of it stays when its asker leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from actors.errors import MachineAway, NodeCallRefused
from actors.nodes.home import STALE_S
from actors.nodes.mail import AnswerMail, CallMail, MoreMail, NodeMail, PartMail
from actors.nodes.node_answers import MAX_ANSWERED, MAX_BODY_BYTES, PART_BYTES, NodeAnswers, NodeQuestion
from actors.nodes.node_calls import ANSWER_S, MAX_FIELDS_BYTES, MAX_OPEN, PART_S, WINDOW, NodeCalls
from actors.nodes.ports import SILENT_S
from storage.errors import StorageUnavailable
from tests.actors.nodes.rig import Line, ids

BODY = bytes(range(256)) * (PART_BYTES // 30)


@attrs.define(eq=False)
class World:
    """Node `b` asks, node `a` answers."""

    calls: NodeCalls
    answers: NodeAnswers
    out: Line
    back: Line
    done: list[dict[str, Any]] = attrs.field(factory=list)

    async def whole(self, name: str = "body") -> bytes:
        async with self.calls.open("a", name, {"n": 1}) as answer:
            assert answer.head == {"is": "body"}
            body = b""
            while (part := await answer.part()) is not None:
                body += part
            return body

    def parts_under_way(self) -> int:
        sent = sum(isinstance(one, PartMail) for one in self.back.sent)
        taken = [one.taken for one in self.out.sent if isinstance(one, MoreMail)]
        return sent - max(taken, default=0)


@asynccontextmanager
async def opened() -> AsyncIterator[World]:
    out, back = Line("b"), Line("a")
    out.see("a")
    back.see("b")
    async with trio.open_nursery() as nursery:
        calls, answers = NodeCalls(out, ids("key")), NodeAnswers(back, nursery)
        out.take, back.take = answers.take, lambda mail, _: calls.take(mail)
        world = World(calls, answers, out, back)

        async def short(question: NodeQuestion) -> dict[str, Any]:
            await trio.lowlevel.checkpoint()
            world.done.append(question.fields)
            return {"node": question.node}

        async def body(question: NodeQuestion) -> None:
            question.begin({"is": "body"})
            for start in range(0, len(BODY), 1000):
                await question.write(BODY[start : start + 1000])

        answers.serve("short", short)
        answers.serve("body", body)
        yield world
        nursery.cancel_scope.cancel()


async def test_json_goes_there_and_comes_back(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        assert await world.calls.ask("a", "short", {"x": [1]}) == {"node": "b"}
        assert world.done == [{"x": [1]}]


async def test_a_body_comes_whole_in_bounded_parts(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        assert await world.whole() == BODY
        sizes = [len(one.data) for one in world.back.sent if isinstance(one, PartMail)]
        assert max(sizes) == PART_BYTES
        assert len(sizes) == len(BODY) // PART_BYTES + 1


async def test_what_is_not_taken_is_not_sent(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world, world.calls.open("a", "body", {}) as answer:
        await trio.testing.wait_all_tasks_blocked()
        assert world.parts_under_way() == WINDOW
        assert await answer.part()
        assert await answer.part()
        await trio.testing.wait_all_tasks_blocked()
        assert world.parts_under_way() == WINDOW


async def test_an_asker_that_leaves_ends_the_work(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        ended = trio.Event()

        async def never(_: NodeQuestion) -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.set()

        world.answers.serve("never", never)
        with trio.move_on_after(1):
            await world.calls.ask("a", "never", {})
        with trio.fail_after(1):
            await ended.wait()


@pytest.mark.parametrize("lost", [CallMail, AnswerMail])
async def test_a_lost_mail_is_noticed(lost: type[NodeMail], autojump_clock: trio.testing.MockClock) -> None:
    """A lost call is done all the same, once; a lost answer is said to be lost, and nothing is done twice."""
    async with opened() as world:
        left = [1]

        def lose_one(mail: NodeMail) -> int:
            return 1 - left.pop() if isinstance(mail, lost) and left else 1

        world.out.alter = world.back.alter = lose_one
        if lost is CallMail:
            assert await world.calls.ask("a", "short", {}) == {"node": "b"}
        else:
            with pytest.raises(StorageUnavailable, match="nobody knows"):
                await world.calls.ask("a", "short", {})
        assert len(world.done) == 1


async def test_doubled_mail_changes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        world.out.alter = world.back.alter = lambda _: 2
        assert await world.whole() == BODY
        await world.calls.ask("a", "short", {})
        assert len(world.done) == 1


@pytest.mark.parametrize("number", [0, 2, len(BODY) // PART_BYTES])
async def test_a_body_with_a_gap_is_not_whole(number: int, autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        world.back.alter = lambda mail: 0 if isinstance(mail, PartMail) and mail.number == number else 1
        began = trio.current_time()
        with pytest.raises(StorageUnavailable, match=r"gap|nothing more"):
            await world.whole()
        assert trio.current_time() - began <= PART_S


async def test_a_home_that_fails_in_the_middle(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:

        async def fails(question: NodeQuestion) -> None:
            question.begin({"is": "body"})
            await question.write(BODY[: PART_BYTES + 1])
            raise StorageUnavailable("no disk")

        world.answers.serve("fails", fails)
        with pytest.raises(StorageUnavailable, match="could not finish"):
            await world.whole("fails")


@pytest.mark.parametrize("after_the_head", [False, True])
async def test_a_home_that_dies(after_the_head: bool, autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:

        async def hangs(question: NodeQuestion) -> None:
            if after_the_head:
                question.begin({"is": "body"})
                await question.write(BODY[:PART_BYTES])
            await trio.sleep_forever()

        async def die() -> None:
            await trio.testing.wait_all_tasks_blocked()
            world.out.see("a", incarnation=2)
            world.calls.look()

        world.answers.serve("hangs", hangs)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(die)
            with pytest.raises(MachineAway):
                await world.whole("hangs")
        assert trio.current_time() - began < 1


async def test_a_database_that_does_not_answer_ends_the_wait(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with opened() as world:
        world.out.alter = lambda _: 0

        async def go_silent() -> None:
            await trio.testing.wait_all_tasks_blocked()
            world.out.silent_s = SILENT_S + 0.1
            world.calls.look()

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_silent)
            with pytest.raises(StorageUnavailable, match="nobody knows"):
                await world.calls.ask("a", "short", {})
        assert trio.current_time() - began < 1
        with pytest.raises(StorageUnavailable, match="cannot be reached"):
            await world.calls.ask("a", "short", {})


async def test_no_answer_is_waited_for_only_so_long(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        world.back.alter = lambda _: 0
        began = trio.current_time()
        with pytest.raises(StorageUnavailable, match="did not answer"):
            await world.calls.ask("a", "short", {})
        assert trio.current_time() - began <= ANSWER_S
        assert len(world.done) == 1


async def test_the_work_for_a_node_that_is_gone_ends(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        ended = trio.Event()

        async def never(_: NodeQuestion) -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.set()

        world.answers.serve("never", never)
        world.answers.take(CallMail("k", "b", "never"), 0.0)
        await trio.testing.wait_all_tasks_blocked()
        world.answers.look()
        assert not ended.is_set()
        world.back.see("b", incarnation=2)
        world.answers.look()
        with trio.fail_after(1):
            await ended.wait()


async def refuse(_: NodeQuestion) -> None:
    raise NodeCallRefused("busy", "not now")


async def fail(_: NodeQuestion) -> None:
    raise RuntimeError("secret of the home")


async def too_long(_: NodeQuestion) -> dict[str, Any]:
    return {"text": "x" * 300_000}


async def too_large(question: NodeQuestion) -> None:
    await question.write(bytes(MAX_BODY_BYTES + 1))


@pytest.mark.parametrize(
    ("answers", "code", "content"),
    [
        (refuse, "busy", "not now"),
        (fail, "internal", "log of the session's machine"),
        (too_long, "too_large", "too large"),
        (too_large, "too_large", "too large"),
        (None, "unavailable", "another version"),
    ],
    ids=["refused", "failed", "long head", "large body", "unknown name"],
)
async def test_a_refusal_comes_back(
    answers: Callable[[NodeQuestion], Awaitable[Any]] | None,
    code: str,
    content: str,
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with opened() as world:
        if answers is not None:
            world.answers.serve("dance", answers)
        with pytest.raises(NodeCallRefused, match=content) as caught:
            await world.calls.ask("a", "dance", {})
        assert caught.value.code == code
        assert "secret" not in str(caught.value)


async def test_what_is_too_old_is_not_done(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        world.answers.take(CallMail("k", "b", "short"), STALE_S + 0.1)
        await trio.testing.wait_all_tasks_blocked()
        assert world.done == []


async def test_calls_are_bounded_at_both_ends(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:

        async def never(_: NodeQuestion) -> None:
            await trio.sleep_forever()

        async def ask() -> None:
            await world.calls.ask("a", "never", {})

        world.answers.serve("never", never)
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_OPEN):
                nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(NodeCallRefused, match="Too much") as caught:
                await ask()
            assert caught.value.code == "busy"
            world.back.sent.clear()
            for number in range(MAX_ANSWERED + 1 - MAX_OPEN):
                world.answers.take(CallMail(f"more{number}", "b", "never"), 0.0)
            [refused] = world.back.sent
            assert isinstance(refused, AnswerMail)
            assert refused.code == "busy"
            nursery.cancel_scope.cancel()
        with pytest.raises(NodeCallRefused, match="too long"):
            await world.calls.ask("a", "short", {"text": "x" * MAX_FIELDS_BYTES})
