"""A stand-in for the model service of Codex: the Responses API on loopback, with scripted answers.

In a test::

    async with open_openai() as standin:
        standin.script(Answer.of("Hello ", "there"))
        env = codex_env(standin.url, home)    # writes the program's configuration below `home`
        ...                                   # drive the real program
        assert standin.requests[0].user_texts == ("hello",)

As a process, for end-to-end tests and demos: `python -m tests.standin.openai --port 0 --home DIR` writes the
configuration too, prints its URL on a line, and answers by `default_reply` until it is ended.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import h11
import orjson
import trio

from tests.standin.openai_replies import patch, stream_response
from tests.standin.openai_requests import SeenResponse
from tests.standin.replies import Answer, Broken, Failure, Hang, Reply, Text, ToolUse
from tests.standin.wire import Call, Script, Wire, listen

__all__ = ["OpenAIStandIn", "codex_env", "default_reply", "main", "open_openai", "shell", "write_codex_home"]

KEY_NAME = "STANDIN_API_KEY"
"""The variable in which the program looks for its key."""


def shell(command: str) -> ToolUse:
    """Return the call by which the model runs a command."""
    return ToolUse("exec_command", {"cmd": command, "yield_time_ms": 30_000})


def default_reply(seen: SeenResponse) -> Reply:
    """Answer by what was asked, for the stand-in as a process.

    `words N` streams `w0 w1 …`; `bash COMMAND` runs it and repeats its result; `write NAME TEXT` makes a file;
    anything else is answered by a line that says how many messages of a person the request holds, and the
    markers in it.
    """
    last = seen.user_texts[-1] if seen.user_texts else ""
    verb, _, rest = last.strip().partition(" ")
    if seen.answers_tool:
        return Answer.of("standin: the tool said ", seen.tool_results[-1])
    if verb == "words" and rest.isdecimal():
        return Answer((Text(tuple(f"w{i} " for i in range(int(rest)))),))
    if verb == "bash" and rest:
        return Answer.of(shell(rest))
    if verb == "write" and rest:
        name, _, text = rest.partition(" ")
        return Answer.of(patch(f"*** Begin Patch\n*** Add File: {name}\n+{text}\n*** End Patch\n"))
    told = f"{len(seen.user_texts)} user messages; last: {last}; markers: {' '.join(seen.markers) or 'none'}"
    return Answer.of(Text.of("standin: ", told))


@attrs.define(eq=False)
class OpenAIStandIn(Script[SeenResponse]):
    """A stand-in for the model service. `requests` are those that ask for an answer."""

    fallback: Callable[[SeenResponse], Reply] = default_reply
    url: str = ""
    other_calls: list[str] = attrs.field(factory=list)

    async def answer(self, wire: Wire, call: Call) -> None:
        """Answer one HTTP request."""
        if (call.method, call.path) != ("POST", "/v1/responses"):
            self.other_calls.append(f"{call.method} {call.target}")
            await wire.respond(404, _error("not_found", f"no {call.path} here"))
            return
        key = call.headers.get("authorization", "").removeprefix("Bearer ")
        seen = SeenResponse(len(self.requests) + 1, orjson.loads(call.body), key)
        await _reply(wire, seen, self.choose(seen))


@asynccontextmanager
async def open_openai(
    *, port: int = 0, fallback: Callable[[SeenResponse], Reply] = default_reply
) -> AsyncIterator[OpenAIStandIn]:
    """Serve on loopback while inside the block; open connections are cut at its end."""
    standin = OpenAIStandIn()
    standin.fallback = fallback
    async with listen(port, standin.answer) as standin.url:
        yield standin


def write_codex_home(url: str, home: str, more: str = "") -> None:
    """Write a Codex configuration that leads to the stand-in; `more` goes below it.

    The model is one that the program knows: only to such a one it offers its `apply_patch` tool. The program's
    own number of retries takes some seconds; a test that wants fewer says so in `more`.
    """
    folder = Path(home) / ".codex"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(
        'model_provider = "standin"\nmodel = "gpt-5.5"\ncheck_for_update_on_startup = false\n\n'
        "[analytics]\nenabled = false\n\n"
        '[model_providers.standin]\nname = "standin"\nwire_api = "responses"\n'
        f'base_url = "{url}/v1"\nenv_key = "{KEY_NAME}"\n{more}'
    )


def codex_env(url: str, home: str, more: str = "") -> dict[str, str]:
    """Return the whole environment of a program that shall talk to the stand-in and to nobody else.

    The configuration is written below `home`, with `more` at the end of the provider's table.
    """
    write_codex_home(url, home, more)
    # Codex puts its sandbox's helper into its home, but not if that is below the temporary folder, where tests
    # are. With bubblewrap on the machine every sandboxed command would then fail.
    temporary = Path(home) / "tmp"
    temporary.mkdir(exist_ok=True)
    return {
        "CODEX_HOME": str(Path(home) / ".codex"),
        KEY_NAME: "standin-key",
        "HOME": home,
        "LANG": "C.UTF-8",
        "TMPDIR": str(temporary),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }


async def _reply(wire: Wire, seen: SeenResponse, reply: Reply) -> None:
    match reply:
        case Hang():
            await trio.sleep_forever()
        case Failure(status, kind, message):
            await wire.respond(status, _error(kind, message, reply.more), *reply.all_headers)
        case Broken(answer):
            await wire.stream_events(
                stream_response(answer, number=seen.number, model=seen.model, is_whole=False)
            )
            raise h11.LocalProtocolError("the connection breaks here")
        case Answer():
            await wire.stream_events(stream_response(reply, number=seen.number, model=seen.model))
            await wire.send(h11.EndOfMessage())


def _error(kind: str, message: str, more: dict[str, Any] | None = None) -> bytes:
    return orjson.dumps({"error": {"type": kind, "code": kind, "message": message} | (more or {})})


async def _serve(port: int, home: str | None) -> None:
    async with open_openai(port=port) as standin:
        if home is not None:
            await trio.to_thread.run_sync(partial(write_codex_home, standin.url, home))
        print(standin.url, flush=True)
        await trio.sleep_forever()


def main() -> None:
    """Run as a process until ended; the only line on stdout is the URL."""
    parser = argparse.ArgumentParser(description="A stand-in for Codex's model service, on loopback.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--home", help="write .codex/config.toml below this folder")
    arguments = parser.parse_args()
    try:
        trio.run(_serve, arguments.port, arguments.home)
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
