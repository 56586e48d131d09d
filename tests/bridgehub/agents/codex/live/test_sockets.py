"""Who is connected to a program's socket."""

from __future__ import annotations

import pytest
import trio

from bridgehub.agents.codex.live.sockets import clients_of, start_listening
from bridgehub.agents.json_rpc.wires import connect
from builderos.commands.resume import program_of
from tests.standin.openai import codex_env
from tests.storage.stores import until


async def test_connections_to_the_real_program_are_counted(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """It binds its socket elsewhere, and makes a link at the path that it was given."""
    place = tmp_path_factory.mktemp("s")
    path, home = str(place / "sx"), place / "home"
    home.mkdir()
    command = [str(program_of("codex", None)), "app-server"]
    env = codex_env("http://127.0.0.1:9", str(home))
    with trio.fail_after(60):
        program = await start_listening(command, path, env=env, cwd=str(place), run_id="hub/1", limit_s=45)
        try:
            assert clients_of(path) == 1
            wire = await connect(path)
            assert clients_of(path) == 2
            await wire.aclose()
            await until(lambda: clients_of(path) == 1)  # another process closes its side
        finally:
            await program.aclose()
    assert clients_of(str(place / "nothing")) == 0
