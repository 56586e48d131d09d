"""The stand-in for the Responses API, as a server and as a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import orjson
import trio

from tests.standin.openai import open_openai, shell
from tests.standin.replies import Answer, Broken, Failure, Text


def asking(text: str) -> dict[str, object]:
    content = [{"type": "input_text", "text": text}]
    return {"model": "m", "stream": True, "input": [{"type": "message", "role": "user", "content": content}]}


def events(body: bytes) -> list[str]:
    return [line[7:] for line in body.decode().splitlines() if line.startswith("event: ")]


async def test_answers_come_by_script_and_requests_are_recorded() -> None:
    async with open_openai() as standin, httpx.AsyncClient(base_url=standin.url) as client:
        standin.script(Answer.of(Text.of("a", "b"), shell("ls")), Failure(503, "busy", "no", retry_after_s=2))
        answer = await client.post("/v1/responses", json=asking("hello MARKER-ONE"))
        assert events(answer.content) == [
            "response.created",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_item.done",
            "response.output_item.added",
            "response.output_item.done",
            "response.completed",
        ]
        last = orjson.loads(answer.content.decode().rpartition("data: ")[2])
        assert [item["type"] for item in last["response"]["output"]] == ["message", "function_call"]
        busy = await client.post("/v1/responses", json=asking("again"))
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "2")
        assert (await client.get("/v1/models")).status_code == 404
        assert standin.other_calls == ["GET /v1/models"]
        assert [seen.user_texts for seen in standin.requests] == [("hello MARKER-ONE",), ("again",)]
        assert standin.requests[0].markers == ("MARKER-ONE",)


async def test_a_broken_answer_ends_its_connection_only() -> None:
    async with open_openai() as standin, httpx.AsyncClient(base_url=standin.url) as client:
        standin.script(Broken(Answer.of("half")))
        broke = False
        try:
            await client.post("/v1/responses", json=asking("x"))
        except httpx.RemoteProtocolError:
            broke = True
        assert broke
        assert (await client.post("/v1/responses", json=asking("y"))).status_code == 200


async def test_as_a_process_it_prints_its_url_and_config(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.standin.openai", "--port", "0", "--home", str(tmp_path)]
    with trio.fail_after(40):
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            line = b""
            while not line.endswith(b"\n"):
                line += await process.stdout.receive_some(1000)
            url = line.decode().strip()
            assert f'base_url = "{url}/v1"' in (tmp_path / ".codex" / "config.toml").read_text()
            async with httpx.AsyncClient(base_url=url) as client:
                answer = await client.post("/v1/responses", json=asking("bash ls"))
                assert b"exec_command" in answer.content
        finally:
            process.kill()
            with trio.move_on_after(5, shield=True):  # a killed process ends at once
                await process.wait()
            await trio.aclose_forcefully(process.stdout)
