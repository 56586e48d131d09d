"""Transcripts and rollouts in the shape that the real programs write them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

__all__ = ["Transcript", "rollout", "uid"]


def uid(number: int) -> str:
    """Return an id of a row or a session."""
    return str(uuid.UUID(int=number))


@attrs.define
class Transcript:
    """Rows of Claude Code; each new one follows the last, or a given one."""

    entrypoint: str = "cli"
    rows: list[dict[str, Any]] = attrs.field(factory=list)
    leaf: str | None = None
    count: int = 0

    def add(self, kind: str, *, parent: str | None = "", **fields: Any) -> str:
        """Add a row of the tree; return its id."""
        self.count += 1
        name = uid(self.count)
        before = self.leaf if parent == "" else parent
        at = f"2026-11-29T10:{self.count // 60 % 60:02d}:{self.count % 60:02d}.000Z"
        row = {"parentUuid": before, "isSidechain": False, "type": kind, "uuid": name, "timestamp": at}
        self.rows.append({**row, "entrypoint": self.entrypoint, "cwd": "/work/trip", **fields})
        self.leaf = name
        return name

    def user(self, content: Any, **fields: Any) -> str:
        """Add a person's message, or results of tools."""
        return self.add("user", message={"role": "user", "content": content}, **fields)

    def says(self, *blocks: Any, rests: bool = True, message: str = "", **fields: Any) -> str:
        """Add a part of an answer; a text stands for a block of text."""
        content = [{"type": "text", "text": one} if isinstance(one, str) else one for one in blocks]
        stop = "end_turn" if rests else "tool_use"
        told = {
            "role": "assistant",
            "id": message or f"msg{self.count}",
            "content": content,
            "stop_reason": stop,
        }
        return self.add("assistant", message=told, **fields)

    def other(self, row: Mapping[str, Any]) -> None:
        """Add a row that is not of the tree."""
        self.rows.append(dict(row))

    def data(self) -> bytes:
        """Return the file."""
        return b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in self.rows)

    def write(self, config: Path, native_id: str, *, project: str = "-work-trip") -> Path:
        """Write the file into a `.claude` folder."""
        folder = config / "projects" / project
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{native_id}.jsonl"
        path.write_bytes(self.data())
        return path


def rollout(
    home: Path, thread_id: str, *turns: tuple[str, str], ours: bool = False, cwd: str = "/work/trip"
) -> Path:
    """Write a rollout of Codex with these messages and answers."""
    at = "2026-11-29T10:00:00.000Z"
    rows: list[dict[str, Any]] = [
        {"timestamp": at, "type": "session_meta", "payload": {"id": thread_id, "cwd": cwd, "source": "cli"}}
    ]

    def event(**payload: Any) -> None:
        rows.append({"timestamp": at, "type": "event_msg", "payload": payload})

    for number, (said, answer) in enumerate(turns):
        turn_id = uid(1000 + number)
        event(type="task_started", turn_id=turn_id)
        mine = {"client_id": "turn/message"} if ours else {}
        text = [{"type": "text", "text": said}]
        event(
            type="item_completed",
            turn_id=turn_id,
            item={"type": "UserMessage", "id": "u", "content": text, **mine},
        )
        command = {"type": "CommandExecution", "id": f"c{number}", "command": ["/bin/bash", "-lc", "ls"]}
        done = {"aggregated_output": "a.txt", "exit_code": 0, "status": "completed"}
        event(type="item_completed", turn_id=turn_id, item={**command, **done})
        told = {"type": "AgentMessage", "id": f"m{number}", "content": [{"type": "Text", "text": answer}]}
        event(type="item_completed", turn_id=turn_id, item=told)
        event(type="task_complete", turn_id=turn_id)
    folder = home / "sessions" / "2026" / "11" / "29"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"rollout-2026-11-29T10-00-00-{thread_id}.jsonl"
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    return path
