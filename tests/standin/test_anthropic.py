"""The stand-in itself, as a server and as a process."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import httpx
import orjson
import trio

from tests.standin.anthropic import open_standin
from tests.standin.replies import Answer, Broken, Failure, Text, ToolUse

TOOLS = [{"name": "Bash"}]


def asking(text: str, **more: object) -> dict[str, object]:
    return {
        "model": "m",
        "stream": True,
        "tools": TOOLS,
        "messages": [{"role": "user", "content": text}],
    } | more


def events(body: bytes) -> list[str]:
    return [line[7:] for line in body.decode().splitlines() if line.startswith("event: ")]


async def test_answers_come_by_script_and_side_requests_take_none() -> None:
    async with open_standin() as standin, httpx.AsyncClient(base_url=standin.url) as client:
        standin.script(Answer.of(Text.of("a", "b"), ToolUse("Bash", {"command": "ls"})))
        standin.script(Failure(529, "overloaded_error", "busy", retry_after_s=2))
        post = partial(client.post, "/v1/messages?beta=true")
        assert b"aside" in (await post(json=asking("a title?", tools=[]))).content
        answer = await post(json=asking("hello"))
        assert events(answer.content)[:4] == [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
        ]
        assert events(answer.content)[-1] == "message_stop"
        busy = await post(json=asking("again"))
        assert (busy.status_code, busy.headers["retry-after"]) == (529, "2")
        assert busy.json()["error"]["type"] == "overloaded_error"
        fallback = await post(json=asking("MARKER-ONE", stream=False))
        assert "1 user messages" in fallback.json()["content"][0]["text"]
        assert "markers: MARKER-ONE" in fallback.json()["content"][0]["text"]
        assert [seen.user_texts for seen in standin.requests] == [("hello",), ("again",), ("MARKER-ONE",)]
        assert len(standin.side_requests) == 1


async def test_a_gate_holds_the_stream() -> None:
    async with open_standin() as standin, httpx.AsyncClient(base_url=standin.url) as client:
        gate = trio.Event()
        standin.script(Answer.of(Text.of("before", gate, "after")))
        with trio.fail_after(40):
            async with client.stream("POST", "/v1/messages", json=asking("x")) as response:
                body = b""
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if b"before" in body:
                        assert gate.is_set() == (b"after" in body)
                        gate.set()
        assert b"after" in body


async def test_other_calls_and_a_broken_answer() -> None:
    async with open_standin() as standin, httpx.AsyncClient(base_url=standin.url) as client:
        assert (await client.head("/")).status_code == 200
        assert (await client.post("/v1/messages/count_tokens", json={})).json() == {"input_tokens": 10}
        assert (await client.get("/elsewhere")).status_code == 404
        assert standin.other_calls == ["HEAD /", "POST /v1/messages/count_tokens", "GET /elsewhere"]
        standin.script(Broken(Answer.of("half")))
        broke = False
        try:
            await client.post("/v1/messages", json=asking("x"))
        except httpx.RemoteProtocolError:
            broke = True
        assert broke
        assert (await client.post("/v1/messages", json=asking("y"))).status_code == 200


async def test_as_a_process_it_prints_its_url_and_serves() -> None:
    command = [sys.executable, "-m", "tests.standin.anthropic", "--port", "0"]
    with trio.fail_after(40):
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            line = b""
            while not line.endswith(b"\n"):
                line += await process.stdout.receive_some(1000)
            async with httpx.AsyncClient(base_url=line.decode().strip()) as client:
                answer = await client.post("/v1/messages", json=asking("bash ls", stream=False))
                assert orjson.loads(answer.content)["content"][0]["input"]["command"] == "ls"
        finally:
            process.kill()
            with trio.move_on_after(5, shield=True):  # a killed process ends at once
                await process.wait()
            await trio.aclose_forcefully(process.stdout)
