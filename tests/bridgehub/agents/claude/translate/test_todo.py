"""The to-do list of the real program: its task tools are there, and each change of the list is reported whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridgehub.protocol.events import PlanChanged, TurnDone
from tests.standin.replies import Answer, ToolUse
from tests.standin.rig import SDK_DROPS_GENERATORS, open_rig

pytestmark = pytest.mark.filterwarnings(SDK_DROPS_GENERATORS)


async def test_tasks_are_told_as_a_list(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        rig.standin.script(
            Answer.of(ToolUse("TaskCreate", {"subject": "wash", "description": "the dishes"})),
            Answer.of(ToolUse("TaskCreate", {"subject": "dry", "description": "them"})),
            Answer.of(ToolUse("TaskUpdate", {"taskId": "1", "status": "in_progress"})),
            Answer.of("done"),
        )
        end, sink = await rig.turn(rig.driver(), "work")
        assert isinstance(end, TurnDone)
        lists = [[(one["content"], one["status"]) for one in told.entries] for told in sink.of(PlanChanged)]
        assert lists[0] == [("wash", "pending")]
        assert lists[-1] == [("wash", "in_progress"), ("dry", "pending")]
