"""What a hub is started with."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

from actors.events.codec import encode_settings
from actors.events.session import Settings
from bridgehub.protocol.hub_spec import DelegateSpec
from builderos.config import parse_config
from builderos.server.hub_specs import HubSpecs, agent_environment
from storage.records import SessionRecord


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
