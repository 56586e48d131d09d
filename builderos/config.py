"""Reads the configuration of one server: a TOML file, read once into frozen classes (docs/user/configuration.md).

A wrong value or an unknown key is a `ConfigError` that names the key; nothing is guessed or ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from builderos.agent_config import (
    KINDS,
    AcpAgent,
    Agent,
    BridgeHubAgent,
    ClaudeAgent,
    CodexAgent,
    EchoAgent,
    allows_bypass,
)
from builderos.config_values import (
    OutOfRangeError,
    absolute,
    at_most,
    byte_count,
    networks,
    positive,
    roots,
)
from builderos.push_config import parse_push
from storage.records import NODE_NAME, is_node_name
from transport.push.settings import PushSettings

__all__ = [
    "AcpAgent",
    "Agent",
    "BridgeHubAgent",
    "ClaudeAgent",
    "CodexAgent",
    "Config",
    "ConfigError",
    "DatabaseSettings",
    "EchoAgent",
    "System",
    "config_path",
    "load_config",
    "parse_agents",
    "parse_config",
]

T = TypeVar("T")

MAX_NODE_NAME = 60
"""Characters of a machine's name for people."""

NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
"""The allowed names of agents: the ids of the protocol."""

MAX_CONFIG_BYTES = 1024 * 1024
"""A config is a page or two; a larger file is not a config."""

CONFIG_NAME = "config.toml"
"""The config in a data folder."""

MAX_TASK_DEPTH = 8
"""The limit of `max_task_depth`: agents below each other. Each is a program of up to 300 MB."""

MAX_WARM = 100
"""The limit of `warm_limit`: each is a program of up to 300 MB that may be started in vain."""

MAX_TASKS = 1000
"""The limit of `max_tasks`: tasks in one turn."""


class ConfigError(Exception):
    """The config cannot be used. `key` is the place, dotted; the text is one line for a person."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key


def _default_agents() -> dict[str, Agent]:
    return {"claude": ClaudeAgent(), "codex": CodexAgent(), "echo": EchoAgent()}


@attrs.frozen(kw_only=True)
class App:
    """The table `app`: the iOS app.

    Attributes:
        resume_without_key: its reconnect sends no key; whether the ids of a session may replace it.
    """

    resume_without_key: bool = True


@attrs.frozen(kw_only=True)
class System:
    """What devices may do to the machine. `sleep_command`: program and arguments; None forbids it."""

    sleep_command: tuple[str, ...] | None = attrs.field(default=None)

    @sleep_command.validator
    def _names_a_program(self, attribute: attrs.Attribute[Any], value: tuple[str, ...] | None) -> None:
        if value is not None and not (value and value[0]):
            raise OutOfRangeError(attribute.name, "must name a program")


@attrs.frozen(kw_only=True)
class DatabaseSettings:
    """The table `database`: where sessions and their journals are.

    Attributes:
        url: of a PostgreSQL; empty for SQLite in the data folder.
        allow_asynchronous: accept one whose standby may lack what was acknowledged.
        node: this machine's name among those that share the database; empty if this server has it for itself.
        node_name: the same for people; empty: `node`.
    """

    url: str = attrs.field(default="", repr=False)
    allow_asynchronous: bool = False
    node: str = attrs.field(default="")
    node_name: str = attrs.field(default="")

    @node.validator
    def _is_name(self, attribute: attrs.Attribute[Any], value: str) -> None:
        if value and not is_node_name(value):
            raise OutOfRangeError(attribute.name, f"must be {NODE_NAME}")

    @node_name.validator
    def _is_shown(self, attribute: attrs.Attribute[Any], value: str) -> None:
        if len(value) > MAX_NODE_NAME or not value.isprintable():
            raise OutOfRangeError(attribute.name, f"must be at most {MAX_NODE_NAME} printable characters")

    @url.validator
    def _names_postgres(self, attribute: attrs.Attribute[Any], value: str) -> None:
        if value and not value.startswith(("postgresql://", "postgres://")):
            raise OutOfRangeError(attribute.name, "must begin with postgresql://")


@attrs.frozen(kw_only=True)
class Config:
    """One server's config file.

    Attributes:
        agents: by the name that devices give; `claude`, `codex` and `echo` are always there.
        app: the shipped app.
        database: where sessions are.
        system: what devices may do with the machine.
        workspace_roots: folders that sessions may work in; None is the home folder and `--workspace`.
        heartbeat_s: time between two heartbeats of a WebSocket.
        max_connections: open connections of all kinds.
        max_sessions: the most sessions that may exist; a new one beyond that is refused.
        max_uploads_bytes: the most that all uploaded files may take together.
        trusted_folders: folders, with all below them, whose settings agents load unasked.
        trusted_proxies: addresses or networks whose `X-Forwarded-*` headers are trusted; none by default.
        hub_idle_s: how long an idle session keeps its hub, and a hub without a server lives after its turn.
        hub_abandon_s: how long a hub without a server lives in the middle of a turn.
        max_task_depth: how deep agents may hand work on; 0 turns delegation off.
        max_tasks: how many pieces of work one turn may hand out in all; 0 turns delegation off.
        warm_limit: how many sessions have their agent started before a message comes; 0 turns that off.
        permission_timeout_s: after this long without an answer a request is denied; None waits for ever.
        checkpoints: whether the workspace is saved around each turn; an agent's table may switch that off for itself.
        checkpoint_days: how long a saved state is kept.
        push: who is notified, and when.
        retention_days: sessions without activity for longer are removed; None keeps all for good.
    """

    agents: Mapping[str, Agent] = attrs.field(factory=_default_agents)
    app: App = attrs.field(factory=App)
    database: DatabaseSettings = attrs.field(factory=DatabaseSettings)
    system: System = attrs.field(factory=System)
    workspace_roots: tuple[str, ...] | None = attrs.field(
        default=None, validator=attrs.validators.optional(roots)
    )
    heartbeat_s: float = attrs.field(default=15.0, validator=positive)
    max_connections: int = attrs.field(default=10_000, validator=positive)
    max_sessions: int = attrs.field(default=100_000, validator=positive)
    max_uploads_bytes: int = attrs.field(default=20_000_000_000, validator=byte_count)
    trusted_proxies: tuple[str, ...] = attrs.field(default=(), validator=networks)
    trusted_folders: tuple[str, ...] = attrs.field(default=(), validator=absolute)
    hub_idle_s: float = attrs.field(default=600.0, validator=positive)
    hub_abandon_s: float = attrs.field(default=86_400.0, validator=positive)
    max_task_depth: int = attrs.field(default=2, validator=at_most(MAX_TASK_DEPTH))
    max_tasks: int = attrs.field(default=20, validator=at_most(MAX_TASKS))
    warm_limit: int = attrs.field(default=3, validator=at_most(MAX_WARM))
    permission_timeout_s: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(positive)
    )
    retention_days: float | None = attrs.field(default=None, validator=attrs.validators.optional(positive))
    checkpoints: bool = True
    checkpoint_days: float = attrs.field(default=30.0, validator=positive)
    push: PushSettings = attrs.field(factory=PushSettings)

    def warnings(self) -> list[str]:
        """Return a line for each risky setting."""
        found = []
        for name, agent in self.agents.items():
            if isinstance(agent, ClaudeAgent) and agent.permission_mode == "bypassPermissions":
                found.append(
                    f"agents.{name}.permission_mode is bypassPermissions: it runs every tool without asking"
                )
            if isinstance(agent, CodexAgent) and agent.sandbox == "danger-full-access":
                found.append(f"agents.{name}.sandbox is danger-full-access: it may write anywhere")
        return found


def bypass_agents(config: Config) -> frozenset[str]:
    """Return the names of the agents that may work in a mode that never asks."""
    return frozenset(name for name, agent in config.agents.items() if allows_bypass(agent))


def config_path(given: Path | None, data: Path) -> Path | None:
    """Return which config file counts: the one that was named, else `config.toml` in the data folder if it is there."""
    own = data / CONFIG_NAME
    return given or (own if own.is_file() else None)


def load_config(path: Path | None) -> Config:
    """Read the config file; None gives the defaults.

    Raises:
        ConfigError: it cannot be read, is not TOML, or has a wrong value or an unknown key.
    """
    if path is None:
        return Config()
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigError(str(path), error.strerror or "cannot be read") from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(str(path), f"is over {MAX_CONFIG_BYTES} bytes")
    try:
        return parse_config(raw.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "is not UTF-8") from error


def parse_config(text: str) -> Config:
    """Read a config from its text. Raises ConfigError."""
    import tomllib  # a server without a config has no use for it

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("config", f"is not TOML: {error}") from error
    agents, system, push = table.pop("agents", {}), table.pop("system", {}), table.pop("push", {})
    config = _structure(table, Config, "")
    if not isinstance(system, dict):
        raise ConfigError("system", "must be a table")
    return attrs.evolve(
        config,
        agents=_default_agents() | parse_agents(agents),
        system=_structure(system, System, "system."),
        push=parse_push(push, _structure, ConfigError, config.permission_timeout_s),
    )


def parse_agents(tables: Any) -> dict[str, Agent]:
    """Read the tables under `agents`. Raises ConfigError."""
    if not isinstance(tables, dict):
        raise ConfigError("agents", "must be a table of tables")
    return {name: _parse_agent(name, table) for name, table in tables.items()}


def _parse_agent(name: str, table: Any) -> Agent:
    key = f"agents.{name}"
    if not NAME.fullmatch(name):
        raise ConfigError(key, "a name must be 1 to 128 of A-Z a-z 0-9 . _ -")
    if not isinstance(table, dict):
        raise ConfigError(key, "must be a table")
    kind = table.get("kind", name if name in _default_agents() else None)
    if kind is None:
        raise ConfigError(f"{key}.kind", f"is missing; one of {_listed(KINDS)}")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"{key}.kind", f"must be one of {_listed(KINDS)}, not {kind!r}")
    rest = {field: value for field, value in table.items() if field != "kind"}
    return _structure(rest, KINDS[kind], f"{key}.")


@cache
def _converter() -> cattrs.Converter:
    """Return the converter of config files. It makes no number of a text, and no text of a number."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    for cls, name in ((str, "a text"), (bool, "true or false"), (int, "a whole number")):
        converter.register_structure_hook(cls, _strict(cls, name))
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook_func(
        lambda cls: cls in (tuple[str, ...], tuple[str, ...] | None), _words
    )
    converter.register_structure_hook_func(lambda cls: cls == dict[str, str], _environment)
    converter.register_structure_hook(
        Config,
        make_dict_structure_fn(
            Config,
            converter,
            _cattrs_forbid_extra_keys=True,
            agents=override(omit=True),
            system=override(omit=True),
            push=override(omit=True),
        ),
    )
    return converter


def _strict(cls: type, name: str) -> Any:
    def hook(value: Any, _: Any) -> Any:
        if type(value) is not cls:
            raise ValueError(f"must be {name}, not {value!r}")
        return value

    return hook


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"must be a number, not {value!r}")
    return float(value)


def _words(value: Any, _: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ValueError("must be a list of texts")
    return tuple(value)


def _environment(value: Any, _: Any) -> dict[str, str]:
    # the values may be secrets, so the text names none
    if not isinstance(value, dict) or not all(isinstance(word, str) for word in value.values()):
        raise ValueError("must be a table of texts")
    for name, word in value.items():
        if not name or "=" in name or "\0" in name:
            raise OutOfRangeError(repr(name)[1:-1] or '""', "is not the name of a variable")
        if "\0" in word:
            raise OutOfRangeError(name, "must not contain a null character")
    return dict(value)


def _structure(table: dict[str, Any], cls: type[T], prefix: str) -> T:
    try:
        return _converter().structure(table, cls)
    except ClassValidationError as error:
        key, reason = _first_fault(error)
        raise ConfigError(f"{prefix}{key}", reason) from error


def _first_fault(error: ClassValidationError) -> tuple[str, str]:
    """Return the key at fault and the reason."""
    with_notes, others = error.group_exceptions()
    for fault in others:
        if isinstance(fault, ForbiddenExtraKeysError):
            return min(fault.extra_fields), "is unknown"
        if isinstance(fault, OutOfRangeError):
            return fault.key, str(fault)
    for fault, note in with_notes:
        if isinstance(fault, KeyError):
            return note.name, "is missing"
        if isinstance(fault, ClassValidationError):
            key, reason = _first_fault(fault)
            return f"{note.name}.{key}", reason
        if isinstance(fault, OutOfRangeError):
            return f"{note.name}.{fault.key}", str(fault)
        if get_origin(note.type) is Literal:
            return note.name, f"must be one of {_listed(get_args(note.type))}"
        return note.name, str(fault)
    raise error  # a fault of this module, not of the file


def _listed(names: Any) -> str:
    return ", ".join(str(name) for name in names)
