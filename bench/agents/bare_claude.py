"""The yardstick for Claude Code: its SDK with nothing around it, kept warm, one turn after the other.

`python -m bench.agents.bare_claude WORKSPACE` inherits the program's environment. Options are those that our own driver
gives as far as they count for the time: partial messages, the preset prompt, all settings, a callback that would
be asked.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import attrs
import trio
from claude_agent_sdk import (
    ClaudeAgentOptions,
    ClaudeSDKClient,
    PermissionResultDeny,
    ResultMessage,
    StreamEvent,
    ToolPermissionContext,
)

from bench.agents.turns import Ask, Timed, run_process, serve_turns
from bench.devices import now_us
from bench.errors import BenchError

__all__ = ["main"]

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024


@attrs.define(eq=False)
class _Claude:
    client: ClaudeSDKClient
    options: ClaudeAgentOptions

    async def turn(self, ask: Ask) -> Timed:
        go_us = now_us()
        if not ask.fresh:
            return await _turn(self.client, ask, go_us)
        async with ClaudeSDKClient(self.options) as client:
            if ask.warm_s is not None:
                await trio.sleep(ask.warm_s)
                go_us = now_us()
            timed = await _turn(client, ask, go_us)
        return timed  # noqa: RET504 - mypy takes the block for one that may swallow errors


async def _turn(client: ClaudeSDKClient, ask: Ask, go_us: int) -> Timed:
    stamps: list[int] = []
    texts: list[str] = []
    await client.query(ask.prompt)
    async for message in client.receive_response():
        if isinstance(message, StreamEvent):
            delta = message.event.get("delta")
            if delta is not None and delta.get("type") == "text_delta":
                stamps.append(now_us())
                texts.append(delta["text"])
        elif isinstance(message, ResultMessage) and message.is_error:
            raise BenchError(f"Claude Code failed: {message.result}")
    end_us = now_us()
    words = len("".join(texts).split())
    if words != ask.words:
        raise BenchError(f"the SDK gave {words} words of {ask.words}")
    return Timed(stamps[0] - go_us, stamps[-1] - go_us, end_us - go_us)


async def _nobody(
    tool: str, tool_input: dict[str, Any], context: ToolPermissionContext
) -> PermissionResultDeny:
    raise BenchError(f"{tool} was asked for: the stand-in gives words only")


async def _serve(workspace: str) -> None:
    options = ClaudeAgentOptions(
        cwd=workspace,
        can_use_tool=_nobody,
        include_partial_messages=True,
        setting_sources=["user", "project", "local"],
        system_prompt={"type": "preset", "preset": "claude_code"},
        max_buffer_size=_MAX_MESSAGE_BYTES,
    )
    async with ClaudeSDKClient(options) as client:
        await serve_turns(_Claude(client, options))


def main(arguments: list[str]) -> int:
    """Serve turns until stdin ends, and return the exit status."""
    return run_process(partial(_serve, arguments[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
