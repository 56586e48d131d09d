"""Any text is a Config or a ConfigError that names the key."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builderos.agent_config import KINDS
from builderos.config import (
    BridgeHubAgent,
    ClaudeAgent,
    CodexAgent,
    ConfigError,
    EchoAgent,
    load_config,
    parse_agents,
    parse_config,
)


def test_defaults_need_no_file() -> None:
    config = load_config(None)
    assert config.agents == {"claude": ClaudeAgent(), "codex": CodexAgent(), "echo": EchoAgent()}
    assert config.warnings() == []


def test_a_table_is_an_agent() -> None:
    config = parse_config(
        """
        heartbeat_s = 2
        [agents.claude]
        kind = "claude"
        permission_mode = "plan"
        [agents.codex]
        approval = "untrusted"
        model = "gpt-5.5"
        cli_path = "/opt/codex"
        [agents.my-relay]
        kind = "bridgehub/1.0"
        command = ["node", "/path/to/bridgehub.js"]
        direction = "codex_to_claude"
        env = { TOKEN = "s3cret" }
        """
    )
    assert config.heartbeat_s == 2.0
    assert config.agents["claude"] == ClaudeAgent(permission_mode="plan")
    assert config.agents["codex"] == CodexAgent(approval="untrusted", model="gpt-5.5", cli_path="/opt/codex")
    assert config.agents["echo"] == EchoAgent()
    assert config.agents["my-relay"] == BridgeHubAgent(
        command=("node", "/path/to/bridgehub.js"), direction="codex_to_claude", env={"TOKEN": "s3cret"}
    )
    assert "s3cret" not in repr(config)


def test_an_agent_that_asks_nobody_is_warned_of() -> None:
    config = parse_config('[agents.wild]\nkind = "claude"\npermission_mode = "bypassPermissions"')
    (warning,) = config.warnings()
    assert "agents.wild.permission_mode" in warning


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("colour = 1", "colour"),
        ("heartbeat_s = 0", "heartbeat_s"),
        ("heartbeat_s = nan", "heartbeat_s"),
        ("heartbeat_s = 1e300", "heartbeat_s"),
        ("retention_days = 1e12", "retention_days"),
        ("max_uploads_bytes = 9_000_000_000_000_000_000", "max_uploads_bytes"),
        ("heartbeat_s = '15'", "heartbeat_s"),
        ("max_connections = 1.5", "max_connections"),
        ("max_connections = true", "max_connections"),
        ("agents = 1", "agents"),
        ("[agents]\nclaude = 1", "agents.claude"),
        ('[agents."a b"]\nkind = "echo"', "agents.a b"),
        ("[agents.mine]", "agents.mine.kind"),
        ('[agents.mine]\nkind = "gpt"', "agents.mine.kind"),
        ("[agents.mine]\nkind = []", "agents.mine.kind"),
        ("[agents.claude]\nmode = 'x'", "agents.claude.mode"),
        ("[agents.claude]\npermission_mode = 'yolo'", "agents.claude.permission_mode"),
        ("[agents.claude]\npermission_mode = []", "agents.claude.permission_mode"),
        ("[agents.claude]\nstart_s = 56", "agents.claude.start_s"),
        ("[agents.codex]\nsandbox = true", "agents.codex.sandbox"),
        ("[agents.echo]\nenv = { A = 1 }", "agents.echo.env"),
        ('[agents.echo]\nenv = { "A=B" = "x" }', "agents.echo.env.A=B"),
        ('[agents.echo]\nenv = { "A\\u0000B" = "x" }', "agents.echo.env.A\\x00B"),
        ('[agents.echo]\nenv = { "" = "x" }', 'agents.echo.env.""'),
        ('[agents.echo]\nenv = { GOOD = "x", BAD = "a\\u0000b" }', "agents.echo.env.BAD"),
        ("[agents.codex]\nmodel = 1", "agents.codex.model"),
        ("[agents.codex]\ncli_path = []", "agents.codex.cli_path"),
        ("[agents.r]\nkind = 'bridgehub/1.0'\ndirection = 'x'", "agents.r.command"),
        ("[agents.r]\nkind = 'bridgehub/1.0'\ndirection = 'x'\ncommand = []", "agents.r.command"),
        ("[agents.r]\nkind = 'bridgehub/1.0'\ndirection = 'x'\ncommand = 'node x'", "agents.r.command"),
        (
            "[agents.r]\nkind = 'bridgehub/1.0'\ndirection = 'x'\ncommand = ['a']\ntimeout_s = -1",
            "agents.r.timeout_s",
        ),
        ("max_tasks = -1", "max_tasks"),
        ("max_task_depth = 9", "max_task_depth"),
        ("max_task_depth = 1.0", "max_task_depth"),
        ("[agents.echo]\ndelegate = 1", "agents.echo.delegate"),
        ("system = 1", "system"),
        ("[system]\nnap = 1", "system.nap"),
        ("[system]\nsleep_command = []", "system.sleep_command"),
        ("[system]\nsleep_command = ['']", "system.sleep_command"),
        ("[system]\nsleep_command = 'pmset sleepnow'", "system.sleep_command"),
        ("max_sessions = 0", "max_sessions"),
        ("max_uploads_bytes = 'much'", "max_uploads_bytes"),
        ("trusted_folders = '/srv'", "trusted_folders"),
        ("trusted_folders = ['/srv', 'srv']", "trusted_folders"),
        ("trusted_folders = ['~/srv']", "trusted_folders"),
        ("trusted_proxies = '127.0.0.1'", "trusted_proxies"),
        ("trusted_proxies = ['my-proxy']", "trusted_proxies"),
        ("trusted_proxies = ['10.0.0.1/8']", "trusted_proxies"),
        ("= 1", "config"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(text: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert caught.value.key == key
    assert str(caught.value).startswith(f"{key}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("value", [-1.0, 0.0, 1e300])
def test_a_number_of_an_agent_is_in_its_range_or_named(kind: str, value: float) -> None:
    needed = {"kind": kind, "command": ["a"], "direction": "d"}
    known = {field.name: field for field in attrs.fields(KINDS[kind])}
    table = {name: word for name, word in needed.items() if name in (*known, "kind")}
    for name in [name for name, field in known.items() if field.type in (float, "float")]:
        refused = f"agents.a.{name}"
        try:
            parse_agents({"a": {**table, name: value}})
        except ConfigError as error:
            refused = error.key
        assert refused == f"agents.a.{name}"


def test_the_sleep_command() -> None:
    assert parse_config("").system.sleep_command is None
    assert parse_config('[system]\nsleep_command = ["a", "b c"]').system.sleep_command == ("a", "b c")


def test_an_environment_is_never_told() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config('[agents.echo]\nenv = { A = "s3cret", B = 1 }')
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        parse_config('[agents.echo]\nenv = { A = "s3cret\\u0000" }')
    assert "s3cret" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "latin.toml")


json_like = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", min_size=1), inner, max_size=3),
    max_leaves=5,
)


@given(key=st.sampled_from(["kind", "env", "command", "permission_mode", "timeout_s", "x"]), value=json_like)
def test_any_value_is_a_config_or_an_error_that_names_it(key: str, value: object) -> None:
    table = {"kind": "bridgehub/1.0", "command": ["a"], "direction": "d", key: value}
    named = None
    try:
        parse_agents({"r": table})
    except ConfigError as error:
        named = error.key
    assert named in {None, f"agents.r.{key}"} or (key == "env" and named.startswith("agents.r.env."))
