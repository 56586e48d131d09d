"""The conversations that an agent keeps itself: listed, read, continued."""

from __future__ import annotations

from pathlib import Path

from bridgehub.agents.acp.desk import DeskConversation, memory_of, open_desk
from bridgehub.protocol.events import Noticed, TextPiece, TurnDone
from tests.standin.acp_rig import AcpRig, open_acp_rig


async def two_conversations(rig: AcpRig) -> None:
    for words in (("one", "two"), ("three",)):
        driver = rig.driver()
        for word in words:
            await rig.turn(driver, word)
        await driver.aclose()


async def test_a_conversation_of_the_desk_is_read_and_continued(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        await two_conversations(rig)
        spec = rig.driver({"list": True}).spec
        async with open_desk(spec, "run") as desk:
            listed = await desk.conversations(str(rig.workspace))
            assert [(one.title, one.workspace) for one in listed] == [("Of the desk", str(rig.workspace))] * 2
            assert listed[0].last_activity == "2026-01-02T03:04:05Z"
            assert await desk.conversations("/elsewhere") == ()
            replay = await desk.turns(listed[0])
            assert replay is not None
            assert [turn.said for turn in replay.turns] == ["one", "two"]
            assert not replay.is_cut
            texts = [[one.text for one in turn.events if isinstance(one, TextPiece)] for turn in replay.turns]
            assert texts == [["replayed one"], ["replayed two"]]
            gone = DeskConversation("s-gone", "", str(rig.workspace), "")
            assert await desk.turns(gone) is None
        later = rig.driver(agent_memory=memory_of(listed[0].native_id))
        end, sink = await rig.turn(later, "more")
        assert isinstance(end, TurnDone)
        assert sink.text() == "you said more (3)"
        assert sink.of(Noticed) == []


async def test_an_agent_without_a_list_and_one_whose_list_has_no_end(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        await two_conversations(rig)
        async with open_desk(rig.driver({"load": False}).spec, "run") as desk:
            assert not desk.can_list
            assert await desk.conversations() == ()
            assert await desk.turns(DeskConversation("s", "", str(rig.workspace), "")) is None
        async with open_desk(rig.driver({"list": "endless"}).spec, "run") as desk:
            assert await desk.conversations() == ()
