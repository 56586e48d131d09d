"""The claude driver with the real program against the stand-in: text, context, instructions, interrupt."""

from __future__ import annotations

from pathlib import Path

import trio

from bridgehub.protocol.messages import Consumed, TextPiece, TurnDone
from tests.standin.replies import Answer, Text
from tests.standin.rig import RecordingSink, open_rig


async def test_text_streams_in_order_and_is_told_once(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        gate = trio.Event()
        rig.standin.script(Answer.of(Text.of("one ", "two ", gate, "three"), "four"))
        driver, sink = rig.driver(), RecordingSink()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "hello", sink)
            await sink.until(lambda seen: seen.text() == "one two ")
            gate.set()
        assert isinstance(sink.events[0], Consumed)
        assert [(piece.block, piece.text) for piece in sink.of(TextPiece)] == [
            ("msg_standin_1:0", "one "),
            ("msg_standin_1:0", "two "),
            ("msg_standin_1:0", "three"),
            ("msg_standin_1:1", "four"),
        ]


async def test_second_turn_knows_the_first(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver = rig.driver()
        end, _ = await rig.turn(driver, "first words")
        assert isinstance(end, TurnDone)
        await rig.turn(driver, "second words")
        assert rig.standin.requests[1].user_texts == ("first words", "second words")
