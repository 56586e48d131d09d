"""The small parts of the wiring: signals, log, finding a server, what a hub is started with."""

from __future__ import annotations

import json
import logging
import os
import queue
import random
import signal
import ssl
import uuid
from pathlib import Path

import psutil
import pytest
import trio

from actors.events.codec import encode_settings
from actors.events.session import Settings
from bridgehub.protocol.hub_spec import DelegateSpec
from builderos.client.wire.backoff import FIRST_S, LAST_S, Backoff
from builderos.client.wire.connection import NoServerError, Server, find_server
from builderos.config import parse_config
from builderos.server.hub_specs import HubSpecs, agent_environment
from builderos.server.process.logs import FILE_ONLY, _DroppingHandler, open_logs
from builderos.server.process.signals import SHUTDOWN_S, Shutdown
from builderos.server.process.sleep import SleepCommand
from builderos.server.process.take_over import end_holder
from storage.records import SessionRecord

# ---- signals ----


async def test_the_first_signal_asks_and_the_second_ends() -> None:
    shutdown = Shutdown()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(shutdown.run, nursery.cancel_scope)
            signal.raise_signal(signal.SIGTERM)
            await shutdown.asked.wait()
            assert not shutdown.stop_hubs
            assert nursery.cancel_scope.deadline <= trio.current_time() + SHUTDOWN_S
            ended_by_the_first = nursery.cancel_scope.cancel_called
            signal.raise_signal(signal.SIGINT)
            await trio.Event().wait()
    assert (ended_by_the_first, nursery.cancel_scope.cancel_called) == (False, True)


async def test_an_interrupt_stops_the_hubs_too() -> None:
    shutdown = Shutdown()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(shutdown.run, nursery.cancel_scope)
            signal.raise_signal(signal.SIGINT)
            await shutdown.asked.wait()
            assert shutdown.stop_hubs
            nursery.cancel_scope.cancel(reason="seen")


# ---- log ----


def test_the_log_goes_to_file_and_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "server.log"
    log = logging.getLogger("builderos.test")
    with open_logs(path, "info"):
        log.info("session %s: two\nlines", "trip")
        log.debug("too quiet")
        log.error("only in the file", extra=FILE_ONLY)
    written = path.read_text().splitlines()
    assert len(written) == 2
    assert written[0].endswith("INFO builderos.test: session trip: two\\nlines")
    shown = capsys.readouterr().err.splitlines()
    assert shown == written[:1]
    assert path.stat().st_mode & 0o777 == 0o600
    assert not [handler for handler in logging.getLogger().handlers if isinstance(handler, _DroppingHandler)]


def test_a_log_that_nobody_writes_blocks_nobody() -> None:
    records: queue.Queue[logging.LogRecord] = queue.Queue(1)
    handler = _DroppingHandler(records)
    for number in range(4):
        handler.handle(logging.makeLogRecord({"msg": "record %s", "args": (number,)}))
    assert records.get().getMessage() == "record 0"
    handler.handle(logging.makeLogRecord({"msg": "record %s", "args": (9,)}))
    assert records.get().getMessage() == "(3 records lost) record 9"


# ---- finding and ending a server ----


def hold(data: Path, *, pid: int, started_at: float, address: str = "http://127.0.0.1:1234") -> None:
    note = {"pid": pid, "started_at": started_at, "address": address}
    (data / "lock").write_text(json.dumps(note))
    (data / "api-key").write_text("k3y\n")


def test_a_server_is_found_by_its_folder(tmp_path: Path) -> None:
    own = psutil.Process()
    hold(tmp_path, pid=own.pid, started_at=own.create_time())
    assert find_server(tmp_path, None, None) == Server("http://127.0.0.1:1234", "k3y", is_own=True)
    assert find_server(tmp_path, "http://there:1/", "other") == Server("http://there:1", "other")
    assert find_server(tmp_path, None, "other").key == "other"
    assert "k3y" not in repr(find_server(tmp_path, None, None))


@pytest.mark.parametrize(
    ("url", "is_own", "is_checked"),
    [
        ("https://127.0.0.1:1", True, False),
        ("https://[::1]:1", True, False),
        ("https://localhost:1", True, False),
        ("https://192.0.2.7:1", True, True),
        ("https://box.example:1", True, True),
        ("https://127.0.0.1:1", False, True),
    ],
)
def test_only_the_own_server_over_loopback_is_not_checked(url: str, is_own: bool, is_checked: bool) -> None:
    context = Server(url, "k", is_own).ssl_context()
    assert context is not None
    assert (context.check_hostname, context.verify_mode == ssl.CERT_REQUIRED) == (is_checked, is_checked)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NoServerError, match="no server runs"):
        find_server(tmp_path, None, None)
    own = psutil.Process()
    hold(tmp_path, pid=own.pid, started_at=own.create_time() - 100)
    with pytest.raises(NoServerError, match="no server runs"):
        find_server(tmp_path, None, None)
    (tmp_path / "api-key").unlink()
    with pytest.raises(NoServerError, match="--key"):
        find_server(tmp_path, "http://127.0.0.1:1", None)
    with pytest.raises(NoServerError, match="not an address"):
        find_server(tmp_path, "localhost:8080", "k")


def test_a_process_that_only_has_the_number_is_left_alone(tmp_path: Path) -> None:
    own = psutil.Process()
    hold(tmp_path, pid=own.pid, started_at=own.create_time() - 100)
    end_holder(tmp_path)  # the signal would end this very test
    (tmp_path / "lock").unlink()
    end_holder(tmp_path)


def test_waits_grow_and_differ() -> None:
    backoff = Backoff(random.Random(1))
    waits = [backoff.next_s() for _ in range(10)]
    assert all(FIRST_S / 2 <= wait <= LAST_S for wait in waits)
    assert waits[-1] >= LAST_S / 2
    backoff.reset()
    assert backoff.next_s() <= FIRST_S


# ---- hubs ----


def record(agent: str, settings: Settings, created_at_ms: int = 5) -> SessionRecord:
    return SessionRecord(
        session_id="trip",
        agent_type=agent,
        device_id="d",
        settings=encode_settings(settings),
        created_at_ms=created_at_ms,
        last_activity_ms=5,
        epoch=1,
        owner_epoch=1,
        head_seq=0,
        snapshot_seq=0,
        summary=None,
        read_seq=0,
        draft="",
    )


def test_an_agent_gets_the_environment_less_our_own() -> None:
    assert agent_environment({"PATH": "/bin", "BUILDEROS_API_KEY": "k", "BUILDEROS_HUB": "h"}) == {
        "PATH": "/bin"
    }


def test_what_a_hub_is_started_with() -> None:
    config = parse_config(
        "hub_idle_s = 5\n[agents.claude]\npermission_mode = 'plan'\nenv = { A = '1' }\n"
        "[agents.r]\nkind = 'bridgehub/1.0'\ncommand = ['a', 'b']\ndirection = 'd'"
    )
    specs = HubSpecs(config, Path("/data"), {"PATH": "/bin", "A": "0"})
    spec = specs.spec_for(record("claude", Settings("/work-folder", "opus", "default")), "h1")
    assert (spec.hub_id, spec.session_id, spec.agent, spec.kind) == ("h1", "trip", "claude", "claude")
    assert (spec.workspace, spec.model, spec.permission_mode) == ("/work-folder", "opus", "default")
    assert spec.env == {"PATH": "/bin", "A": "1"}
    assert spec.options == {"permission_mode": "plan", "allow_bypass": False}
    assert spec.idle_abandon_s == 5
    assert str(uuid.UUID(spec.agent_session_id)) == spec.agent_session_id
    again = specs.spec_for(record("claude", Settings("/other")), "h2")
    assert again.agent_session_id == spec.agent_session_id
    made_anew = specs.spec_for(record("claude", Settings("/other"), created_at_ms=6), "h3")
    assert made_anew.agent_session_id != spec.agent_session_id
    relay = specs.spec_for(record("r", Settings("/w")), "h4")
    assert relay.options == {
        "command": ["a", "b"],
        "direction": "d",
        "timeout_s": 600.0,
        "allow_bypass": False,
    }
    json.dumps(relay.options)


def test_whom_an_agent_may_hand_work_to() -> None:
    config = parse_config(
        "max_task_depth = 1\nmax_tasks = 7\n[agents.claude]\nenv = { A = '1' }\nmodel = 'm'\n"
        "[agents.codex]\ndelegate = false\n[agents.second]\nkind = 'claude'\npermission_mode = 'bypassPermissions'"
    )
    specs = HubSpecs(config, Path("/data"), {"PATH": "/bin", "A": "0"})
    spec = specs.spec_for(record("second", Settings("/w")), "h1")
    assert (spec.max_task_depth, spec.max_tasks) == (1, 7)
    assert set(spec.delegates) == {"claude", "echo"}
    claude = spec.delegates["claude"]
    assert claude == DelegateSpec(
        "claude",
        {"permission_mode": "default", "model": "m", "allow_bypass": False},
        {"PATH": "/bin", "A": "1"},
        own_env=("A",),
    )
    others = specs.spec_for(record("codex", Settings("/w")), "h2").delegates
    assert set(others) == {"claude", "echo", "second"}
    assert others["second"].options == {"permission_mode": "bypassPermissions", "allow_bypass": True}


def test_a_worktree_of_ours_counts_as_its_repository(tmp_path: Path) -> None:
    place = tmp_path / "worktrees" / "side"
    note = {"repository": "/home/ann/bakery", "base": "main"}
    (tmp_path / "worktrees").mkdir()
    (tmp_path / "worktrees" / "side.json").write_text(json.dumps(note))
    specs = HubSpecs(parse_config(""), tmp_path, {})
    counts = [
        specs.spec_for(record("claude", Settings(str(folder))), "h1").counts_as
        for folder in (place, place / "src", tmp_path / "worktrees" / "other", tmp_path)
    ]
    assert counts == ["/home/ann/bakery", "/home/ann/bakery/src", "", ""]


def test_an_agent_that_left_the_config_gets_no_driver() -> None:
    spec = HubSpecs(parse_config(""), Path("/data"), dict(os.environ)).spec_for(
        record("gone", Settings("/w")), "h1"
    )
    assert spec.kind == "not configured"


# ---- sleep ----


@pytest.mark.parametrize(
    ("command", "worked"),
    [(["true"], True), (["false"], False), (["/no/such/program"], False), (["a\0b"], False)],
)
async def test_a_sleep_command(command: list[str], worked: bool) -> None:
    with trio.fail_after(20):
        assert await SleepCommand(command, {"PATH": os.environ["PATH"]}).run() is worked


async def test_a_sleep_command_that_hangs_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builderos.server.process.sleep.LIMIT_S", 0.5)
    note = tmp_path / "pids"
    script = f"trap '' TERM; sleep 60 & echo $$ $! > {note}; wait"
    with trio.fail_after(20):
        assert not await SleepCommand(["sh", "-c", script], {"PATH": os.environ["PATH"]}).run()
    pids = [int(word) for word in note.read_text().split()]
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], 5)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
